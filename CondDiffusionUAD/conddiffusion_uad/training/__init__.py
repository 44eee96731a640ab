"""How a model learns: recipes, the loop, checkpoints, and the calibration that follows.

`training_run` is the way through it.
"""
