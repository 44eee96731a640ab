"""The networks and what they compute with: denoiser, encoder, noise schedule, device and number format.

Nothing in here knows of scans or files.
"""
