"""Scores a run's labels against the truth, where a dataset's truth is known.

Two questions are answered. *Are the labels right?* is answered for the given and for the refined labels; the
difference is the gain of the refinement. *Were the wrong stems found?* evaluates the run as a detector of mislabelled
stems: a stem is **wrong** when its given label set is not its true one, and **found** when the run gave it another
label set (verdict `changed`, or `silent` where labels had been given). An `unsure` or `failed` stem keeps its given
labels and so is not found; a low quality of an `unsure` one still counts in the AUROC of `1 - quality`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from restem.dataset.table import nfc
from restem.dataset.truth import read_truth
from restem.errors import DatasetError, RunError
from restem.evaluation.metrics import Agreement, Flags, agreement, auroc, average_precision, ratio
from restem.evaluation.ranges import RangeScore, score_ranges
from restem.notebook import html_table
from restem.runs.run import Run
from restem.taxonomy import Taxonomy
from restem.verdicts import SURE, VERDICTS
from restem.wording import counted


@dataclass(frozen=True)
class Finding:
    """The run as a detector of wrong stems.

    wrong: stems whose given label set is not the true one.
    found: stems whose refined label set is not the given one.
    precision: of the stems found, the share that were wrong; None if none was found.
    recall: of the wrong stems, the share that were found; None if none is wrong.
    auroc: probability that a random wrong stem has a lower quality than a random right one, ties counting half;
        None when only one kind has a quality.
    average_precision: of the ranking by `1 - quality`; None likewise. Its chance level is the share of wrong stems.
    unscored: stems without a quality (they failed), left out of the two ranking metrics only.
    """

    wrong: int
    found: int
    precision: float | None
    recall: float | None
    auroc: float | None
    average_precision: float | None
    unscored: int


@dataclass(frozen=True, repr=False)
class LabelScore:
    """A run's labels against the truth.

    Attributes
    ----------
    stems
        How many were scored.
    given, refined
        Agreement of the labels before and after with the true ones.
    finding
        The run as a detector of wrong stems.
    verdicts
        Share of the stems that got each verdict; sums to 1.
    sure
        How many stems have the verdict `kept` or `changed`.
    sure_label_accuracy, sure_exact_accuracy
        Accuracies of their refined labels, None if there are none.
    other_given
        Stems whose given labels in the truth table are not those of the run, with which everything is computed.
        Anything but 0 hints at the truth of another dataset.
    over_time
        The agreement with decisions about time ranges, if the truth is people's decisions and there are any.
    """

    stems: int
    given: Agreement
    refined: Agreement
    finding: Finding
    verdicts: Mapping[str, float]
    sure: int
    sure_label_accuracy: float | None
    sure_exact_accuracy: float | None
    other_given: int
    over_time: RangeScore | None = None

    def __repr__(self) -> str:
        before, after = self.given.label_accuracy, self.refined.label_accuracy
        return f"LabelScore({counted(self.stems, 'stem')}, label accuracy {before:.3f} given, {after:.3f} refined)"

    def _repr_html_(self) -> str:
        names = ("label_accuracy", "exact_accuracy", "macro_f1")
        rows = [(name.replace("_", " "), getattr(self.given, name), getattr(self.refined, name)) for name in names]
        return html_table(repr(self), ("", "given", "refined"), rows)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain numbers, strings, dicts and None, ready for JSON; classes are keyed by name."""
        content = asdict(self)
        for key in ("given", "refined"):
            content[key]["classes"] = {one.pop("name"): one for one in content[key]["classes"]}
        return content


def score(run: Run, truth: Path) -> LabelScore:
    """Scores `run` against the truth table at `truth` (a CSV `song,stem,given,true`).

    Raises DatasetError when the table cannot be read or is not about the run's stems, and RunError when the run
    lacks one of them.
    """
    return score_labels(run.labels, read_truth(truth, run.taxonomy), run.taxonomy)


def score_against_decisions(run: Run, decided: Run) -> LabelScore:
    """Scores what the classifiers found in `run` against people's decisions in `decided`, on the decided stems.

    Decisions about time ranges are counted in `over_time`. Raises RunError when no whole stem was decided, or the run
    lacks one of them.
    """
    labels = {name: one.labels for name, one in decided.decided.items() if one.labels is not None}
    truth = decided.found.filter(pl.col("stem").is_in(list(labels))).select("song", "stem", "given")
    if truth.is_empty():
        raise RunError(
            f"{decided.place}: nobody has decided about a whole stem yet; run `restem review {decided.place}`."
        )
    truth = truth.with_columns(true=pl.Series([run.taxonomy.format(labels[stem] or ()) for stem in truth["stem"]]))
    score = score_labels(run.found.filter(pl.col("stem").is_in(list(labels))), truth, run.taxonomy)
    return replace(score, over_time=score_ranges(run, decided))


