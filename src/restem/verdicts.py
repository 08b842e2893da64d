"""The verdicts on a stem's labels, with the wording of what each means, which is used everywhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Verdict = Literal["kept", "changed", "unsure", "silent", "failed"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

SURE: tuple[Verdict, ...] = ("kept", "changed")
"""The verdicts with which a stem's refined labels are trusted."""

WITHOUT_SOUND: tuple[Verdict, ...] = ("silent", "failed")
"""The verdicts of stems without usable sound."""


def count_verdicts(verdicts: Iterable[str]) -> dict[Verdict, int]:
    """How many there are of each verdict, all five in their fixed order."""
    counts = Counter(verdicts)
    return {name: counts[name] for name in VERDICTS}


@dataclass(frozen=True)
class Meaning:
    """The meaning of a verdict. short: a few words, for tables. full: one or two sentences, for help and tooltips."""

    short: str
    full: str


MEANINGS: Mapping[Verdict, Meaning] = {
    "kept": Meaning("given labels fit", "The given labels stand."),
    "changed": Meaning(
        "other labels found",
        "Other labels were found, or decided by a person, and are clear enough to replace the given ones.",
    ),
    "unsure": Meaning(
        "left as given; listen",
        "There is evidence against the given labels, but not enough to change them: they stand. Listen to the stem.",
    ),
    "silent": Meaning("nothing to hear", "There is nothing to hear in the stem; the refined label set is empty."),
    "failed": Meaning("could not be read", "The file cannot be decoded; its labels stand."),
}
