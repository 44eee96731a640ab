"""What lies in the scene: nodes, display, findings, segmentation, export."""