def score_labels(labels: pl.DataFrame, truth: pl.DataFrame, taxonomy: Taxonomy) -> LabelScore:
    """Scores a run's labels table (see `restem.runs.run`) against a truth table `song,stem,given,true`.

    The tables are joined on song and stem, in any order. A stem of the truth may be written relative to its song:
    `take001,vocals.ogg` is the run's `take001,take001/vocals.ogg`.

    Raises RunError when the run lacks a stem of the truth, and DatasetError when the truth lacks a stem of the run or
    holds one twice, or when there is nothing to score.
    """
    truth = _in_order_of(labels, truth)
    given, refined = (_flags(labels[name], taxonomy) for name in ("given", "refined"))
    true, truth_given = (_flags(truth[name], taxonomy) for name in ("true", "given"))
    verdict = labels["verdict"].to_numpy()
    sure = np.isin(verdict, SURE)
    refined_right = refined == true
    return LabelScore(
        stems=len(labels),
        given=agreement(given, true, taxonomy.classes),
        refined=agreement(refined, true, taxonomy.classes),
        finding=_finding(given, refined, true, labels["quality"]),
        verdicts={name: float((verdict == name).mean()) for name in VERDICTS},
        sure=int(sure.sum()),
        sure_label_accuracy=ratio(float(refined_right[sure].mean(axis=1).sum()), int(sure.sum())),
        sure_exact_accuracy=ratio(int(refined_right[sure].all(axis=1).sum()), int(sure.sum())),
        other_given=int((truth_given != given).any(axis=1).sum()),
    )


def _finding(given: Flags, refined: Flags, true: Flags, quality: pl.Series) -> Finding:
    wrong = (given != true).any(axis=1)
    found = (refined != given).any(axis=1)
    hits = int((wrong & found).sum())
    doubt = 1 - quality.cast(pl.Float64).fill_null(np.nan).to_numpy()
    scored = np.isfinite(doubt)
    return Finding(
        wrong=int(wrong.sum()),
        found=int(found.sum()),
        precision=ratio(hits, int(found.sum())),
        recall=ratio(hits, int(wrong.sum())),
        auroc=auroc(wrong[scored], doubt[scored]),
        average_precision=average_precision(wrong[scored], doubt[scored]),
        unscored=int((~scored).sum()),
    )


def _in_order_of(labels: pl.DataFrame, truth: pl.DataFrame) -> pl.DataFrame:
    """The rows of `truth` in the order of `labels`, one for one."""
    keys = ((nfc(song), nfc(stem)) for song, stem in zip(labels["song"], labels["stem"], strict=True))
    rows_of_run = {key: row for row, key in enumerate(keys)}
    rows_of_truth: dict[int, int] = {}
    for truth_row, (song, stem) in enumerate(zip(truth["song"], truth["stem"], strict=True)):
        song, stem = nfc(song), nfc(stem)
        run_row = rows_of_run.get((song, stem), rows_of_run.get((song, f"{song}/{stem}")))
        if run_row is None:
            raise RunError(
                f"{song}: the run lacks the stem {stem!r} of the truth; "
                "score it with the truth table of its own dataset, or run `restem refine` again."
            )
        if run_row in rows_of_truth:
            raise DatasetError(f"{song}: the truth holds the stem {stem!r} twice; remove one of the rows.")
        rows_of_truth[run_row] = truth_row
    for run_row, (song, stem) in enumerate(rows_of_run):
        if run_row not in rows_of_truth:
            raise DatasetError(
                f"{song}: the truth lacks the stem {stem!r} of the run; "
                "add its row, or use the truth table of the run's dataset."
            )
    if not rows_of_truth:
        raise DatasetError("Nothing to score: neither the run nor the truth holds a stem.")
    return truth[[rows_of_truth[row] for row in range(len(labels))]]


def _flags(column: pl.Series, taxonomy: Taxonomy) -> Flags:
    """(stem, class): which classes each of the written label sets holds."""
    flags = [taxonomy.to_flags(taxonomy.parse(text or "")) for text in column]
    return np.array(flags, dtype=bool).reshape(len(column), len(taxonomy))
