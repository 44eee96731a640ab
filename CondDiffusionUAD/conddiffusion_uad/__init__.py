"""Unsupervised anomaly detection in brain MRI with a conditioned diffusion model.

Research use only, not a medical device.
"""

__version__ = "0.1.0"
