"""What it costs to train on a part of the stems, as is done with more than `TrainingSettings.most_stems` of them.

    python benchmarks/training_subset.py [--songs 40] [--steps 120] [--seeds 177 178] [--work DIR]

Generated songs with sources in wrong stems with probability 0.2, refined with all stems, and with trainings that draw
from a quarter and from a sixteenth of those that they could. All have the same number of steps, as large datasets do.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import restem
from common import parse, publish
from restem.labelling.refining import refine_labels
from restem.labelling.settings import RefineSettings
from restem.labelling.training import TrainingSettings
from restem.synth.band import render_band

SHARES = (1.0, 1 / 4, 1 / 16)
# Of the stems of a dataset, those in the other two of three folds.
_TAUGHT = 2 / 3


def measure(seed: int, songs: int, seconds: float, steps: int, work: Path) -> list[dict[str, Any]]:
    band = render_band(work / f"band-{seed}", songs=songs, seconds=seconds, seed=seed)
    noisy = work / f"noisy-{seed}"
    restem.corrupt(restem.open_dataset(band), noisy, kind="regroup", rate=0.2, seed=seed, workers=1)
    dataset = restem.open_dataset(noisy)
    rows = []
    for share in SHARES:
        most = max(4, round(share * _TAUGHT * len(dataset)))
        settings = RefineSettings(steps=steps, training=TrainingSettings(most_stems=most))
        out = work / f"run-{seed}-{most}"
        run = refine_labels(dataset, out, settings, cache=work / "cache", workers=1)
        score = restem.score(run, noisy / "truth.csv").as_dict()
        rows.append({"seed": seed, "share": share, "stems": most, "given": score["given"], "refined": score["refined"]})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each song")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[177, 178])
    parser.add_argument("--work", type=Path, help="keep everything here")
    asked = parse(parser, songs=4, seconds=4.0, steps=2, seeds=[177])
    with tempfile.TemporaryDirectory() as aside:
        work = asked.work or Path(aside)
        rows = [row for seed in asked.seeds for row in measure(seed, asked.songs, asked.seconds, asked.steps, work)]
    claims = []
    for share in SHARES:
        mine = [row for row in rows if row["share"] == share]
        refined, given = (mean(row[side]["label_accuracy"] for row in mine) for side in ("refined", "given"))
        claims.append((f"{mine[0]['stems']} stems a training", f"labels {given:.4f} -> {refined:.4f}", ""))
    publish("training_subset", claims, {"rows": rows, "settings": asdict(RefineSettings().training)}, quick=asked.quick)


if __name__ == "__main__":
    main()
