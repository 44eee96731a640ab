"""Scans that no recipe speaks of, prepared as a detection does: those of another scanner, or with weak labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from conddiffusion_uad.bundle.bundle import Bundle
from conddiffusion_uad.io import contrast as contrasts
from conddiffusion_uad.io import volume as volumes
from conddiffusion_uad.method.brain import Volume
from conddiffusion_uad.method.run import require_contrast
from conddiffusion_uad.preprocessing import atlas
from conddiffusion_uad.preprocessing.preparation import prepare
from conddiffusion_uad.protocol.events import Quiet
from conddiffusion_uad.protocol.failures import Failure
from conddiffusion_uad.training.data.data_checks import Problem, leave_out


def prepared_scans(
    files: Sequence[Path], contrast: str, bundle: Bundle, what: str, log: Callable[[str], None], *, skip_bad: bool
) -> Iterator[tuple[Path, Volume, str]]:
    """Each scan that can be used, on the grid of a bundle, with its contrast; one is in memory at a time.

    Args:
        contrast: Of the scans, or "auto".
        what: They are for, in ``bad_WHAT_data``.
        skip_bad: Whether to go on without scans that cannot be used.

    Raises:
        BadInput: ``bad_WHAT_data`` after the last one, with a list of what is wrong with them.
    """
    problems = []
    for number, file in enumerate(files):
        log(f"Preparing {file.name} ({number + 1} of {len(files)})")
        try:
            scan = volumes.read(file)
            chosen = contrasts.choose(contrast, str(file), scan)
            require_contrast(bundle, chosen)
            grid, device = bundle.config.grid, bundle.model.device
            prepared = prepare(scan, grid=grid, atlas=atlas.load(), device=device, progress=Quiet())
        except Failure as error:
            problems.append(Problem(file, error.message, error.hint))
            continue
        yield file, Volume(prepared.volume, prepared.mask, prepared.grid), chosen
    leave_out(problems, what, log, skip_bad=skip_bad and len(problems) < len(files))
