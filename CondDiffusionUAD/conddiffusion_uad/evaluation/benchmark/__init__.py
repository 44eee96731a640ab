"""How fast this computer runs the software, stage by stage.

Figures of speed, not of quality.
"""
