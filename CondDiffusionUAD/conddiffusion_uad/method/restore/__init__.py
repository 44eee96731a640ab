"""From a scan to its pseudo-healthy reconstruction.

One way of restoring a file.
"""
