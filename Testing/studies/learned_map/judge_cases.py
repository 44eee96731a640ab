"""What a learned map is judged on while it is trained: prepared once, on the fine grid, with all baselines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from hosts import (
    SEED,
    SPACING,
    Host,
    further,
    held_out_labels,
    held_out_scans,
    normalized,
    real,
    remapped,
    rendered,
    seed_of,
)
from scipy import ndimage
from second_opinion import LARGE_ML, SMALL_ML, implant

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.evaluation.methods import smoothing_of
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.restored import Restored
from conddiffusion_uad.method.run import restore
from conddiffusion_uad.training.data import healthy_bank
from conddiffusion_uad.training.data.healthy_bank import FINE
from conddiffusion_uad.training.learned_map.material import HELD_OUT_SLICES
from conddiffusion_uad.training.learned_map.reconstructions import RESTORE

_LGG, _STROKE, _SOOP = 8, 40, 24  # how many of each are judged
_SIZES = (SMALL_ML,) * 12 + (LARGE_ML,)  # of lesions in a whole scan

_VERSION = 2  # of what is kept; raise it when other cases are made


@dataclass(frozen=True)
class Case:
    """One scan, or a stack of single slices.

    Attributes:
        group: What it is averaged with.
        contrast: Its own.
        volume: float16 (z, y, x), 0 to 1.
        mask: Brain, boolean.
        lesions: Number of the lesion at each voxel, int16; all 0 in a healthy scan.
        samples: Reconstructions as the training makes them, float16 (samples, z, y / 2, x / 2).
        heat: The bundle's own map, float16 (z, y, x).
        single: Whether the slices are of different scans, all at the height of +18 mm.
    """

    group: str
    contrast: str
    volume: np.ndarray
    mask: np.ndarray
    lesions: np.ndarray
    samples: np.ndarray
    heat: np.ndarray
    single: bool


Made = Callable[[], Case]


def load(data: Path, cache: Path, bundle: Bundle, wanted: str = "") -> list[tuple[str, Case]]:
    """All cases of a judgement by name, from the cache or made now; only those whose names begin with a text."""
    return kept_or_made(cache, ((name, made) for name, made in _recipes(data, bundle) if name.startswith(wanted)))


def kept_or_made(cache: Path, recipes: Iterable[tuple[str, Made]]) -> list[tuple[str, Case]]:
    """Cases by name, from the cache or made now by what makes each."""
    return [(name, _cached(made, cache, name)) for name, made in recipes]


def each(data: Path, cache: Path, bundle: Bundle) -> Iterator[tuple[str, Made]]:
    """As :func:`load`, and scans with lesions that are too many for every judgement; each is made when called."""
    more = ((f"implanted_{name}", partial(_further, made, name, bundle)) for name, made in further(data))
    for name, made in chain(_recipes(data, bundle), more):
        yield name, partial(_cached, made, cache, name)


def _cached(made: Made, cache: Path, name: str) -> Case:
    file = cache / f"v{_VERSION}" / f"{name}.npz"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial_file = file.with_suffix(".partial.npz")
        np.savez_compressed(partial_file, **vars(made()))
        partial_file.replace(file)
    with np.load(file) as kept:
        values = dict(kept)
    plain = {key: values[key].item() for key in ("group", "contrast", "single")}
    return Case(**{**values, **plain})


def _further(made: Callable[[], Host], name: str, bundle: Bundle) -> Case:
    return _implanted(made(), seed_of(name), bundle)


def _recipes(data: Path, bundle: Bundle) -> Iterator[tuple[str, Made]]:
    """Names of cases and what makes each."""
    val = data / "val"
    for folder in ("mslub_07", "tcga_du_7294"):
        for contrast in ("T1", "T2", "FLAIR"):
            scan, truth = val / folder / f"{contrast.lower()}.nii.gz", val / folder / "seg.nii.gz"
            yield f"{folder}_{contrast}", lambda s=scan, t=truth, c=contrast, g=folder: _real(g, c, s, t, bundle)
    for folder in sorted((val / "lgg").iterdir())[:_LGG]:
        scan, truth = folder / "flair.nii.gz", folder / "seg.nii.gz"
        yield f"lgg_{folder.name}", lambda s=scan, t=truth: _real("lgg", "FLAIR", s, t, bundle)
    yield "stroke", lambda: _stroke(val / "soop_stroke_flair_z18", bundle)
    for scan in sorted((val / "healthy" / "oasis_t1").glob("*_t1.nii.gz")):
        yield f"healthy_{scan.name[:4]}", lambda s=scan: _real("healthy", "T1", s, None, bundle)
    for scan in sorted((val / "healthy" / "oasis_t1").glob("*_t1.nii.gz"))[::2]:
        yield f"implanted_{scan.name[:4]}", lambda s=scan: _implanted(real(s), int(s.name[:4]), bundle)
    for name, contrast in (("18", "T2"), ("20", "T2"), ("19", "FLAIR")):
        labels = data / "train" / "labels_synthseg" / f"training_seg_{name}.nii.gz"
        yield f"healthy_labels_{name}_{contrast}", lambda f=labels, c=contrast: _healthy(rendered(f, c), bundle)
        made = lambda f=labels, c=contrast, n=int(name): _implanted(rendered(f, c), n, bundle)  # noqa: E731
        yield f"implanted_labels_{name}_{contrast}", made
    yield from _further_healthy(data, bundle)
    for lesions in (False, True):
        kind = "implanted" if lesions else "healthy"
        yield f"{kind}_soop", lambda w=lesions: _slices(val / "healthy" / "soop_flair_z18", "FLAIR", w, bundle)
        yield f"{kind}_ixi_t2", lambda w=lesions: _slices(data / "train" / "ixi_t2_slices", "T2", w, bundle)


def _further_healthy(data: Path, bundle: Bundle) -> Iterator[tuple[str, Made]]:
    """Whole healthy scans that nothing was trained on, for a promise about the findings in such scans."""
    labels, scans = held_out_labels(data), held_out_scans(data)
    for name, file in scans.items():
        yield f"healthy_{name}", lambda f=file: _real("healthy", "T1", f, None, bundle)
    scans |= {k: data / "val" / "healthy" / "oasis_t1" / f"{k}_t1.nii.gz" for k in ("1005", "1122")}
    known = {("18", "T2"), ("20", "T2"), ("19", "FLAIR"), ("19", "T1")}
    for contrast in ("T1", "T2", "FLAIR"):
        for name, file in labels.items():
            if (name, contrast) not in known:
                made = lambda f=file, c=contrast: _healthy(rendered(f, c), bundle)  # noqa: E731
                yield f"healthy_labels_{name}_{contrast}", made
        for number, (name, file) in enumerate(scans.items() if contrast != "T1" else ()):
            made = lambda f=file, c=contrast, n=number: _healthy(remapped(f, c, n), bundle)  # noqa: E731
            yield f"healthy_{name}_as_{contrast}", made


def _real(group: str, contrast: str, scan: Path, truth: Path | None, bundle: Bundle) -> Case:
    volume, mask, to_atlas = healthy_bank.fine_volume(volumes.read(scan))
    lesions = np.zeros(volume.shape, np.int16)
    if truth is not None:
        seg = sitk.Cast(sitk.ReadImage(str(truth)) > 0, sitk.sitkFloat32)
        share = sitk.GetArrayFromImage(sitk.Resample(seg, FINE.blank(), to_atlas, sitk.sitkLinear, 0.0))
        lesions = ndimage.label((share > 0.5) & mask, np.ones((3, 3, 3)))[0].astype(np.int16)
    return _case(group, contrast, volume, mask, lesions, bundle)


def _healthy(host: Host, bundle: Bundle) -> Case:
    none = np.zeros(host.mask.shape, np.int16)
    return _case("healthy", host.contrast, host.normalized(), host.mask, none, bundle)


def _implanted(host: Host, number: int, bundle: Bundle) -> Case:
    made = host.implanted(_SIZES, SEED + number)
    volume = host.normalized(made.image)
    return _case("implanted", host.contrast, volume, host.mask, made.lesions.astype(np.int16), bundle)


def _slices(folder: Path, contrast: str, lesions: bool, bundle: Bundle) -> Case:
    """Real held-out slices, each with its own lesions."""
    if contrast == "FLAIR":
        inputs = healthy_bank.slices(contrast, True, "clean/*_flair.nii.gz", folder)
        chosen = range(_SOOP)
    else:
        inputs = healthy_bank.slices(contrast, False, "*_t2.nii.gz", folder)
        chosen = range(len(inputs.image) - HELD_OUT_SLICES, len(inputs.image))
    images, masks, numbers = [], [], []
    for k in chosen:
        image, tissue = inputs.image[k, None].astype(np.float32), inputs.tissue[k, None]
        number = np.zeros(image.shape, np.int16)
        if lesions:
            made = implant(image, tissue > healthy_bank.FLUID, SPACING, 1, (SMALL_ML,) * 3, SEED + k)
            image, number = made.image, made.lesions.astype(np.int16)
        images.append(normalized(image, tissue > 0)[0])
        masks.append(tissue[0] > 0)
        numbers.append(np.where(number[0] > 0, number[0] + 100 * len(numbers), 0))
    group = "implanted" if lesions else "healthy"
    return _case(group, contrast, *map(np.stack, (images, masks, numbers)), bundle, single=True)


def _stroke(folder: Path, bundle: Bundle) -> Case:
    images, masks, numbers = [], [], []
    for file in sorted(folder.glob("*_flair.nii.gz"))[:_STROKE]:
        image, height = healthy_bank.thin_slice(file)
        truth = sitk.ReadImage(str(file).replace("_flair.nii.gz", "_flair_seg.nii.gz"))
        seg = sitk.GetArrayFromImage(truth)[truth.GetDepth() // 2]
        brain = ndimage.binary_fill_holes(image > 0)
        placed, mask, lesion = (healthy_bank.centered(values, brain, height) for values in (image, brain, seg > 0))
        masks.append(mask)
        images.append(normalized(placed[None], mask[None])[0])
        numbers.append((lesion & mask) * (1 + len(numbers)))
    return _case("stroke", "FLAIR", *map(np.stack, (images, masks, numbers)), bundle, single=True)


def _case(group: str, contrast: str, volume, mask, lesions, bundle: Bundle, single: bool = False) -> Case:
    """The case with the bundle's reconstructions and heatmap, made at 2 mm."""
    coarse, inside = halved_scan(volume, mask)
    brain = Volume(coarse, inside)
    mean = restore(bundle, brain, contrast).mean
    rule = smoothing_of(bundle, contrast)

    def residual(image: np.ndarray, estimate: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return rule(Restored(Volume(image, mask), contrast, estimate[None], 1), bundle.model)

    parts = [residual(*(a[None] for a in abc))[0] for abc in zip(coarse, mean, inside, strict=True)]
    heat = np.stack(parts) if single else residual(coarse, mean, inside)
    heat = heat.repeat(2, 1).repeat(2, 2) * mask
    samples = samples_of(volume, mask, contrast, bundle)
    small = (volume.astype(np.float16), mask, lesions.astype(np.int16), samples, heat.astype(np.float16))
    return Case(group, contrast, *small, single)


def samples_of(volume: np.ndarray, mask: np.ndarray, contrast: str, bundle: Bundle) -> np.ndarray:
    """Reconstructions as the training makes them, float16 (samples, z, y / 2, x / 2)."""
    known = restore(bundle, Volume(*halved_scan(volume, mask)), contrast, timesteps=RESTORE.timesteps)
    return np.clip(known.samples, 0, 1).astype(np.float16)


def halved_scan(volume: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A scan and its mask at 2 mm, as a detection cuts them."""
    share = _halved(mask.astype(np.float32))
    inside = share >= 0.5
    return np.where(inside, _halved(volume * mask) / np.maximum(share, 0.5), 0).astype(np.float32), inside


def _halved(values: np.ndarray) -> np.ndarray:
    return torch.nn.functional.avg_pool2d(torch.from_numpy(values)[:, None], 2)[:, 0].numpy()
