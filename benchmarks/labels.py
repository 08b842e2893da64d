"""Refining labels against the alternatives: situations x methods x seeds.

    python benchmarks/labels.py                                # everything; hours
    python benchmarks/labels.py band-regroup-0.2 takes --methods restem cleanlab --seeds 1 2
    python benchmarks/labels.py --quick                        # one small situation, one seed: minutes

What is in `labels.json` already is not computed again (`--again` does); every row is kept as soon as it is there.

Situations are a dataset and what was done to it. `band` and `takes` are in ../shared/data (or --data), `generated-N` is
the band of the demo, N songs; `takes` alone has wrong labels as it is. The seed is that of the noise and of the
trainings. Methods, all with the same features, trainings of the same size, and the same start:

    given      the labels as they are
    single     one classifier, trained on all songs and asked about them
    paper      the same, and a second one trained on what the first found (stem labels, as in the paper)
    cleanlab   out-of-fold scores to `find_multilabel_issues_per_class`, issues turned over; its label quality scores
    restem     what `restem refine` decides (without the final classifier, which does not decide)
    scratch    the same with --start scratch
    truth      restem with classifiers that were trained on the true labels: the upper bound

Of the plain methods a stem's labels are those that its score, the 0.85 quantile over segments, exceeds 0.7 for, and its
quality is the least probability that one of its given labels is right.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.special import expit

import restem
from common import DATA, HERE, machine
from restem.audio.store import Store
from restem.dataset.table import Dataset
from restem.dataset.truth import SEGMENTS_TRUTH_FILE, read_truth
from restem.evaluation.metrics import agreement, auroc, ratio
from restem.labelling.certain import certain
from restem.labelling.deciding import Calibration, Decisions, present
from restem.labelling.hearing import Heard, hear
from restem.labelling.refining import Refinement, RefineSettings, Timed, judge, segment_targets
from restem.labelling.scoring import pool_scores
from restem.synth.band import render_band

SITUATIONS = (
    "takes", "band-regroup-0.2", "band-clean", "takes-clean", "band-regroup-0.3", "band-partial-0.3", "band-swap-0.2",
    "band-bleed", "takes-regroup-0.2", "band10-regroup-0.2", "band-regroup-0.1", "band-regroup-0.5", "band-swap-0.4",
    "generated10-regroup-0.2", "generated40-regroup-0.2", "generated160-regroup-0.2",
)  # fmt: skip
QUICK = ("generated10-regroup-0.2",)
THRESHOLD = 0.7
SECONDS = 16.0


@dataclass(frozen=True)
class Judged:
    """What a method says about the stems that sound. refined: (stem, class). quality: (stem,). sure: (stem,) flags.

    probabilities: (stem, class), and segments: (segment, class) scores, where the method has them.
    """

    refined: np.ndarray
    quality: np.ndarray
    sure: np.ndarray
    probabilities: np.ndarray | None = None
    segments: np.ndarray | None = None


class Situation:
    """One noisy dataset with its truth, and the trainings that methods share."""

    def __init__(self, name: str, seed: int, data: Path, work: Path, workers: int) -> None:
        self.work, self.workers, self.seed = work, workers, seed
        noisy, truth = make_noisy(name, seed, data, work / "data", workers)
        self.dataset: Dataset = restem.open_dataset(noisy)
        self.folder = noisy
        self.timed = Timed(None)
        store = Store(work / "features")
        settings = RefineSettings(seed=seed)
        with self.timed("features"):
            self.heard: Heard = hear(self.dataset, store, settings.mixing.segment_s, settings.hop_s, workers)
        taxonomy = self.dataset.taxonomy
        true = {}
        for song, stem, labels in read_truth(truth, taxonomy).select("song", "stem", "true").iter_rows():
            flags = taxonomy.to_flags(taxonomy.parse(labels or ""))
            true[song, stem] = true[song, f"{song}/{stem}"] = flags
        stems = [self.dataset.stems[index] for index in self.heard.indices]
        self.true = np.array([true[stem.song, stem.name] for stem in stems])
        self.given = self.heard.given
        self.sounding = self.heard.segments.active_frames > 0

    def refinement(self, name: str, **changes: Any) -> Refinement:
        """The trainings of a refinement, in a folder of their own."""
        settings = replace(RefineSettings(seed=self.seed), **changes)
        config = settings.classifier(self.dataset.taxonomy.classes)
        return Refinement(self.heard, self.work / name, settings, "cpu", self.workers, config)

    @cached_property
    def prior(self) -> list[np.ndarray]:
        refinement = self.refinement("restem")
        return [refinement.ask_prior(self.timed)] if refinement.prior_judges else []

    @cached_property
    def out_of_fold(self) -> np.ndarray:
        """Logits of classifiers that were trained on the given labels of other songs."""
        return self.refinement("restem").round(1, self.of_stems(self.given), self.timed)

    @cached_property
    def alone(self) -> np.ndarray:
        """Logits of one classifier that was trained on the given labels of all songs."""
        return self.refinement("single", folds=1).round(1, self.of_stems(self.given), self.timed)

    def of_stems(self, flags: np.ndarray) -> np.ndarray:
        return flags[self.heard.segments.stem]

    def pooled(self, logits: np.ndarray) -> np.ndarray:
        segments = self.heard.segments
        scores = expit(logits[segments.active])
        return pool_scores(scores, segments.stem[segments.active], len(self.given), RefineSettings().pool_quantile)

    def plain(self, logits: np.ndarray) -> Judged:
        """Whatever exceeds the threshold, and the least probability of a given label."""
        scores = self.pooled(logits)
        quality = np.where(self.given, scores, 1.0 - scores).min(axis=1)
        return Judged(scores > THRESHOLD, quality, np.ones(len(scores), bool), scores)

    def judged(self, evidence: list[np.ndarray]) -> Judged:
        """The decision of restem from the logits of all witnesses."""
        scores = expit(np.mean(evidence, axis=0)) * self.heard.segments.active[:, None]
        found: tuple[Decisions, tuple[Calibration, ...]] = judge(
            self.heard, scores, RefineSettings().pool_quantile, certain(self.heard, None)
        )
        decisions, calibrations = found
        sure = np.isin(decisions.verdicts, ("kept", "changed"))
        return Judged(
            decisions.refined, decisions.quality, sure, decisions.probabilities, present(scores, calibrations)
        )


def make_noisy(name: str, seed: int, data: Path, work: Path, workers: int) -> tuple[Path, Path]:
    """The folder of a situation, and its truth."""
    if name == "takes":
        return data / "takes" / "noisy", data / "takes" / "truth.csv"
    source, kind, rate = re.fullmatch(r"([a-z0-9]+)-(\w+?)(?:-([\d.]+))?", name).groups()  # type: ignore[union-attr]
    if source.startswith("generated"):
        songs = int(source.removeprefix("generated"))
        clean = restem.open_dataset(
            render_band(work / source, songs=songs, seconds=SECONDS, seed=1000 + seed, workers=workers)
        )
    else:
        clean = restem.open_dataset(data / "takes" / "clean" if source == "takes" else data / "band")
        if source == "band10":
            few = set(clean.songs[:: len(clean.songs) // 10][:10])
            clean = replace(clean, stems=tuple(stem for stem in clean.stems if stem.song in few))
    out = work / name
    clean_or = {"kind": "regroup", "rate": 0.0} if kind == "clean" else {"kind": kind, "rate": float(rate or 0.2)}
    restem.corrupt(clean, out, seed=seed, workers=workers, **clean_or)
    return out, out / "truth.csv"


def single(situation: Situation) -> Judged:
    return situation.plain(situation.alone)


def paper(situation: Situation) -> Judged:
    first = situation.plain(situation.alone).refined.astype(np.float32)
    second = situation.refinement("paper", folds=1)
    return situation.plain(second.round(2, situation.of_stems(first), situation.timed))


def cleanlab(situation: Situation) -> Judged:
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
    from cleanlab.multilabel_classification.rank import get_label_quality_scores

    scores = situation.pooled(situation.out_of_fold)
    labels = [np.flatnonzero(flags).tolist() for flags in situation.given]
    issues = np.asarray(find_multilabel_issues_per_class(labels, scores))
    refined = situation.given ^ issues
    return Judged(refined, get_label_quality_scores(labels, scores), np.ones(len(scores), bool), scores)


def refined(situation: Situation) -> Judged:
    return situation.judged([*situation.prior, situation.out_of_fold])


def scratch(situation: Situation) -> Judged:
    settings = RefineSettings(seed=situation.seed)
    refinement = situation.refinement("scratch", training=replace(settings.training, start="scratch"))
    evidence: list[np.ndarray] = []
    targets = situation.of_stems(situation.given)
    for number in range(1, refinement.rounds + 1):
        evidence.append(refinement.round(number, targets, situation.timed))
        scores = expit(np.mean(evidence, axis=0)) * situation.heard.segments.active[:, None]
        decisions, calibrations = judge(situation.heard, scores, settings.pool_quantile, certain(situation.heard, None))
        targets = segment_targets(situation.heard.segments, present(scores, calibrations), decisions)
    return situation.judged(evidence)


def truth(situation: Situation) -> Judged:
    taught = situation.refinement("truth").round(1, situation.of_stems(situation.true), situation.timed)
    return situation.judged([*situation.prior, taught])


def given(situation: Situation) -> Judged:
    return Judged(situation.given, np.zeros(len(situation.given)), np.ones(len(situation.given), bool))


METHODS: dict[str, Callable[[Situation], Judged]] = {
    "given": given, "single": single, "paper": paper, "cleanlab": cleanlab, "restem": refined, "scratch": scratch,
    "truth": truth,
}  # fmt: skip


def measure(situation: Situation, judged: Judged) -> dict[str, float | None]:
    """The figures of one method on the stems that sound, shares in [0, 1]."""
    sounding = situation.sounding
    true, before, after = situation.true[sounding], situation.given[sounding], judged.refined[sounding]
    wrong, found = (before != true).any(axis=1), (after != before).any(axis=1)
    sure, right = judged.sure[sounding], after == true
    hits = int((wrong & found).sum())
    whole = agreement(after, true, situation.dataset.taxonomy.classes)
    figures = {
        "label accuracy": whole.label_accuracy,
        "exact match": whole.exact_accuracy,
        "macro F1": whole.macro_f1,
        "AUROC": auroc(wrong, 1.0 - judged.quality[sounding]),
        "precision": ratio(hits, int(found.sum())),
        "recall": ratio(hits, int(wrong.sum())),
        "wrongly changed": float((found & ~right.all(axis=1)).mean()),
        "labels wrongly changed": float(((after != before) & ~right).mean()),
        "kept": float((sure & ~found).mean()),
        "unsure": float((~sure).mean()),
        "accuracy of the sure": float(right[sure].mean()) if sure.any() else None,
    }
    if judged.probabilities is not None:
        figures["ECE"] = calibration_error(judged.probabilities[sounding], true)
    stretches = situation.folder / SEGMENTS_TRUTH_FILE
    if judged.segments is not None and stretches.exists():
        figures["segment F1"] = segment_f1(situation, judged.segments, stretches)
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


def segment_f1(situation: Situation, scores: np.ndarray, stretches: Path) -> float:
    """F1 of all classes in all active segments, at 0.5.

    A class is in a segment of its own stem, and where a stretch of it fills half of the segment; segments that hold
    less of one are left out for that class.
    """
    segments, heard = situation.heard.segments, situation.heard
    classes = situation.dataset.taxonomy.classes
    row = {situation.dataset.stems[index].name: row for row, index in enumerate(heard.indices)}
    hop_s = heard.store.settings.hop_s
    start_s, end_s = segments.start * hop_s, segments.stop * hop_s
    share = situation.of_stems(situation.given).astype(float)
    for stem, name, first_s, last_s in pl.read_csv(stretches).select("stem", "class", "start_s", "end_s").iter_rows():
        mine = segments.stem == row[stem]
        inside = np.clip(np.minimum(end_s, last_s) - np.maximum(start_s, first_s), 0.0, None) / (end_s - start_s)
        column = share[:, classes.index(name)]
        column[mine] = np.maximum(column[mine], inside[mine])
    counted = segments.active[:, None] & ((share == 0.0) | (share >= 0.5))
    found, there = (scores >= 0.5)[counted], (share >= 0.5)[counted]
    return float(2 * (found & there).sum() / (found.sum() + there.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("situations", nargs="*", help=f"of {' '.join(SITUATIONS)}; by default all")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one small situation, one seed")
    parser.add_argument("--plot", type=Path, help="also draw the situations in which several methods were compared")
    parser.add_argument("--again", action="store_true", help="compute rows anew that are there")
    arguments = parser.parse_args()
    if unknown := set(arguments.situations) - set(SITUATIONS):
        parser.error(f"There is no situation {sorted(unknown)[0]!r}.")
    path = HERE / "labels.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text())["rows"] if path.exists() else []
    seeds = arguments.seeds[:1] if arguments.quick else arguments.seeds
    for name in QUICK if arguments.quick else arguments.situations or SITUATIONS:
        for seed in seeds:
            there = {row["method"] for row in rows if (row["situation"], row["seed"]) == (name, seed)}
            methods = [method for method in arguments.methods if arguments.again or method not in there]
            if not methods:
                continue
            with tempfile.TemporaryDirectory() as work:
                situation = Situation(name, seed, arguments.data, Path(work), arguments.workers)
                for method in methods:
                    start = time.monotonic()
                    figures = measure(situation, METHODS[method](situation))
                    seconds = round(time.monotonic() - start, 1)
                    rows = [
                        row for row in rows if (row["situation"], row["seed"], row["method"]) != (name, seed, method)
                    ]
                    kept = {key: None if value is None else round(value, 5) for key, value in figures.items()}
                    rows.append({"situation": name, "seed": seed, "method": method, "seconds": seconds, **kept})
                    rows.sort(key=lambda row: (row["situation"], row["seed"], list(METHODS).index(row["method"])))
                    path.write_text(json.dumps({"rows": rows, "machine": machine()}, indent=1) + "\n")
                    print(name, seed, method, f"{seconds:.0f} s", kept, flush=True)
    print_table(rows)
    if arguments.plot:
        draw(rows, arguments.plot)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Label accuracy, a dot a seed."""
    from matplotlib import pyplot

    names = [
        name
        for name in dict.fromkeys(row["situation"] for row in rows)
        if {"paper", "restem"} <= {row["method"] for row in rows if row["situation"] == name}
    ]
    figure, axes = pyplot.subplots(1, len(names), figsize=(4.5 * len(names), 3), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        mine = [row for row in rows if row["situation"] == name]
        axis.plot([100 * row["label accuracy"] for row in mine], [row["method"] for row in mine], "o", alpha=0.6)
        axis.set(title=name, xlabel="label accuracy, %")
        axis.grid(axis="x", alpha=0.3)
    axes[0][0].invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Means over seeds, and from which to which."""
    columns = ("label accuracy", "exact match", "AUROC", "unsure", "accuracy of the sure", "ECE", "segment F1")
    print("| situation | method | seeds |", " | ".join(columns), "|")
    print("|---|---|---|" + "---|" * len(columns))
    for name in dict.fromkeys(row["situation"] for row in rows):
        for method in METHODS:
            mine = [row for row in rows if (row["situation"], row["method"]) == (name, method)]
            if not mine:
                continue
            cells = []
            for column in columns:
                values = [row[column] for row in mine if row.get(column) is not None]
                spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.3f}{spread}" if values else "")
            print(f"| {name} | {method} | {len(mine)} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
