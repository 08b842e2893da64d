"""The parts of a dataset: `train`, `valid`, `test`, and what belongs to none of them.

A dataset names them by folders, which are not part of a song's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from restem.dataset.table import Dataset, Stem
from restem.errors import UsageError

TRAIN, VALID, TEST, OMITTED = "train", "valid", "test", "omitted"

NOT_LEARNED = (TEST, OMITTED)
"""What is left out of refinements and trainings unless it is asked for; `omitted` holds Slakh2100's duplicates."""

FOLDERS: Mapping[str, str] = {
    "train": TRAIN,
    "training": TRAIN,
    "valid": VALID,
    "validation": VALID,
    "val": VALID,
    "dev": VALID,
    "test": TEST,
    "testing": TEST,
    "omitted": OMITTED,
}


ALL, WITHOUT = "all", "none"
"""What may be asked for besides names of splits: all songs; those that have no split."""

Purpose = Literal["learn", "evaluate"]


def choose_splits(dataset: Dataset, wanted: Sequence[str] | None, purpose: Purpose) -> Dataset:
    """The part of `dataset` for a purpose; the stems of the other splits are skipped, with that reason.

    wanted: names of splits, `all`, or `none` for songs without a split; by default all but `test` and `omitted` to
    learn from, and `test` to evaluate on, if there is such a split.
    Raises UsageError for a split that the dataset does not have, and when none is left.
    """
    present = {stem.split for stem in dataset.stems}
    if wanted is None:
        kept = present - {*NOT_LEARNED}
        if purpose == "evaluate":
            kept = {TEST} & present or present - {OMITTED}
    elif ALL in wanted:
        kept = present
    else:
        kept = {"" if name == WITHOUT else FOLDERS.get(name.lower(), name) for name in wanted}
    there = ", ".join(sorted(name or WITHOUT for name in present))
    if not kept:
        raise UsageError(f"{dataset.root}: all songs are of the split {there}; choose it with `splits` to use it.")
    if missing := kept - present:
        names = ", ".join(sorted(name or WITHOUT for name in missing))
        raise UsageError(f"{dataset.root}: no song is of the split {names}; the splits that songs have: {there}.")
    return dataset.in_splits(kept)


def with_development_set(stems: Sequence[Stem]) -> list[Stem]:
    """The stems; `dev` beside `test`, without `train`, is what is learned from, as in DSD100."""
    no_train = {stem.split for stem in stems} == {VALID, TEST}
    development = {stem.path for stem in stems if "dev" in stem.path.lower().split("/")[:-1]} if no_train else set()
    return [replace(stem, split=TRAIN) if stem.path in development else stem for stem in stems]


def take_split(folders: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The split that the first folder of such a name states, and the other folders.

    >>> take_split(("slakh2100", "Validation", "Track1"))
    ('valid', ('slakh2100', 'Track1'))
    """
    for index, folder in enumerate(folders):
        if split := FOLDERS.get(folder.strip().lower()):
            return split, (*folders[:index], *folders[index + 1 :])
    return "", tuple(folders)
