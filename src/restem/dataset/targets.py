"""Some classes against the rest: the targets of a separator, and one output for everything else.

What is known of the rest are the stems of all other classes, or a mixture of them, such as `instrumental.wav`
(`restem.dataset.reading.rests`). Such a mixture is used for songs that hold no other stem of what is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from restem.dataset.table import Dataset, Skipped, Stem
from restem.errors import UsageError
from restem.taxonomy import LabelSet, Taxonomy

REST = "rest"
"""The name of the output for all that is no target."""

# How the mixture of all but a single target is called in a folder of estimates, after the target's name.
_REST_OF_ANY = ("no {}", "without {}", "minus {}")
_REST_OF_VOCALS = ("instrumental", "instrumentals", "accompaniment")


def target_taxonomy(taxonomy: Taxonomy, targets: Sequence[str]) -> Taxonomy:
    """The classes `targets`, in this order, and `rest`. Raises UsageError for what cannot be targets."""
    if unknown := [name for name in targets if name not in taxonomy.classes]:
        raise UsageError(
            f"The target {unknown[0]!r} is no class of {','.join(taxonomy.classes)}; add it to `taxonomy`."
        )
    if REST in targets or len(set(targets)) < len(targets):
        raise UsageError(f"Each of the `target` classes is named once, and {REST!r} is what is left beside them.")
    if set(targets) == set(taxonomy.classes):
        raise UsageError(f"Beside {', '.join(targets)} there is no class for the rest; leave out `target`.")
    aliases = {alias: name for alias, name in taxonomy.aliases.items() if name in targets}
    if len(targets) == 1:
        names = [pattern.format(targets[0]) for pattern in _REST_OF_ANY]
        aliases |= dict.fromkeys([*names, *(_REST_OF_VOCALS if targets[0] == "vocals" else ())], REST)
    return Taxonomy((*targets, REST), aliases)


def outputs_of_classes(taxonomy: Taxonomy, targets: Sequence[str]) -> np.ndarray:
    """(class, output) flags: which output each class of `taxonomy` goes to; without targets its own."""
    if not targets:
        return np.eye(len(taxonomy), dtype=bool)
    outputs = target_taxonomy(taxonomy, targets).classes
    return np.array([[output == _output(name, targets) for output in outputs] for name in taxonomy.classes])


def with_rests(dataset: Dataset) -> Dataset:
    """The dataset with the mixtures of all classes but one as stems, for songs without other stems of these classes."""
    by_song: dict[str, list[Stem]] = {}
    for stem in dataset.stems:
        by_song.setdefault(stem.song, []).append(stem)
    taken: list[Skipped] = []
    for item in dataset.skipped:
        if item.stem is not None and not any(stem.given & item.stem.given for stem in by_song.get(item.stem.song, [])):
            by_song.setdefault(item.stem.song, []).append(item.stem)
            taken.append(item)
    if not taken:
        return dataset
    gone = {item.path for item in taken}
    left = tuple(item for item in dataset.skipped if item.path not in gone)
    return replace(dataset, stems=tuple(stem for stems in by_song.values() for stem in stems), skipped=left)


def with_targets(dataset: Dataset, targets: Sequence[str]) -> Dataset:
    """The dataset with the classes `targets` and `rest`, mixtures of the rest included; see `target_taxonomy`."""
    outputs = target_taxonomy(dataset.taxonomy, targets)
    whole = with_rests(dataset)
    labels = {stem.name: _outputs(stem.given, targets) for stem in whole.stems if not stem.unknown}
    return replace(whole.with_labels(labels), taxonomy=outputs)


def _output(name: str, targets: Sequence[str]) -> str:
    return name if name in targets else REST


def _outputs(labels: LabelSet, targets: Sequence[str]) -> LabelSet:
    return frozenset(_output(name, targets) for name in labels)
