"""What refining does to labels: accuracy, finding wrong stems, wall time; default settings throughout.

    python benchmarks/labels.py takes band        # ../shared/data, or --data DIR
    python benchmarks/labels.py band --seeds 1    # one seed only

`takes`: 100 stems put together from real recordings, 16 of them wrong; the seeds are those of the refinement.
`band`: 40 rendered songs, regrouped at 0.2; the seeds are those of the corruption and of the refinement.
Features are computed anew for every run, so that the wall time is that of a first `restem refine`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import restem
from common import DATA, publish

TARGETS = {
    "takes": {"label accuracy": "never below given, aim 0.955", "AUROC": ">= 0.80, aim 0.90"},
    "band": {"label accuracy": ">= 0.95, aim 0.98", "AUROC": ">= 0.95", "seconds": "<= 480 on 2 cores"},
}


def measure(name: str, data: Path, seed: int, work: Path) -> dict[str, Any]:
    """One corruption, where there is one, and one refinement."""
    if name == "takes":
        noisy, truth = data / "takes" / "noisy", data / "takes" / "truth.csv"
    else:
        noisy = work / f"noisy{seed}"
        restem.corrupt(restem.open_dataset(data / "band"), noisy, kind="regroup", rate=0.2, seed=seed, workers=2)
        truth = noisy / "truth.csv"
    start = time.monotonic()
    run = restem.refine(restem.open_dataset(noisy), work / f"run{seed}", seed=seed, cache=work / f"cache{seed}")
    seconds = time.monotonic() - start
    score = restem.score(run, truth).as_dict()
    return {"data": name, "seed": seed, "seconds": round(seconds, 1), "score": score}


def claims(name: str, results: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """What was measured on one set of data, next to what is asked."""
    scores = [result["score"] for result in results]
    figures = {
        "given label accuracy": [score["given"]["label_accuracy"] for score in scores],
        "label accuracy": [score["refined"]["label_accuracy"] for score in scores],
        "exact match": [score["refined"]["exact_accuracy"] for score in scores],
        "AUROC": [score["finding"]["auroc"] for score in scores],
        "accuracy of kept and changed": [score["sure_label_accuracy"] for score in scores],
        "seconds": [result["seconds"] for result in results],
    }
    return [
        (
            f"{name}: {figure}",
            "  ".join(f"{value:.0f}" if figure == "seconds" else f"{value:.4f}" for value in values),
            TARGETS[name].get(figure, ""),
        )
        for figure, values in figures.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {' '.join(TARGETS)}; by default all")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    for name in arguments.names or TARGETS:
        for seed in arguments.seeds:
            with tempfile.TemporaryDirectory() as work:
                results.setdefault(name, []).append(measure(name, arguments.data, seed, Path(work)))
            print(*claims(name, results[name]), sep="\n", flush=True)
    table = [claim for name, found in results.items() for claim in claims(name, found)]
    publish("labels", table, results)


if __name__ == "__main__":
    main()
