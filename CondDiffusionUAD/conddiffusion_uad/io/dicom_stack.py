"""From the images of a DICOM series to stacks, each a volume: which there are, which is meant, does it fit together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conddiffusion_uad.io import geometry
from conddiffusion_uad.io.dicom_frames import Frame
from conddiffusion_uad.io.grid import Grid
from conddiffusion_uad.io.reading import Reading
from conddiffusion_uad.protocol.failures import BadInput, shown
from conddiffusion_uad.protocol.stacks import EVERY, SAME_PLACE_MM, split

_SAME_PLANE = 0.01  # largest difference of direction cosines within a stack
_UNEVEN = 0.1  # share of the slice distance by which one slice may be off
_MOST_LISTED = 8
_MOST_ASIDE = 0.6  # sine of the largest tilt: 37 degrees, more than any gantry has
_FEW = 0.1  # share of the images up to which a stack is one of extra images


@dataclass(frozen=True)
class Stack:
    """Images of different places, in one plane.

    Attributes:
        frames: In the order of their places.
        told: What distinguishes it from the others of the series.
    """

    frames: tuple[Frame, ...]
    told: str

    @property
    def files(self) -> str:
        """What the first and the last are called."""
        names = sorted({frame.where for frame in self.frames})
        return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def choose(frames: Sequence[Frame], name: str, reading: Reading) -> Stack:
    """The stack that is meant.

    Args:
        reading: Says which, if there are several.

    Raises:
        BadInput: several_stacks or bad_option.
    """
    stacks = stacks_of(frames)
    if reading.echo is not None:
        return _chosen(stacks, name, reading.echo)
    if len(stacks) == 1:
        return stacks[0]
    if all(len(stack.frames) == 1 for stack in stacks):
        where = f"all lie at one place (ImagePositionPatient is {_backslashed(frames[0].position)})"
        what = where if _alike(frames[0], frames[-1]) else "are single pictures of different planes, as of a localizer"
        message = f"The {len(frames)} images in {name} are no volume: they {what}."
        raise BadInput("not_3d", message, "Choose the series that shows the whole head.")
    main = max(stacks, key=lambda stack: len(stack.frames))
    extra = [stack for stack in stacks if stack is not main]
    if sum(len(stack.frames) for stack in extra) <= _FEW * len(frames):
        listed = "; ".join(f"{stack.files}: {_why(stack, main)}" for stack in extra[:_MOST_LISTED])
        message = f"The series in {name} has {len(main.frames)} images of one stack and others beside it: {listed}."
        hint = f"Examine the {len(main.frames)} images without the others with --echo {stacks.index(main) + 1}."
        raise BadInput("several_stacks", message, hint)
    listed = _listed(stacks)
    message = f"The series in {name} holds {len(stacks)} stacks of images: {listed}."
    raise BadInput("several_stacks", message, "Choose one of them by its number, such as --echo 1.")


def _chosen(stacks: list[Stack], name: str, wanted: str) -> Stack:
    numbered = {str(number): stack for number, stack in enumerate(stacks, 1)}
    if wanted in numbered:
        return numbered[wanted]
    fitting = [stack for stack in stacks if wanted in stack.told.split(", ")]
    if len(fitting) == 1:
        return fitting[0]
    message = f"There is no stack {shown(wanted)} in the series in {name}: {_listed(stacks)}."
    only = "Leave out --echo: there is one stack only."
    several = f"Choose one by its number, from --echo 1 to --echo {len(stacks)}."
    raise BadInput("bad_option", message, several if len(stacks) > 1 else only)


def _listed(stacks: list[Stack]) -> str:
    more = f"; and {len(stacks) - _MOST_LISTED} more" if len(stacks) > _MOST_LISTED else ""
    return "; ".join(f"{n}: {stack.told}" for n, stack in enumerate(stacks[:_MOST_LISTED], 1)) + more


def _why(extra: Stack, main: Stack) -> str:
    """What keeps images out of a stack."""
    one, other = extra.frames[0], main.frames[0]
    told = _told_place(one)
    if one.reference != other.reference:
        return f"another frame of reference ({told['reference']})"
    if not _alike(one, other):
        same_matrix = one.size == other.size and np.allclose(one.spacing, other.spacing, rtol=0.01)
        return f"another plane ({told['plane']})" if same_matrix else f"another matrix ({told['matrix']})"
    twin = next((frame for frame in main.frames if _apart(frame, one) < SAME_PLACE_MM), None)
    return f"the same place as {twin.where}" if twin else extra.told


def _backslashed(values: Sequence[float]) -> str:
    return "\\".join(f"{value:g}" for value in values)


def stacks_of(frames: Sequence[Frame]) -> list[Stack]:
    """All stacks of a series, in the order of their first images."""
    planes: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda frame: (frame.number, frame.path.name, frame.index)):
        for plane in planes:
            if _alike(frame, plane[0]):
                plane.append(frame)
                break
        else:
            planes.append([frame])
    return [
        Stack(_in_order(part), ", ".join([_told(part, mark), *_differing(plane[0], planes)]))
        for plane in planes
        for part, mark in _of_plane(plane)
    ]


def _differing(one: Frame, planes: list[list[Frame]]) -> list[str]:
    """What of plane, matrix and reference tells an image from those of other planes."""
    every = [_told_place(plane[0]) for plane in planes]
    return [told for name, told in _told_place(one).items() if any(other[name] != told for other in every)]


def _told_place(frame: Frame) -> dict[str, str]:
    return {
        "plane": f"ImageOrientationPatient {_backslashed(frame.orientation)}",
        "matrix": f"{frame.size[0]} x {frame.size[1]} pixels of {frame.spacing[1]:g} x {frame.spacing[0]:g} mm",
        "reference": f"FrameOfReferenceUID {frame.reference or 'missing'}",
    }


def _alike(one: Frame, other: Frame) -> bool:
    """Whether two images have the same plane and matrix, so that they can be of one stack."""
    return (
        one.size == other.size
        and one.reference == other.reference
        and bool(np.allclose(one.spacing, other.spacing, rtol=0.01))
        and bool(np.abs(np.subtract(one.orientation, other.orientation)).max() <= _SAME_PLANE)
    )


def _of_plane(frames: list[Frame]) -> list[tuple[list[Frame], str]]:
    """The stacks of one plane, each with what tells it from the others."""
    found = split([_height(frame, frames[0]) for frame in frames], [frame.marks for frame in frames])
    return [([frames[index] for index in indices], mark) for indices, mark in found]


def _height(frame: Frame, first: Frame) -> float:
    """Where an image lies along the normal of a plane, mm."""
    return float(np.dot(frame.position, normal(first)))


def normal(frame: Frame) -> np.ndarray:
    """The direction across an image: to the right-handed side of row and column."""
    return np.cross(frame.orientation[:3], frame.orientation[3:])


def _apart(one: Frame, other: Frame) -> float:
    """The distance of two images across their plane, mm."""
    return abs(_height(one, one) - _height(other, one))


def _in_order(frames: list[Frame]) -> tuple[Frame, ...]:
    return tuple(sorted(frames, key=lambda frame: _height(frame, frames[0])))


def _told(frames: list[Frame], mark: str) -> str:
    """What a stack is, for a person to choose."""
    first = frames[0]
    numbers = sorted(frame.number for frame in frames)
    names = (mark,) if mark not in ("", EVERY) else ("echo time", "image type") if not mark else tuple(first.marks)
    told = [f"{name} {first.marks[name]}" for name in names if name in first.marks]
    images = f"{len(frames)} images" if len(frames) > 1 else "1 image"
    span = f"number {numbers[0]}" + (f" to {numbers[-1]}" if len(numbers) > 1 else "")
    return ", ".join([f"{images} ({span})", *told])


def grid_of(stack: Stack, name: str, reading: Reading) -> tuple[Grid, tuple[float, float]]:
    """The grid of a stack, checked in three dimensions, and how many pixels each image is shifted against the last.

    Args:
        stack: The images, in their order.
        reading: Is told when the images are shifted, as with a tilted gantry.

    Raises:
        BadInput: not_3d, irregular_slices, bad_direction, bad_spacing or too_small.
    """
    frames = stack.frames
    first = frames[0]
    if len(frames) < 2:
        message = f"{first.path.name} is a single image, not a 3D volume."
        raise BadInput("not_3d", message, "Choose the folder that holds all images of the series.")
    row, column = np.array(first.orientation).reshape(2, 3)
    places = np.array([frame.position for frame in frames])
    step = (places[-1] - places[0]) / (len(frames) - 1)
    _check_distances(frames, places)
    _check_straight(frames, places, step)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * first.spacing[1], column * first.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, places[0]
    size = (*first.size, len(frames))
    if geometry.shear_of(affine) <= geometry.MAX_SHEAR:
        return geometry.grid_of(affine, size, name), (0.0, 0.0)
    across = normal(first)
    aside = float(np.linalg.norm(step - (step @ across) * across))
    message = (
        f"The images in {name} are shifted against each other by {aside:.2g} mm from slice to slice within their plane "
        "(ImagePositionPatient), as with a tilted gantry."
    )
    affine[:3, 2] = (step @ across) * across
    if aside > _MOST_ASIDE * np.linalg.norm(step):
        raise geometry.bad_direction(name, message)
    reading.warn("resampled", message, "They are shifted back to a regular grid, and the results lie on that grid.")
    shift = (float(step @ row) / first.spacing[1], float(step @ column) / first.spacing[0])
    return geometry.grid_of(affine, size, name), shift


def _check_distances(frames: Sequence[Frame], places: np.ndarray) -> None:
    """Check that the images follow each other at one distance."""
    steps = np.diff(places @ normal(frames[0]))
    usual = float(np.median(steps))
    for n in np.flatnonzero(np.abs(steps - usual) > _UNEVEN * usual)[:1]:
        missing = round(steps[n] / usual) - 1
        seems = f"; it seems that {missing} image{'s are' if missing > 1 else ' is'} missing" if missing > 0 else ""
        raise BadInput(
            "irregular_slices",
            f"{frames[n].where} and {frames[n + 1].where} follow each other at {steps[n]:.4g} mm "
            f"(ImagePositionPatient), the other images at {usual:.4g} mm{seems}.",
            "Export the whole series again, or resample it to even distances.",
        )


def _check_straight(frames: Sequence[Frame], places: np.ndarray, step: np.ndarray) -> None:
    """Check that the images lie on a straight line, one behind the other."""
    off = np.linalg.norm(places - (places[0] + np.arange(len(frames))[:, None] * step), axis=1)
    n = int(off.argmax())
    if off[n] > max(2 * _UNEVEN * float(np.linalg.norm(step)), SAME_PLACE_MM):
        raise BadInput(
            "irregular_slices",
            f"{frames[n].where} lies {off[n]:.2g} mm beside the line of the other images (its "
            f"ImagePositionPatient is {_backslashed(frames[n].position)}).",
            "Export the series again; the head may have moved, or the images are of several scans.",
        )
