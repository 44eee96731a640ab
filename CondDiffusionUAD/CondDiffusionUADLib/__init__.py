"""Slicer side of CondDiffusionUAD: the nodes, the display and the panel. Never imports torch or monai."""
