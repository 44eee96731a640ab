"""The unit of lengths that a header tells, and bringing a place into millimeters."""

from __future__ import annotations

import numpy as np

from conddiffusion_uad.io.reading import Reading

MM = ("mm", "millimeter", "millimeters")
_FACTORS = {"meters": 1000.0, "centimeters": 10.0, "inches": 25.4, "micrometers": 0.001}
_NAMES = {
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), "meters"),
    **dict.fromkeys(("cm", "centimeter", "centimeters"), "centimeters"),
    **dict.fromkeys(("in", "inch", "inches"), "inches"),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers"), "micrometers"),
}
_VOXEL_MM = (0.05, 20.0)  # of a head


def in_mm(affine: np.ndarray, unit: str, name: str, reading: Reading) -> np.ndarray:
    """A 4x4 matrix to places, in mm.

    Args:
        affine: In the header's unit.
        unit: As the header has it; nothing is converted for mm, and when it is empty.
        reading: Is told of any other unit. Lengths that no head has in it are taken as mm.
    """
    if unit.lower() in ("", *MM):
        return affine
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    told = _NAMES.get(unit.lower(), repr(unit))
    factor = _FACTORS.get(told, 0.0)
    measured = " x ".join(f"{length:g}" for length in lengths)
    message = f"The header of {name} says that its lengths are {told}; its voxels measure {measured}."
    if _VOXEL_MM[0] < factor * lengths.min() and factor * lengths.max() <= _VOXEL_MM[1]:
        hint = "They are converted; programs that do not look at the unit find the scan in another size."
        reading.warn("geometry_contradiction", message, hint)
        return np.diag([factor, factor, factor, 1.0]) @ affine
    why = "That is no head" if factor else "That is no unit that is known"
    reading.warn("geometry_contradiction", message, f"{why}, so they are taken as mm, as other programs do.")
    return affine
