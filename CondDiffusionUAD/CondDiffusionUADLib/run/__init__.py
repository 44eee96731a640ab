"""What runs beside Slicer: the worker process, its installation, a detection from click to result."""
