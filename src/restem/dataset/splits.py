"""The parts of a dataset: `train`, `valid`, `test`, and what belongs to none of them.

A dataset names them by folders, which are not part of a song's name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def take_split(folders: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The split that the first folder of such a name states, and the other folders.

    >>> take_split(("slakh2100", "Validation", "Track1"))
    ('valid', ('slakh2100', 'Track1'))
    """
    for index, folder in enumerate(folders):
        if split := FOLDERS.get(folder.strip().lower()):
            return split, (*folders[:index], *folders[index + 1 :])
    return "", tuple(folders)
