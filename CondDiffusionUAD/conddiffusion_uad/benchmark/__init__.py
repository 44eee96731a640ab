"""Measuring where the time goes: the convolutions' ceiling, the network, the stages of a detection, two variants."""
