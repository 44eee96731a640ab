"""A trained model as a folder: loading, saving, importing and what is too large to be one.

With it goes what was measured on healthy scans: the calibration and the features that the input check compares with.
"""
