"""Scans to try the module with, in Slicer's Sample Data module: one that is shipped, and real ones on the web."""

from __future__ import annotations

from dataclasses import dataclass

from slicer.util import TESTING_DATA_URL

from CondDiffusionUADLib.run.Folders import resource

CATEGORY = "Brain Anomaly Detection"


@dataclass(frozen=True)
class Sample:
    """A scan.

    Attributes:
        name: In the Sample Data module, and of the volume; it tells the contrast.
        fileName: What it is stored as.
        sha256: Of the file.
        shipped: Whether it came with the extension; else it is on the web, with Slicer's own testing data.
    """

    name: str
    fileName: str
    sha256: str
    shipped: bool = False

    @property
    def uri(self) -> str:
        """Where it is."""
        if self.shipped:
            return resource(f"SampleData/{self.fileName}").as_uri()
        return f"{TESTING_DATA_URL}SHA256/{self.sha256}"


# The real ones were given to the Slicer project by the persons they show, to be used without any restriction.
SAMPLES = (
    Sample(
        "Synthetic_T2_brain",
        "synthetic_T2_brain.nii.gz",
        "ce70d85bd1b96111536d83c0ad8b3a81ff0ee9f34ba95f4451bde81d5d2eea9e",
        shipped=True,
    ),
    Sample("MRHead_T1", "MR-head.nrrd", "cc211f0dfd9a05ca3841ce1141b292898b2dd2d3f08286affadf823a7e58df93"),
    Sample("MRBrain_T1", "MR-brain-T1.nrrd", "2da3f655ed20356ee8cdf32aa0f8f9420385de4b6e407d28e67f9974d7ce1593"),
    Sample("MRBrain_T2", "MR-brain-T2.nrrd", "fa1fe5910a69182f2b03c0150d8151ac6c75df986449fb5a6c5ae67141e0f5e7"),
)


def registerSampleData() -> None:
    """Add the scans to the Sample Data module. Nothing is downloaded before somebody asks for it."""
    import SampleData

    for sample in SAMPLES:
        thumbnail = resource(f"Icons/{sample.name}.png") if sample.shipped else None
        SampleData.SampleDataLogic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=sample.name,
            uris=sample.uri,
            fileNames=sample.fileName,
            nodeNames=sample.name,
            thumbnailFileName=str(thumbnail) if thumbnail else None,
            checksums=f"SHA256:{sample.sha256}",
        )
