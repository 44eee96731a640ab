"""From a scan and its reconstruction to a map of what does not look healthy.

One rule a file; the unit of a map is free, the calibration gives it one.
"""
