"""What a training works with: data, cache, device."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from conddiffusion_uad.io.output_failure import as_output_failure
from conddiffusion_uad.protocol.failures import OutputFailure
from conddiffusion_uad.training.data.corpus import Part, load_corpus
from conddiffusion_uad.training.distributed import Processes
from conddiffusion_uad.training.loop import CHECKPOINT_SECONDS
from conddiffusion_uad.training.progress import TrainingLog
from conddiffusion_uad.training.recipe import Recipe


@dataclass(frozen=True)
class TrainingEnvironment:
    """What a training works with.

    Attributes:
        data: Folder that the recipe's sources are in, or a datalist.
        cache: Folder of prepared scans.
        device: See :func:`model.device.choose`.
        precision: Number format of a calibration, see :func:`model.precision.choose`; a training's is in its recipe.
        force: Whether to replace earlier results.
        skip_bad: Whether to go on without files that cannot be used.
        checkpoint_seconds: Between two checkpoints.
    """

    data: Path
    cache: Path
    device: str = "auto"
    precision: str = "auto"
    force: bool = False
    skip_bad: bool = False
    checkpoint_seconds: float = CHECKPOINT_SECONDS

    def corpus(self, recipe: Recipe, log: TrainingLog, together: Processes) -> list[Part]:
        """The prepared data of a recipe; the first process prepares them for all. Raises Failure."""
        if not together.first:
            together.wait()
        corpus = load_corpus(recipe.sources, self.data, recipe.bundle.grid, self.cache, log, skip_bad=self.skip_bad)
        if together.first:
            together.wait()
        return corpus

    def require_new(self, files: Iterable[Path]) -> None:
        """Raise OutputFailure("output_exists") when one of the files is there and may not be replaced."""
        existing = next((file for file in files if file.exists()), None)
        if existing is not None and not self.force:
            raise OutputFailure(
                "output_exists", f"{existing} is there already.", "Give another place, or replace it with --force."
            )


def made(folder: Path) -> Path:
    """The folder, made if needed. Raises OutputFailure: ``cannot_write``, ``disk_full``."""
    with as_output_failure(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder
