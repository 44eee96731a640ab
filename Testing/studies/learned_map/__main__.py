"""Judge a learned map while it is trained.

    PYTHONPATH=CondDiffusionUAD python Testing/studies/learned_map --data DATA --cache DIR --run DIR --every 900

Whenever the training's checkpoint is new, its running mean of weights is measured, a line is added to
``judged.jsonl`` and both are drawn again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import judge_cases as judged
import torch
from judge_curve import draw
from judge_figures import Map, heat_map, learned_map, measured, rank_map, remembered, residual_map, unbounded

from conddiffusion_uad.bundle import bundle as bundles
from conddiffusion_uad.method.anomaly_map.learned import LearnedMap, whole_place
from conddiffusion_uad.training.data.healthy_bank import FINE
from conddiffusion_uad.training.learned_map.loop import CHECKPOINT, network

JUDGED, BASELINES = "judged.jsonl", "baselines.json"
_FLOOR = 0.02  # so that what the residual is silent about can still be found


def main() -> None:
    """Judge once, or every so many seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder of prepared cases")
    parser.add_argument("--run", type=Path, required=True, help="folder of the training")
    parser.add_argument("--every", type=float, default=0.0, help="seconds between judgements; 0 for one only")
    parser.add_argument("--bundle", default="residual")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bundle = bundles.load(options.bundle).to("cpu")
    cases = judged.load(options.data, options.cache, bundle)
    if not (options.run / BASELINES).is_file():
        known = {"rank": measured(cases, rank_map, None), "heat": measured(cases, heat_map, None)}
        (options.run / BASELINES).write_text(json.dumps(known, indent=1), encoding="utf-8")
    while True:
        judge(cases, options.run, residual_map(bundle))
        draw(options.run)
        if not options.every:
            return
        time.sleep(options.every)


def judge(cases: list, run: Path, residual: Map) -> None:
    """Measure the checkpoint of a run: with and without reconstructions, and times what needs no training."""
    state = torch.load(run / CHECKPOINT, map_location="cpu", weights_only=True)
    model = network()
    model.load_state_dict(state["mean"])
    map_of = LearnedMap(model.eval(), whole_place(FINE, state["priors"]), mirrored=False)
    plain, known = (remembered(learned_map(map_of, reconstructed)) for reconstructed in (False, True))
    twice = remembered(lambda case: (unbounded(plain(case)) + unbounded(known(case))) / 2)
    maps = {
        "plain": plain,
        "reconstructed": known,
        "twice": twice,
        "twice x residual": lambda case: twice(case) * (residual(case) + _FLOOR),
        "twice x rank": lambda case: twice(case) * rank_map(case),
    }
    for name, score in maps.items():
        figures = measured(cases, score, 0.5 if score in (plain, known) else None)
        line = {"step": state["step"], "map": name, "time": round(time.time()), **figures}
        with (run / JUDGED).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
