"""Learning the healthy brain: corpus, synthesis, fitting and calibration."""
