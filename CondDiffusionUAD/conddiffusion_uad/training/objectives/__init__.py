"""What a network is trained to do, one objective a file.

Each corrupts slices and says how wrong the answer is.
"""
