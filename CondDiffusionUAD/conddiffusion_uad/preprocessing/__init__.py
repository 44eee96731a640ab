"""From a scan as it was acquired to a normalized volume on the atlas' grid, and back: one step, one file."""
