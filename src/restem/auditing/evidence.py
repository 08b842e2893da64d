"""What a refinement of the same dataset adds to an audit: stems of no class, and copies that lie in different folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from restem.auditing.findings import Finding
from restem.dataset.table import Dataset
from restem.errors import RunError
from restem.runs.run import Run
from restem.verdicts import WITHOUT_SOUND

_MOST_SCORE = 0.25  # of any class in a stem that holds none: the evidence is three to one against each
_SHORTEST_S = 3.0  # of sound that can be judged: one segment of a classifier


def check_same(run: Run, dataset: Dataset) -> None:
    """Raises RunError unless the run is of stems of this dataset."""
    names = {stem.name for stem in dataset.stems}
    if run.dataset_root.resolve() != dataset.root.resolve() or not names.issuperset(run.labels["stem"]):
        raise RunError(f"{run.path}: is a run of {run.dataset_root}, and not of {dataset.root} as it is now.")


def of_no_class(run: Run, known: Sequence[Finding]) -> list[Finding]:
    """The stems that sound, and in which the classifiers heard none of the classes.

    known: what the audit found; a stem that it calls foreign is not named again.
    """
    named = {one.stem for one in known if one.kind == "foreign"}
    classes = list(run.taxonomy.classes)
    heard = run.found.filter(~pl.col("verdict").is_in(WITHOUT_SOUND), pl.col("active_seconds") >= _SHORTEST_S)
    found = []
    for row in heard.iter_rows(named=True):
        best = max(classes, key=lambda name: row[name])
        if row[best] <= _MOST_SCORE and row["stem"] not in named:
            message = f"none of the classes is heard in it: the highest score is {row[best]:.2f}, of {best}"
            found.append(Finding(row["song"], row["stem"], "foreign", float(row[best]), "1", message))
    return found


def across_folds(run: Run, findings: Sequence[Finding]) -> list[Finding]:
    """The findings, with duplicates between songs of different folds of the run as leaks."""
    folds = run.description.get("folds") or {}

    def leaked(one: Finding) -> Finding:
        pair = folds.get(one.song), folds.get(one.with_song)
        if one.kind != "duplicate" or None in pair or pair[0] == pair[1]:
            return one
        message = f"{one.message}; in another fold, so that it was scored by a classifier that was trained on its copy"
        return replace(one, kind="leak", message=message)

    return [leaked(one) for one in findings]
