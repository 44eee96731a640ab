"""Ways in which a scan may differ from those that a model was trained on: acquired badly, or stored otherwise."""

CLEAN = "none"
"""The corruption of a scan as it is."""
