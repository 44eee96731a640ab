"""What the engine and Slicer share: the job, the events, the failures, the names of result files.

Standard library only.
"""
