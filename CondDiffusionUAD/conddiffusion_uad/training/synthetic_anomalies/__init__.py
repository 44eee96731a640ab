"""Anomalies that are put into healthy brains for training.

No patient is needed to learn from them.
"""
