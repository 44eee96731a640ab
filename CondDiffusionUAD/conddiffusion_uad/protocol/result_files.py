"""The files that a detection writes."""

from __future__ import annotations

HEATMAP = "heatmap.nii.gz"
RECONSTRUCTION = "reconstruction.nii.gz"
BRAIN_MASK = "brain_mask.nii.gz"
SEGMENTATION = "segmentation.nii.gz"
FINDINGS = "findings.csv"
OVERVIEW = "overview.png"
REPORT = "report.json"
FILES = (HEATMAP, RECONSTRUCTION, BRAIN_MASK, SEGMENTATION, FINDINGS, OVERVIEW, REPORT)
"""What a detection writes. The report is moved into place last: where it is, the rest is."""

UNCERTAINTY = "uncertainty.nii.gz"
POSSIBLE = (UNCERTAINTY, *FILES)
"""What a detection writes, together with what it writes when it is asked to."""

REPORT_FORMAT = 1
"""Of the report, as `report.schema.json` describes it; raised when older programs could misread one."""
