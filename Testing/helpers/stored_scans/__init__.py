"""The ways in which scans are stored that the tests go through and docs/SCANS.md lists, and what is right for each."""

from stored_scans import dicom_files, dicom_places, dicom_values, nifti_files, nifti_places, nrrd_and_metaimage
from stored_scans.stored import ASKED, CASES, READ, REFUSED, TOLD, Stored

__all__ = ["ASKED", "CASES", "READ", "REFUSED", "TOLD", "Stored"]
_MODULES = (nifti_files, nifti_places, nrrd_and_metaimage, dicom_files, dicom_places, dicom_values)
