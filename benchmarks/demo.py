"""The demo, several times over: labels before and after, and classifiers trained on noisy, refined and clean labels.

    python benchmarks/demo.py --seeds 1 2 3

Every seed is another band, another corruption, and other songs to measure on. The classifiers have the same size, the
same number of mixtures to learn from, and are measured on the same mixtures of songs they never heard.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from common import parse, publish
from restem.demo.demo import run_demo

QUICK = {"songs": 4, "song_seconds": 4.0, "held_out_songs": 2, "steps": 2, "workers": 1}


def measure(seed: int, quick: bool) -> dict[str, Any]:
    """One demo, from nothing."""
    with tempfile.TemporaryDirectory() as work:
        scale: dict[str, Any] = QUICK if quick else {}
        result = run_demo(Path(work) / "demo", seed=seed, cache=Path(work) / "cache", **scale)
        score = result.labels.as_dict()
        return {
            "seed": seed,
            "seconds": round(result.seconds, 1),
            "given": score["given"]["label_accuracy"],
            "refined": score["refined"]["label_accuracy"],
            "auroc": score["finding"]["auroc"],
            "mixtures": dict(result.mixtures),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parse(parser, seeds=[1])
    results = []
    for seed in options.seeds:
        results.append(measure(seed, options.quick))
        print(results[-1], flush=True)

    def listed(values: list[float]) -> str:
        return "  ".join(f"{value:.4f}" for value in values) + f"   mean {mean(values):.4f}"

    mixtures = {name: [result["mixtures"][name] for result in results] for name in ("noisy", "refined", "clean")}
    behind = mean(mixtures["clean"]) - mean(mixtures["refined"])
    publish(
        "demo",
        [
            ("label accuracy, given", listed([result["given"] for result in results]), ""),
            ("label accuracy, refined", listed([result["refined"] for result in results]), ""),
            ("AUROC", listed([result["auroc"] for result in results]), ""),
            *((f"mixture accuracy, {name} labels", listed(values), "") for name, values in mixtures.items()),
            ("refined behind clean", f"{100 * behind:+.2f} points", "<= 1, aim 0.3"),
            ("seconds", "  ".join(f"{result['seconds']:.0f}" for result in results), "< 240 on 2 cores"),
        ],
        {"results": results},
        quick=options.quick,
    )


if __name__ == "__main__":
    main()
