"""Published errors of public datasets: what is known to be wrong with which stem, and where that was published.

`errata.csv` holds the facts, one row each:

    dataset,song,stem     where; `*` for the whole dataset. `stem` is the file's name without its extension
    kind                  `label`: the given class is wrong, and `labels` is the right label set, in the four classes;
                          `bleed`, `quality`, `content`: something else is, see `note`
    certain               `yes`, or `no` where the source only supposes it
    time,note,source      when in the song; what was reported, in short; where
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from restem.dataset.known_songs import letters
from restem.dataset.layouts import opened_dataset
from restem.dataset.stems_csv import write_table
from restem.dataset.table import Dataset, Stem
from restem.errors import DatasetError
from restem.taxonomy import LabelSet, Taxonomy

if TYPE_CHECKING:
    import polars as pl

WHOLE = "*"
FOUR = Taxonomy()  # the classes of the errata
# Layouts in which a dataset unpacks; what is said about a whole dataset, or a song with a plain number, needs them.
_LAYOUTS: Mapping[str, str] = {"Slakh2100": "slakh", "MoisesDB": "moisesdb", "MedleyDB": "medleydb"}


@dataclass(frozen=True)
class Erratum:
    """A published error.

    Attributes
    ----------
    dataset, song, stem
        Where; `*` for all.
    kind
        `label`, `bleed`, `quality` or `content`.
    labels
        For `label`, the classes that are really there.
    certain
        Whether the source states it, and does not only suppose it.
    time
        When in the song, if that was reported.
    note, source
        What was reported, and where.
    """

    dataset: str
    song: str
    stem: str
    kind: str
    labels: LabelSet
    certain: bool
    time: str
    note: str
    source: str


@cache
def published_errata() -> tuple[Erratum, ...]:
    """All errata that are known."""
    text = files("restem.dataset").joinpath("errata.csv").read_text(encoding="utf-8")
    return tuple(
        Erratum(
            row["dataset"], row["song"], row["stem"], row["kind"], frozenset(filter(None, row["labels"].split("+"))),
            row["certain"] == "yes", row["time"], row["note"], row["source"],
        )
        for row in csv.DictReader(text.splitlines())
    )  # fmt: skip


def errata_of(dataset: Dataset) -> list[tuple[Erratum, Stem | None]]:
    """The errata of the stems that a dataset has, each with its stem; None for what is said about all of it."""
    by_name: dict[tuple[str, str], Stem] = {}
    for stem in dataset.stems:
        song = letters(stem.song.rpartition("/")[2])
        for name in (PurePosixPath(stem.path).stem, stem.instrument):
            by_name.setdefault((song, name), stem)
    found: list[tuple[Erratum, Stem | None]] = []
    for erratum in published_errata():
        layout = _LAYOUTS.get(erratum.dataset)
        if erratum.song == WHOLE:
            found += [(erratum, None)] if layout == dataset.layout else []
        elif layout in (None, dataset.layout) and (letters(erratum.song), erratum.stem) in by_name:
            found.append((erratum, by_name[letters(erratum.song), erratum.stem]))
    return found


def errata(dataset: Dataset | Path | str) -> pl.DataFrame:
    """The published errors of the stems that a dataset has.

    Parameters
    ----------
    dataset
        A dataset, or its path.

    Returns
    -------
    polars.DataFrame
        One row per erratum: `dataset,song,stem,kind,labels,certain,time,note,source`. `stem` is that of the dataset,
        or `*` for what is said about all of it. `kind` is `label` where the class is wrong; `labels` is the right label
        set then. `certain` is false where the source only supposes it.

    Raises
    ------
    DatasetError
        When there is no dataset at the path.

    Examples
    --------
    >>> restem.errata("my-stems").shape
    (0, 9)
    """
    import polars as pl

    dataset = opened_dataset(dataset)
    rows = [
        {
            "dataset": one.dataset, "song": stem.song if stem else WHOLE, "stem": stem.name if stem else WHOLE,
            "kind": one.kind, "labels": FOUR.format(one.labels), "certain": one.certain, "time": one.time,
            "note": one.note, "source": one.source,
        }
        for one, stem in errata_of(dataset)
    ]  # fmt: skip
    schema = dict.fromkeys(
        ("dataset", "song", "stem", "kind", "labels", "certain", "time", "note", "source"), pl.String
    )
    return pl.DataFrame(rows, schema={**schema, "certain": pl.Boolean})


def label_errors(dataset: Dataset) -> dict[str, LabelSet]:
    """Stem name -> right label set, of the errata about labels that are certain.

    Raises DatasetError when the classes of `dataset` are not those of the errata.
    """
    found = errata_of(dataset)
    labels = {stem.name: one.labels for one, stem in found if stem and one.kind == "label" and one.certain}
    if labels and set(dataset.taxonomy.classes) != set(FOUR.classes):
        four = ",".join(FOUR.classes)
        raise DatasetError(f"{dataset.root}: right labels are known in the classes {four} only; leave out `taxonomy`.")
    return labels


def write_corrected(dataset: Dataset, path: Path) -> int:
    """Writes a table of all stems, with right labels where they are known, to `path`; returns how many were wrong.

    `open_dataset(..., metadata=path)` reads it. Raises DatasetError when `path` lies in the dataset, or as
    `label_errors`.
    """
    dataset.check_outside(path)
    labels = label_errors(dataset)
    write_table(path, dataset.with_labels(labels))
    return len(labels)
