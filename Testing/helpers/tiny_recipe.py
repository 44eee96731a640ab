"""The first part of recipes that train in a moment: grid, network and method; tests add what they learn from."""

TINY_MODEL = """
name = "tiny"
seed = 0
denoiser = { base = 8, multipliers = [1, 2], blocks = 1, head_channels = 8, groups = 4 }
noise = { kind = "simplex", octaves = 3, wavelength = 16.0 }
restore = { kind = "one_step", timesteps = [400] }
[grid]
size = [24, 24, 24]
spacing = [8.0, 8.0, 8.0]
origin = [-92.0, -78.0, -90.0]
direction = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
[condition]
kind = "encoder"
features = 8
block = "basic"
layers = [1, 1, 1, 1]
block_inplanes = [4, 4, 8, 8]
[anomaly_map]
T2 = { kind = "residual", sign = "hyperintense", smoothing = "gaussian", size = 1.0 }
"""
