"""From healthy scans and label maps to batches of slices.

Checked, prepared once, kept in a cache, drawn at random.
"""
