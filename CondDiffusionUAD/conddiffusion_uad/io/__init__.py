"""Scans in and results out: geometry, NIfTI, DICOM, damaged files, names.

What leaves this folder is a SimpleITK image of a checked grid, or a failure that says what is wrong with the file.
"""
