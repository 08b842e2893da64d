"""Plans the errors of a corrupted dataset, before any audio is read.

The plan is a pure function of the dataset's stems, the kind, the rate and the seed. Each song draws from a generator of
its own, seeded with (seed, song), so adding a song changes no other one. Raising the rate keeps the errors of the lower
rate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from restem.dataset.table import Dataset, Stem
from restem.errors import DatasetError, UsageError
from restem.taxonomy import Taxonomy

Kind = Literal["regroup", "swap", "bleed", "partial"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# How long a source sounds in a stem that it does not belong to, kind `partial`.
STRETCH_S = (2.0, 6.0)


@dataclass(frozen=True)
class Stretch:
    """A stretch of a source, `length_s` long; `position`, in [0, 1), chooses among the places where it is active."""

    length_s: float
    position: float


@dataclass(frozen=True)
class Part:
    """A source within a stem: with a gain, and throughout or only for a stretch.

    counts: whether the stem's true label set holds the source's class (bleed is not a label).
    """

    source: Stem
    gain: float = 1.0
    counts: bool = True
    stretch: Stretch | None = None


@dataclass(frozen=True)
class NoisyStem:
    """A stem of the corrupted dataset: the file `<name>.<ext>` of `song`, the sum of its parts."""

    song: str
    name: str
    given: str
    parts: tuple[Part, ...]


def plan_noise(
    dataset: Dataset,
    kind: Kind,
    rate: float,
    seed: int,
    level_db: float = -20.0,
    among: Collection[str] | None = None,
) -> dict[str, tuple[NoisyStem, ...]]:
    """The corrupted stems of each song of `dataset`, songs in dataset order, stems by class.

    regroup: with probability `rate` a source moves into the stem of another class of its song, uniformly chosen. The
        sources of a stem are summed; a stem without sources is left out.
    swap: with probability `rate` a stem is given another class's label, uniformly chosen from the taxonomy. A second
        stem of a class in its song is called `<class>_2`; which of them is the second is random.
    bleed: every stem also holds the song's other stems, `level_db` relative to their own level; `rate` is ignored.
    partial: with probability `rate` a source also sounds in another stem of its song for 2 to 6 seconds.

    among: the classes to confuse, at least two, such as `bass` and `other`; all by default.
    Except for `swap`, a class of a song is one stem: several files of one class are several sources of it.
    Raises UsageError for a kind, rate, seed, level or classes out of range, and DatasetError for a stem whose label set
    is not one class: the truth is known only if every stem holds what its label says.
    """
    confused = _confused(dataset.taxonomy, among)
    planners: Mapping[str, Callable[[_Song], list[NoisyStem]]] = {
        "regroup": lambda song: _regroup(song, rate, confused),
        "swap": lambda song: _swap(song, rate, dataset.taxonomy.classes, confused),
        "bleed": lambda song: _bleed(song, 10.0 ** (level_db / 20.0), confused),
        "partial": lambda song: _partial(song, rate, confused),
    }
    if kind not in planners:
        raise UsageError(f"There is no kind of noise {kind!r}; use one of {', '.join(KINDS)}.")
    if not 0.0 <= rate <= 1.0:
        raise UsageError(f"The rate {rate} is not a probability; use one from 0 to 1.")
    if seed < 0:
        raise UsageError(f"The seed {seed} is negative; use 0 or more.")
    if not -200.0 <= level_db <= 0.0:
        raise UsageError(f"The level {level_db} dB cannot be used; use one from -200 to 0.")
    return {song.name: tuple(planners[kind](song)) for song in _songs(dataset, seed)}


@dataclass(frozen=True)
class _Song:
    """A song's sources by class, in taxonomy order, and its generator."""

    name: str
    sources: Mapping[str, tuple[Stem, ...]]
    rng: np.random.Generator

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.sources)

    def holding(self, classes: Sequence[str]) -> list[str]:
        """Those of `classes` that the song holds."""
        return [name for name in classes if name in self.sources]


