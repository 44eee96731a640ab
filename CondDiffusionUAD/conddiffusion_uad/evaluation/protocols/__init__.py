"""Whose rules maps are judged by: the software's own, or the published ones."""
