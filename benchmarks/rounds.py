"""How many rounds to make with nothing but the noisy data, and whose scores to believe after each.

    python benchmarks/rounds.py --work DIR --seeds 4

Refinements start from random weights (`restem refine --encoder none --start scratch`). In every round the classifiers
are trained on what the classifiers of the round before found. What is found after it is compared for three kinds of
evidence: the logits of the last round alone, their mean over all rounds, and the mean without the first round, whose
classifiers were trained on the given labels. In % of stem x class or segment x class: the labels that are right; the
AUROC of the logits of segments; and how far the targets of the next training are from the truth, on average. The truth
of a segment is that of its stem, so situations are those in which a stem holds one class.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from common import DATA, HERE, keep_row, parse, read_rows
from label_methods import Situation
from label_situations import FULL, QUICK, make_noisy
from restem.evaluation.metrics import auroc
from restem.labelling.judging import judge, segment_targets, stem_scores
from restem.labelling.known_labels import known_labels

PATH = HERE / "rounds.json"
LOWER_QUANTILE = 0.7
FIGURES = ("labels right", "AUROC of segments", "error of targets")


def measure(situation: Situation, rounds: int) -> list[dict[str, Any]]:
    """One row per round and kind of evidence."""
    features, settings = situation.features, situation.settings
    refinement, known = situation.refinement("rounds", start="scratch", rounds=rounds), known_labels(features, None)
    segments = features.segments
    true = situation.of_stems(situation.true)[segments.active]
    rows = []
    targets, logits = situation.of_stems(situation.given), []
    for number in range(1, rounds + 1):
        logits.append(refinement.round(number, targets, situation.timed))
        kinds = {"last round": (logits[-1], settings)}
        if number > 1:
            kinds["mean of all"] = (np.mean(logits, axis=0), settings)
        if number > 2:
            kinds["mean without the first"] = (np.mean(logits[1:], axis=0), settings)
        kinds[f"last round, quantile {LOWER_QUANTILE}"] = (logits[-1], replace(settings, pool_quantile=LOWER_QUANTILE))
        for kind, (evidence, changed) in kinds.items():
            found = judge(features, stem_scores(features, evidence, changed), evidence, changed, known)
            taught = segment_targets(segments, found.over_time, found.outcome)
            areas = [auroc(*columns) for columns in zip(true.T, evidence[segments.active].T, strict=True)]
            right = (found.outcome.refined == situation.true)[situation.sounding]
            figures = (
                right.mean(),
                np.mean([area for area in areas if area is not None]),
                np.abs(taught[segments.active] - true).mean(),
            )
            named = {name: round(float(value), 4) for name, value in zip(FIGURES, figures, strict=True)}
            rows.append({"round": number, "evidence": kind} | named)
            if kind == "last round":
                targets = taught
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("situations", nargs="*", default=["fonts-swap-0.4"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, help="keep datasets, features and trainings in this folder")
    arguments = parse(parser, situations=["generated4-swap-0.4"])
    scale = QUICK if arguments.quick else FULL
    with tempfile.TemporaryDirectory() as aside:
        path = Path(aside) / PATH.name if arguments.quick else PATH
        for seed in arguments.seeds:
            for name in arguments.situations:
                work = (arguments.work or Path(aside)) / f"seed{seed}"
                noisy = make_noisy(name, seed, arguments.data, work / "data", 1, scale)
                for row in measure(Situation(noisy, seed, work / name, 1, scale), arguments.rounds):
                    keep_row(path, {"situation": name, "seed": seed} | row, row_key)
        print("| situation | seed | round | evidence |", " | ".join(FIGURES), "|\n" + "|---" * (4 + len(FIGURES)) + "|")
        for row in read_rows(path):
            print(
                "|",
                " | ".join(map(str, row_key(row))),
                "|",
                " | ".join(f"{100 * row[name]:.1f}" for name in FIGURES),
                "|",
            )


def row_key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["situation"], row["seed"], row["round"], row["evidence"]


if __name__ == "__main__":
    main()
