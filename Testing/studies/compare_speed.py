"""Two variants of the reconstruction against each other: devices, precisions, bundles or checkouts.

PYTHONPATH=CondDiffusionUAD python Testing/studies/compare_speed.py precision=fp32 precision=bf16
PYTHONPATH=CondDiffusionUAD python Testing/studies/compare_speed.py checkout=../before checkout=.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conddiffusion_uad.evaluation.benchmark import brain
from conddiffusion_uad.protocol.failures import BadInput, Failure
from conddiffusion_uad.protocol.job import PRECISIONS

PACKAGE = "CondDiffusionUAD"  # the folder of a checkout that the package lies in
# The bundle is `residual`, under the name that earlier checkouts know, too.
DEFAULTS = {"device": "cpu", "precision": "auto", "bundle": "default", "checkout": ""}


@dataclass(frozen=True)
class Comparison:
    """Of two variants, run in turns.

    Attributes:
        seconds: Median of each.
        ratio: Seconds of the first by those of the second: median over the pairs.
        quartiles: Between which half of these ratios lie.
        cpu_ratio: The same of the processor's time, which other programs on the computer hardly change.
        difference: Of the two reconstructions, relative (root mean squares); None when their sizes differ.
    """

    seconds: tuple[float, float]
    ratio: float
    quartiles: tuple[float, float]
    cpu_ratio: float
    difference: float | None


def parse(text: str) -> dict[str, str]:
    """A variant such as "device=cpu,precision=bf16" or "checkout=../before". Raises BadInput("bad_option")."""
    pairs = [part.partition("=") for part in text.split(",") if part]
    variant = {**DEFAULTS, **{key: value for key, _, value in pairs}}
    checkout = variant["checkout"]
    lacking = checkout and not (Path(checkout) / PACKAGE / "conddiffusion_uad").is_dir()
    if variant.keys() != DEFAULTS.keys() or variant["precision"] not in PRECISIONS or lacking:
        accepted = "Accepted: " + ", ".join(f"{key}={value or 'FOLDER'}" for key, value in DEFAULTS.items()) + "."
        raise BadInput("bad_option", f"A variant cannot be {text!r}.", accepted)
    return variant


def compare(first: Mapping[str, str], second: Mapping[str, str], *, slices: int, rounds: int) -> Comparison:
    """Reconstruct the same synthetic brain with both variants, in turns, each in a process of its own.

    Raises:
        Failure: "trial_failed" when one of them cannot.
    """
    with tempfile.TemporaryDirectory(prefix="conddiffusion-benchmark-") as folder, ExitStack() as stack:
        results = [Path(folder) / f"{index}.npy" for index in range(2)]
        variants = [
            {**variant, "slices": slices, "result": str(result), "brain": brain.__file__}
            for variant, result in zip((first, second), results, strict=True)
        ]
        trials = []
        for variant in variants:
            trials.append(stack.enter_context(_trial(variant)))
            _answer(trials[-1])  # its first run does not count
        pairs = [[_answer(trial) for trial in trials] for _ in range(rounds)]
        one, other = (np.load(result) for result in results)
    wall, busy = (np.array([[answer[key] for answer in pair] for pair in pairs]) for key in ("seconds", "cpu_seconds"))
    ratios = wall[:, 0] / wall[:, 1]
    same = one.shape == other.shape
    return Comparison(
        seconds=tuple(np.median(wall, axis=0).tolist()),
        ratio=float(np.median(ratios)),
        quartiles=tuple(np.percentile(ratios, [25, 75]).tolist()),
        cpu_ratio=float(np.median(busy[:, 0] / busy[:, 1])),
        difference=float(np.linalg.norm(one - other) / np.linalg.norm(one)) if same else None,
    )


@contextmanager
def _trial(variant: Mapping[str, object]) -> Iterator[subprocess.Popen[str]]:
    """The process of a variant; it ends with the block."""
    own = Path(brain.__file__).resolve().parents[3]
    package = Path(str(variant["checkout"])).resolve() / PACKAGE if variant["checkout"] else own
    script = Path(__file__).with_name("speed_trial.py")
    process = subprocess.Popen(
        [sys.executable, str(script), json.dumps(variant)],
        env={**os.environ, "PYTHONPATH": str(package)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait()


def _answer(trial: subprocess.Popen[str]) -> dict[str, float]:
    """Let a trial run once."""
    try:
        trial.stdin.write("\n")
        trial.stdin.flush()
        line = trial.stdout.readline()
    except OSError:
        line = ""
    if not line:
        raise Failure("trial_failed", "One of the two variants cannot run.", "The log (stderr) says why.")
    return json.loads(line)


def text(variants: Sequence[str], compared: Comparison) -> str:
    """What was measured, for a person."""
    (one, other), (low, high) = variants, compared.quartiles
    lines = [
        f"{one}: {compared.seconds[0]:.3f} s; {other}: {compared.seconds[1]:.3f} s",
        f"The second is {compared.ratio:.2f} times as fast ({low:.2f} to {high:.2f}).",
        f"By the processor's time: {compared.cpu_ratio:.2f} times.",
    ]
    if compared.difference is not None:
        lines.append(f"Their reconstructions differ by {compared.difference:.1e} of the first.")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare two variants and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variants", nargs=2, metavar="VARIANT", help=f"key=value,...; keys: {', '.join(DEFAULTS)}")
    parser.add_argument("--slices", type=int, default=8, metavar="N", help="of the brain (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="runs of each (default: %(default)s)")
    options = parser.parse_args(arguments)
    first, second = map(parse, options.variants)
    print(text(options.variants, compare(first, second, slices=options.slices, rounds=options.rounds)))


if __name__ == "__main__":
    main()
