"""What each input of the learned map is worth: networks that lack one go on learning beside one that lacks none.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map/ablate.py --data DATA --cache CACHE --cases CASES \\
        --start CHECKPOINT --output DIR [--steps 300] [--judge-every 150]

All start from the same checkpoint and see the same batches, so that their losses can be compared batch by batch. What
costs nothing after so many steps is not needed; what costs something might be made up for in a longer training. Lines
of the losses are kept in ``losses.jsonl``, figures on the cases in ``judged.jsonl``; it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import signal
from pathlib import Path

import judge_cases as judged
import numpy as np
import torch
from judge_figures import Map, learned_map, measured

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.method.anomaly_map.learned import LearnedMap, whole_place
from conddiffusion_uad.method.anomaly_map.learned_inputs import PRIORS
from conddiffusion_uad.method.anomaly_map.learned_network import LearnedMapNetwork
from conddiffusion_uad.training.data.healthy_bank import FINE
from conddiffusion_uad.training.learned_map import material
from conddiffusion_uad.training.learned_map.batches import Batch, Batches
from conddiffusion_uad.training.learned_map.loop import Settings, loss, network
from conddiffusion_uad.training.learned_map.reconstructions import Reconstructed

WITHOUT = {  # channels at full and at half size, see method/anomaly_map/learned_inputs.py
    "nothing": ((), ()),
    "neighbors": ((0, 2), (0, 1)),
    "mirrored slice": ((3,), ()),
    "rank": ((4,), ()),
    "place and priors": ((), tuple(range(5, 8 + PRIORS))),
}
KEPT, LOSSES, JUDGED = "ablation.pt", "losses.jsonl", "judged.jsonl"
_RATE = 1e-3  # half of the training's, so that its last steps are as it were


class Lacking(torch.nn.Module):
    """A network that some channels are hidden from.

    Args:
        whole: The network.
        fine, coarse: Channels that are 0.
    """

    def __init__(self, whole: LearnedMapNetwork, fine: tuple[int, ...], coarse: tuple[int, ...]) -> None:
        super().__init__()
        self.whole, self.hidden = whole, (fine, coarse)
        self.divisor = whole.divisor

    def forward(self, fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """As the whole network."""
        shown = []
        for values, hidden in zip((fine, coarse), self.hidden, strict=True):
            seen = torch.ones(values.shape[1], device=values.device, dtype=values.dtype)
            seen[list(hidden)] = 0
            shown.append(values * seen[:, None, None])
        return self.whole(*shown)


class Ablation:
    """Networks that learn side by side.

    Args:
        start: Checkpoint of a training of the learned map.
        folder: For what is kept.
    """

    def __init__(self, start: Path, folder: Path) -> None:
        state = torch.load(start, map_location="cpu", weights_only=True)
        self.step = self.first = state["step"]
        self.priors, self.folder = state["priors"], folder
        self.networks = {name: Lacking(network(), *hidden) for name, hidden in WITHOUT.items()}
        self._optimizers = {}
        for name, lacking in self.networks.items():
            lacking.whole.load_state_dict(state["mean"])
            self._optimizers[name] = torch.optim.AdamW(lacking.parameters(), _RATE, weight_decay=Settings.weight_decay)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / KEPT).is_file():
            self._resume()

    def advance(self, batch: Batch, steps: int) -> dict[str, float]:
        """One step of every network; their losses. The rate falls to zero over so many steps."""
        rate, found = _RATE * max(0.0, 1 - (self.step - self.first) / steps), {}
        for name, lacking in self.networks.items():
            with torch.autocast("cpu", torch.bfloat16):
                logits = lacking(batch.inputs.fine, batch.inputs.coarse)
            value = loss(logits, batch)
            optimizer = self._optimizers[name]
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(lacking.parameters(), Settings.clip)
            optimizer.step()
            found[name] = round(float(value.detach()), 5)
        self.step += 1
        return found

    def save(self) -> None:
        """Write what :meth:`__init__` goes on from."""
        partial = self.folder / (KEPT + ".partial")
        networks = {name: lacking.state_dict() for name, lacking in self.networks.items()}
        optimizers = {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()}
        torch.save({"step": self.step, "networks": networks, "optimizers": optimizers}, partial)
        partial.replace(self.folder / KEPT)

    def _resume(self) -> None:
        state = torch.load(self.folder / KEPT, map_location="cpu", weights_only=True)
        self.step = state["step"]
        for name, lacking in self.networks.items():
            lacking.load_state_dict(state["networks"][name])
            self._optimizers[name].load_state_dict(state["optimizers"][name])

    def judge(self, cases: list) -> None:
        """Measure every network on the cases, with reconstructions."""
        place = whole_place(FINE, self.priors)
        for name, lacking in self.networks.items():
            score: Map = learned_map(LearnedMap(lacking.eval(), place, mirrored=False), True)
            _note(self.folder / JUDGED, {"step": self.step, "without": name, **measured(cases, score, None)})
            lacking.train()


def table(folder: Path) -> str:
    """The last figures as a Markdown table, and the mean difference of the losses with its 95 % interval."""
    lines = [json.loads(line) for line in (folder / JUDGED).read_text("utf-8").splitlines()]
    last = {line["without"]: line for line in lines if line["step"] == max(each["step"] for each in lines)}
    losses = [json.loads(line) for line in (folder / LOSSES).read_text("utf-8").splitlines()]
    late = losses[len(losses) // 2 :]
    rows = [["without", *WITHOUT], ["---"] * (1 + len(WITHOUT)), [f"loss of {len(late)} batches, more than the first"]]
    for name in WITHOUT:
        more = np.array([line[name] - line["nothing"] for line in late])
        rows[-1].append(f"{more.mean():+.3f} ± {1.96 * more.std(ddof=1) / len(more) ** 0.5:.3f}")
    for figure in [key for key in last["nothing"] if key not in ("step", "without")]:
        rows.append([figure, *(f"{last[name][figure]:.3f}" for name in WITHOUT)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _note(file: Path, line: dict) -> None:
    with file.open("a", encoding="utf-8") as opened:
        opened.write(json.dumps(line) + "\n")


def main() -> None:
    """Train, judge and show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "cache", "cases", "start", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--judged-data", type=Path, help="data of the cases (default: --data)")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--judge-every", type=int, default=150)
    parser.add_argument("--bundle", default="residual", help="whose denoiser reconstructs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    ablation = Ablation(options.start, options.output)
    bundle = bundles.load(options.bundle).to("cpu")
    batches = Reconstructed(Batches(material.load(options.data, options.cache), Settings.seed), bundle.model, 2)
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    while not stopped and ablation.step < ablation.first + options.steps:
        losses = ablation.advance(batches[ablation.step], options.steps)
        _note(options.output / LOSSES, {"step": ablation.step, **losses})
        if ablation.step % 10 == 0:
            ablation.save()
        if (ablation.step - ablation.first) % options.judge_every == 0:
            ablation.save()
            ablation.judge(judged.load(options.judged_data or options.data, options.cases, bundle))
    ablation.save()
    if (options.output / JUDGED).is_file():
        print(table(options.output))


if __name__ == "__main__":
    main()
