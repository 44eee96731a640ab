"""How well a bundle separates what is sick from what is healthy, with the plain baselines beside it."""