def _songs(dataset: Dataset, seed: int) -> list[_Song]:
    grouped: dict[str, dict[str, list[Stem]]] = {}
    for stem in dataset.stems:
        if len(stem.given) != 1:
            labels = dataset.taxonomy.format(stem.given) or "nothing"
            raise DatasetError(
                f"{dataset.file(stem)}: is labelled {labels}; corrupting needs clean stems with one class each."
            )
        grouped.setdefault(stem.song, {}).setdefault(next(iter(stem.given)), []).append(stem)
    songs = []
    for name, by_class in grouped.items():
        words = np.frombuffer(hashlib.sha256(name.encode()).digest(), "<u4").tolist()
        sources = {c: tuple(by_class[c]) for c in dataset.taxonomy.classes if c in by_class}
        songs.append(_Song(name, sources, np.random.default_rng([seed, *words])))
    return songs


def _confused(taxonomy: Taxonomy, among: Collection[str] | None) -> tuple[str, ...]:
    """The classes to confuse, in taxonomy order."""
    if among is None:
        return taxonomy.classes
    if unknown := set(among).difference(taxonomy.classes):
        raise UsageError(f"There is no class {min(unknown)!r} to confuse; use some of {', '.join(taxonomy.classes)}.")
    if len(set(among)) < 2:
        raise UsageError("One class cannot be confused with itself; name at least two.")
    return tuple(name for name in taxonomy.classes if name in among)


def _draw_other(song: _Song, own: str, choices: Sequence[str], rate: float) -> str | None:
    """With probability `rate` another of `choices`, uniformly drawn, else None; None also if `own` is not among them.

    The number of random draws is the same in each case.
    """
    happens, pick = song.rng.random(2)
    others = [name for name in choices if name != own]
    return others[int(pick * len(others))] if happens < rate and others and own in choices else None


def _regroup(song: _Song, rate: float, confused: Sequence[str]) -> list[NoisyStem]:
    choices = song.holding(confused)
    parts: dict[str, list[Part]] = {name: [] for name in song.classes}
    for own, sources in song.sources.items():
        for source in sources:
            parts[_draw_other(song, own, choices, rate) or own].append(Part(source))
    return [NoisyStem(song.name, name, name, tuple(found)) for name, found in parts.items() if found]


def _swap(song: _Song, rate: float, classes: Sequence[str], confused: Sequence[str]) -> list[NoisyStem]:
    renamed: dict[str, list[Stem]] = {name: [] for name in classes}
    for own, sources in song.sources.items():
        for source in sources:
            renamed[_draw_other(song, own, confused, rate) or own].append(source)
    plan = []
    for given, sources_in in renamed.items():
        # In random order, or `_2` would reveal which one is wrong.
        for number, index in enumerate(song.rng.permutation(len(sources_in)), start=1):
            name = given if number == 1 else f"{given}_{number}"
            plan.append(NoisyStem(song.name, name, given, (Part(sources_in[index]),)))
    return plan


def _bleed(song: _Song, gain: float, confused: Sequence[str]) -> list[NoisyStem]:
    choices = song.holding(confused)
    plan = []
    for name, own in song.sources.items():
        heard = [other for other in choices if other != name and name in choices]
        others = [source for other in heard for source in song.sources[other]]
        parts = [*map(Part, own), *(Part(source, gain, counts=False) for source in others)]
        plan.append(NoisyStem(song.name, name, name, tuple(parts)))
    return plan


def _partial(song: _Song, rate: float, confused: Sequence[str]) -> list[NoisyStem]:
    choices = song.holding(confused)
    parts = {name: [Part(source) for source in sources] for name, sources in song.sources.items()}
    for own, sources in song.sources.items():
        for source in sources:
            other = _draw_other(song, own, choices, rate)
            stretch = Stretch(float(song.rng.uniform(*STRETCH_S)), float(song.rng.random()))
            if other is not None:
                parts[other].append(Part(source, stretch=stretch))
    return [NoisyStem(song.name, name, name, tuple(found)) for name, found in parts.items()]
