"""The steps from a scan to a normalized volume on the grid of the model, one a file.

Each is a pure function that also gives what undoes it.
"""
