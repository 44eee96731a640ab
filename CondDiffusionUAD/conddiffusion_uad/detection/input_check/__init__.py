"""Whether a scan is one that the model can judge: contrast, quality, and its distance from healthy scans.

`gate` puts the answers together.
"""
