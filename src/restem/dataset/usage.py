"""What of a dataset is used and what is left out, for people, and the check that mixtures are whole.

A file that is no stem because its name is of no class still sounds in its song. Without it, what restem takes for the
mixture of the song is another one, and what is trained or measured on it means something else.
"""

from __future__ import annotations

from collections import Counter

from restem.dataset.table import Dataset, Skipped
from restem.errors import DatasetError
from restem.wording import counted, printable

SHOWN_REASONS = 8  # that a command names one by one


def usage_lines(dataset: Dataset) -> list[str]:
    """What every command says about the dataset that it opens: stems by class, and files left out by reason."""
    stems = [f"{count} {name}" for name, count in stems_per_class(dataset).items() if count]
    if unlabelled := sum(not stem.given for stem in dataset.stems):
        stems.append(f"{unlabelled} without a label")
    songs = f"{counted(len(dataset.songs), 'song')}, {counted(len(dataset), 'stem')}"
    lines = [f"{printable(str(dataset.root))}: layout {dataset.layout}, {songs} ({', '.join(stems)})."]
    example = {item.reason: item.path for item in reversed(dataset.skipped)}
    reasons = left_out(dataset)
    for reason, count in list(reasons.items())[:SHOWN_REASONS]:
        lines.append(f"Left out: {counted(count, 'file')}, as {printable(example[reason])}: {printable(reason)}.")
    if rest := sum(list(reasons.values())[SHOWN_REASONS:]):
        lines.append(f"Left out: {counted(rest, 'file')} for other reasons; `restem scan` lists them.")
    return lines


def classes_without_stems(dataset: Dataset) -> list[str]:
    """The classes of which no stem is labelled, in taxonomy order."""
    return [name for name, count in stems_per_class(dataset).items() if not count]


def stems_per_class(dataset: Dataset) -> dict[str, int]:
    """For each class, how many stems' given labels hold it."""
    counts = Counter(name for stem in dataset.stems for name in stem.given)
    return {name: counts[name] for name in dataset.taxonomy.classes}


def left_out(dataset: Dataset) -> dict[str, int]:
    """For each reason, how many files are not stems: what may be a mistake first, then the most frequent first."""
    counts = Counter(item.reason for item in dataset.skipped)
    rank = {item.reason: _rank(item) for item in dataset.skipped}
    return dict(sorted(counts.items(), key=lambda pair: (rank[pair[0]], -pair[1])))


def problems_first(dataset: Dataset) -> list[Skipped]:
    """The skipped files: what may be a mistake first, then what is not audio, then mixtures and hidden files."""
    return sorted(dataset.skipped, key=_rank)


def _rank(item: Skipped) -> int:
    if item.expected or item.reason.startswith("of the split"):
        return 2
    return int(item.reason.startswith("not audio"))


def check_mixtures(dataset: Dataset, only: bool) -> None:
    """Raises DatasetError when files of no class are left out of the songs' mixtures, unless `only` asks for that."""
    unclassed = [item for item in dataset.skipped if item.unclassed]
    if unclassed and not only:
        raise DatasetError(missing_sound(str(dataset.root), len(unclassed), f" (the first: {unclassed[0].path!r})"))


def missing_sound(place: str, count: int, example: str = "") -> str:
    """The message about `count` files that the mixtures of a dataset lack. example: names one of them."""
    return (
        f"{place}: {counted(count, 'file')} of other classes would be missing in the mixtures{example}.\n"
        "Name all classes with `taxonomy`, or leave the others out on purpose with `only=True`."
    )
