"""Refining labels against the alternatives: situations x methods x seeds.

    python benchmarks/labels.py                                # everything; hours
    python benchmarks/labels.py band-regroup-0.2 takes --methods restem cleanlab --seeds 1 2
    python benchmarks/labels.py --quick                        # shows that it works; keeps nothing

The situations are those of `label_situations.py`, the methods those of `label_methods.py`. What is in `labels.json`
already is not computed again (`--again` does); every row is kept as soon as it is there. `--work DIR` keeps the noisy
datasets, features and trainings, so that a change of the decisions costs no trainings.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logit

from common import DATA, HERE, keep_row, parse, read_rows
from label_methods import ENCODER, METHODS, Judged, Situation, usable_methods
from label_situations import FULL, QUICK, QUICK_SITUATIONS, SITUATIONS, Scale, make_noisy
from restem.demo.reference import mixture_accuracy
from restem.evaluation.metrics import agreement, auroc, ratio
from restem.executing.processes import Processes

PATH = HERE / "labels.json"
SURE = (
    "exact match", "macro F1", "kept", "unsure", "accuracy of the sure", "exact among the sure",
    "labels wrongly changed", "ECE",
)  # fmt: skip
OURS = ("restem", f"restem+{ENCODER}")  # of which all figures are printed
FOUND = ("precision", "recall", "segment F1", "stretches found", "edges within 1 s", "mixture accuracy")
# Trainings of separators: on the smaller sets only.
CCOM_SITUATIONS = (
    "takes", "band10-regroup-0.2", "band-regroup-0.2", "generated10-regroup-0.2", "generated4-regroup-0.2",
)  # fmt: skip
KNOWN = (*SITUATIONS, *QUICK_SITUATIONS)


def measure(situation: Situation, judged: Judged) -> dict[str, float | None]:
    """The figures of one method on the stems that sound, shares in [0, 1]."""
    sounding = situation.sounding
    true, before, after = situation.true[sounding], situation.given[sounding], judged.refined[sounding]
    names = [situation.dataset.stems[index].name for index in situation.features.indices]
    spoiled = np.isin(names, list(situation.noisy.spoiled))[sounding]
    wrong, found = (before != true).any(axis=1), (after != before).any(axis=1)
    sure, right = judged.sure[sounding], after == true
    hits = int((wrong & found).sum())
    whole = agreement(after, true, situation.dataset.taxonomy.classes)
    figures = {
        "label accuracy": whole.label_accuracy,
        "exact match": whole.exact_accuracy,
        "macro F1": whole.macro_f1,
        "AUROC": auroc(wrong | spoiled, 1.0 - judged.quality[sounding]),
        "precision": ratio(hits, int(found.sum())),
        "recall": ratio(hits, int(wrong.sum())),
        "wrongly changed": float((found & ~right.all(axis=1)).mean()),
        "labels wrongly changed": float(((after != before) & ~right).mean()),
        "kept": float((sure & ~found).mean()),
        "unsure": float((~sure).mean()),
        "accuracy of the sure": float(right[sure].mean()) if sure.any() else None,
        "exact among the sure": float(right[sure].all(axis=1).mean()) if sure.any() else None,
    }
    if judged.probabilities is not None:
        figures["ECE"] = calibration_error(judged.probabilities[sounding], true)
    if judged.segments is not None and situation.noisy.stretches:
        figures |= over_time(situation, judged.segments)
    if judged.final is not None and situation.noisy.held_out is not None:
        figures["mixture accuracy"] = mixture_accuracy(
            judged.final,
            situation.noisy.held_out,
            situation.settings,
            situation.store,
            mixtures=situation.scale.mixtures,
            executor=Processes(situation.workers),
        )
    return figures


def calibration_error(probabilities: np.ndarray, true: np.ndarray) -> float:
    """The expected calibration error over ten bins (Naeini et al., AAAI 2015)."""
    bins = np.minimum((10 * probabilities).astype(int), 9)
    return float(
        sum(
            np.mean(bins == one) * abs(probabilities[bins == one].mean() - true[bins == one].mean())
            for one in np.unique(bins)
        )
    )


def over_time(situation: Situation, scores: np.ndarray) -> dict[str, float]:
    """How well stretches are found: F1 of all classes in all active segments, at 0.5, and where stretches are found.

    A class is in a segment of its own stem, and where a stretch of it fills half of the segment; segments that hold
    less of one are left out for that class. A stretch is found when the class is found in the segment in its middle;
    its edges are found within a second where the score, taken for that of the segment's middle, crosses 0.5 there.
    """
    segments, features = situation.features.segments, situation.features
    classes = situation.dataset.taxonomy.classes
    row = {situation.dataset.stems[index].name: row for row, index in enumerate(features.indices)}
    hop_s = features.store.settings.hop_s
    start_s, end_s = segments.start * hop_s, segments.stop * hop_s
    share = situation.of_stems(situation.given).astype(float)
    late: list[float] = []
    for stem, name, first_s, last_s in situation.noisy.stretches:
        mine = segments.stem == row[stem]
        column = classes.index(name)
        inside = np.clip(np.minimum(end_s, last_s) - np.maximum(start_s, first_s), 0.0, None) / (end_s - start_s)
        if not situation.given[row[stem], column]:  # else the stem holds the class throughout
            middle_s = (start_s[mine] + end_s[mine]) / 2
            edges = _edges(middle_s, scores[mine, column], (first_s + last_s) / 2, end_s[mine][-1])
            late += [np.inf, np.inf] if edges is None else [abs(edges[0] - first_s), abs(edges[1] - last_s)]
        share[mine, column] = np.maximum(share[mine, column], inside[mine])
    counted = segments.active[:, None] & ((share == 0.0) | (share >= 0.5))
    found, there = (scores >= 0.5)[counted], (share >= 0.5)[counted]
    edges_s = np.array(late)
    return {
        "segment F1": float(2 * (found & there).sum() / (found.sum() + there.sum())),
        "stretches found": float(np.isfinite(edges_s).mean()),
        "edges within 1 s": float((edges_s[np.isfinite(edges_s)] <= 1.0).mean()),
    }


def _edges(middle_s: np.ndarray, scores: np.ndarray, at_s: float, end_s: float) -> tuple[float, float] | None:
    """From when to when a class is heard around `at_s`, or None."""
    evidence = logit(np.clip(scores, 1e-6, 1.0 - 1e-6))
    at = int(np.abs(middle_s - at_s).argmin())
    if evidence[at] < 0:
        return None
    quiet = np.flatnonzero(evidence < 0)

    def crossing(outside: int, inside: int) -> float:
        share = evidence[outside] / (evidence[outside] - evidence[inside])
        return float(middle_s[outside] + share * (middle_s[inside] - middle_s[outside]))

    before, after = quiet[quiet < at], quiet[quiet > at]
    return (
        crossing(before[-1], before[-1] + 1) if len(before) else 0.0,
        crossing(after[0], after[0] - 1) if len(after) else end_s,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("situations", nargs="*", help=f"of {' '.join(SITUATIONS)}; by default all")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=usable_methods())
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--work", type=Path, help="keep datasets, features and trainings in this folder")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="also draw the situations in which several methods were compared")
    parser.add_argument("--again", action="store_true", help="compute rows anew that are there")
    arguments = parse(parser, situations=QUICK_SITUATIONS, seeds=[1])
    if unknown := set(arguments.situations) - set(KNOWN):
        parser.error(f"There is no situation {sorted(unknown)[0]!r}.")
    with tempfile.TemporaryDirectory() as aside:
        work = arguments.work or Path(aside)
        path = Path(aside) / PATH.name if arguments.quick else PATH
        picture = arguments.plot or (Path(aside) / "labels.png" if arguments.quick else None)
        for name in arguments.situations or SITUATIONS:
            for seed in arguments.seeds:
                compute(name, seed, arguments, work / f"seed{seed}", path, QUICK if arguments.quick else FULL)
        print_tables(read_rows(path))
        if picture:
            draw(read_rows(path), picture)


def compute(name: str, seed: int, arguments: argparse.Namespace, work: Path, path: Path, scale: Scale) -> None:
    """Adds the rows of one situation and one seed to the JSON file `path`."""
    there = {row["method"] for row in read_rows(path) if (row["situation"], row["seed"]) == (name, seed)}
    methods = [method for method in arguments.methods if arguments.again or method not in there]
    if name not in CCOM_SITUATIONS and "ccom" in methods:
        methods.remove("ccom")
    if not methods:
        return
    noisy = make_noisy(name, seed, arguments.data, work / "data", arguments.workers, scale)
    situation = Situation(noisy, seed, work / name, arguments.workers, scale)
    for method in methods:
        start = time.monotonic()
        figures = measure(situation, METHODS[method](situation))
        seconds = round(time.monotonic() - start, 1)
        kept = {key: None if value is None else round(value, 5) for key, value in figures.items()}
        keep_row(path, {"situation": name, "seed": seed, "method": method, "seconds": seconds, **kept}, row_key)
        print(name, seed, method, f"{seconds:.0f} s", kept, flush=True)


def row_key(row: dict[str, Any]) -> tuple[Any, ...]:
    """Which row it is, and its place."""
    return KNOWN.index(row["situation"]), row["seed"], list(METHODS).index(row["method"])


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Label accuracy and AUROC of all methods: the mean over seeds, and from which to which."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in KNOWN if any(row["situation"] == name for row in rows)]
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 0.42 * len(names) + 1.6), sharey=True)
    for axis, column in zip(axes, ("label accuracy", "AUROC"), strict=True):
        for number, method in enumerate(methods):
            if column == "AUROC" and method == "given":
                continue  # says nothing
            places, means, below, above = [], [], [], []
            for place, name in enumerate(names):
                if not (found := values(rows, name, method, column)):
                    continue
                places.append(place + 0.7 * ((number + 0.5) / len(methods) - 0.5))
                means.append(100 * np.mean(found))
                below.append(100 * (np.mean(found) - min(found)))
                above.append(100 * (max(found) - np.mean(found)))
            ours = method in OURS
            axis.errorbar(
                means, places, xerr=(below, above), fmt="o", elinewidth=1, label=method, zorder=3 if ours else 2,
                color="black" if ours else f"C{number}", markersize=6 if ours else 4,
                markerfacecolor="white" if method == OURS[1] else None,
            )  # fmt: skip
        for place in range(len(names)):
            if place % 2:
                axis.axhspan(place - 0.5, place + 0.5, color="0.95", zorder=0)
        axis.set(xlabel=f"{column}, %", ylim=(len(names) - 0.5, -0.5), xlim=(None, 100.5))
        axis.grid(axis="x", alpha=0.3)
    axes[0].set_yticks(range(len(names)), names)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="upper center", ncol=5, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 0.95))
    figure.savefig(path, dpi=110)


def values(rows: list[dict[str, Any]], name: str, method: str, column: str) -> list[float]:
    """A figure of every seed for which it is there."""
    mine = (row for row in rows if (row["situation"], row["method"]) == (name, method))
    return [row[column] for row in mine if row.get(column) is not None]


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Means over seeds, and from which to which: methods against each other, then all figures of restem."""

    def cell(name: str, method: str, column: str, spread: bool = True) -> str:
        found = values(rows, name, method, column)
        if not found:
            return ""
        around = f" ({100 * min(found):.1f} to {100 * max(found):.1f})" if spread and len(found) > 1 else ""
        return f"{100 * np.mean(found):.1f}{around}"

    def print_table(head: tuple[str, ...], lines: list[list[str]]) -> None:
        print("|", " | ".join(("situation", *head)), "|")
        print("|---" * (1 + len(head)) + "|")
        for line in lines:
            print("|", " | ".join(line), "|")
        print()

    names = [name for name in KNOWN if any(row["situation"] == name for row in rows)]
    methods = [method for method in METHODS if any(row["method"] == method for row in rows)]
    for column in ("label accuracy", "AUROC"):
        print(f"{column}, %\n")
        lines = [[name, *(cell(name, method, column, method == "restem") for method in methods)] for name in names]
        print_table(tuple(methods), lines)
    for method, head in ((method, head) for method in OURS for head in (SURE, FOUND)):
        print(f"{method}, %\n")
        lines = [[name, *(cell(name, method, column, False) for column in head)] for name in names]
        print_table(head, [line for line in lines if any(line[1:])])


if __name__ == "__main__":
    main()
