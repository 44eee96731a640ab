"""From a scan to a heatmap and findings."""
