"""Training examples: mixtures of stems with disjoint label sets, drawn during training.

An example is drawn from stems of all songs, each from a place of its own, that together cover every class; or it is
coherent: the stems of one song at one time, where those that share a class are summed. Either way an example consists
of groups with disjoint label sets, one sound per group, and the mixture is their sum. Where several classes go to one
output, as to the rest beside a target, the groups that share an output are summed, too.

Randomness is a function of (seed, epoch, index), through a counter-based generator (Philox; Salmon et al., "Parallel
random numbers: as easy as 1, 2, 3", SC 2011), whatever the batch of an example and the process that computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from restem.audio.level import db_to_power
from restem.audio.pcm import Pcm, PcmStore
from restem.errors import RestemError
from restem.separation.disjoint_sampler import DisjointSampler
from restem.separation.options import TrainOptions
from restem.separation.training_stems import GRID_S, Places, TrainingStem

# No place that is used at all is quite impossible.
_LEAST_WEIGHT = 1e-3

# The sum of n sources says little about each, so a set of n classes is drawn n to this power times as rarely as a set
# of one. On the first run of benchmarks/separation.py, 400 steps: 3.4 dB without, 3.8 dB with it.
_RARER_BY_SIZE = 2

_NO_LEVELS = np.zeros(0, np.float32)


@dataclass(frozen=True)
class RemixSettings:
    """How examples are drawn.

    coherent: the share of examples that come from one song at one time. gain_db: the largest random gain of a group, up
    or down. Polarity is inverted in half of the groups, and left and right are swapped in half of them. weigh: whether
    places are drawn as often as their label sets are likely to be right, instead of equally often.
    """

    coherent: float = TrainOptions.coherent
    gain_db: float = 6.0
    weigh: bool = TrainOptions.weigh


@dataclass(frozen=True, eq=False)
class Examples:
    """A batch of examples.

    groups: (example, slot, output) float32, 1 for the outputs of a group; unused slots are zero. Each output is in one
    group: an output that nothing was drawn for is a group of its own, which is silent.
    targets: (example, slot, channel, sample) float32, the sound of each group.
    """

    groups: np.ndarray
    targets: np.ndarray


class Remixer:
    """Draws examples of `segment_s` from the places of training stems.

    outputs: (class, output) flags, which output each class goes to; by default its own.
    Raises RestemError when there are no places.
    """

    def __init__(
        self,
        stems: Sequence[TrainingStem],
        places: Places,
        store: PcmStore,
        segment_s: float,
        settings: RemixSettings,
        seed: int,
        outputs: np.ndarray | None = None,
    ) -> None:
        if not len(places):
            raise RestemError("There is nothing to learn from: no stem with a label sounds anywhere.")
        self.places = places
        self.settings = settings
        self.seed = seed
        self.rate_hz = store.rate_hz
        self.channels = store.channels
        self.frames = max(1, round(segment_s * store.rate_hz))
        classes = places.labels.shape[1]
        self.outputs = np.eye(classes, dtype=bool) if outputs is None else outputs
        self._into = places.labels @ self.outputs  # (place, output)
        # Of many stems, the levels would take more memory than all else.
        self._pcm: list[Pcm] = [replace(store.require(stem.source), power=_NO_LEVELS) for stem in stems]
        # A candidate is a stem with a label set that it has in some of its places. Both are one number: the stem, then
        # a bit for each class.
        bits = 1 << np.arange(classes - 1, -1, -1, dtype=np.int64)
        keys = (places.stem.astype(np.int64) << classes) | places.labels @ bits
        candidates, candidate_of, counts = np.unique(keys, return_inverse=True, return_counts=True)
        self._by_candidate = np.argsort(candidate_of, kind="stable")
        self._first_of_candidate = np.concatenate(([0], np.cumsum(counts)))
        self._right = np.maximum(places.right, _LEAST_WEIGHT) if settings.weigh else None
        weights = np.bincount(candidate_of, self._right, minlength=len(candidates))
        # All stems have the same total weight; each of a stem's sets gets the share of its places that have the set.
        share = weights / np.bincount(places.stem)[candidates >> classes]
        sets = (candidates[:, None] & bits) != 0
        size = np.maximum(1, (sets @ self.outputs).sum(axis=1))
        self._sampler = DisjointSampler(sets, share / size**_RARER_BY_SIZE)
        # Places of one song at the same step of the grid are simultaneous.
        songs = {song: number for number, song in enumerate(dict.fromkeys(stem.song for stem in stems))}
        song = np.array([songs[stem.song] for stem in stems])[places.stem]
        keys = song * (int(places.step.max()) + 1) + places.step
        self._by_moment = np.argsort(keys, kind="stable")
        counts = np.unique(keys, return_counts=True)[1]
        self._first_of_moment = np.concatenate(([0], np.cumsum(counts)))
        self._moment = np.empty(len(keys), np.int32)
        self._moment[self._by_moment] = np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def places_per_output(self) -> list[float]:
        """How many places may hold something of each output."""
        return [float(count) for count in self._into.sum(axis=0)]

    def batch(self, epoch: int, first: int, count: int) -> Examples:
        """The examples `first` to `first + count` of an epoch."""
        outputs = self.outputs.shape[1]
        groups = np.zeros((count, outputs, outputs), np.float32)
        targets = np.zeros((count, outputs, self.channels, self.frames), np.float32)
        for row in range(count):
            self._draw(epoch, first + row, groups[row], targets[row])
        return Examples(groups, targets)

    def _draw(self, epoch: int, index: int, groups: np.ndarray, targets: np.ndarray) -> None:
        """Fills in one example. groups: (slot, output). targets: (slot, channel, sample)."""
        generator = np.random.Generator(np.random.Philox(key=[self.seed, epoch], counter=[0, 0, 0, index]))
        if generator.random() < self.settings.coherent:
            later = generator.random() * GRID_S
            drawn = [[(place, later) for place in group] for group in self._of_one_song(generator)]
        else:
            drawn = [
                [(self._place_of(one, generator), generator.random() * GRID_S)] for one in self._sampler.draw(generator)
            ]
        made: list[tuple[np.ndarray, np.ndarray]] = []
        for parts in drawn:
            into = self._into[[place for place, _ in parts]].any(axis=0)
            sound = self._sound(parts)
            gain_db = generator.uniform(-self.settings.gain_db, self.settings.gain_db)
            sign, swap = generator.choice([-1.0, 1.0]), generator.random() < 0.5
            sound *= np.float32(sign * np.sqrt(db_to_power(gain_db)))
            if swap:
                sound = sound[::-1]
            # What goes to the same output is one sound.
            for other in [one for one in made if (one[0] & into).any()]:
                made = [one for one in made if one is not other]
                into, sound = into | other[0], sound + other[1]
            made.append((into, sound))
        for slot, (into, sound) in enumerate(made):
            groups[slot], targets[slot] = into, sound
        silent = np.flatnonzero(groups.max(axis=0) == 0)
        groups[len(made) + np.arange(len(silent)), silent] = 1.0

    def _sound(self, parts: Sequence[tuple[int, float]]) -> np.ndarray:
        """(channel, sample) the sum of the stems at some places, each so many seconds later than its place."""
        sound = np.zeros((self.channels, self.frames), np.float32)
        for place, later in parts:
            start = round((self.places.step[place] * GRID_S + later) * self.rate_hz)
            sound += self._pcm[self.places.stem[place]].read(start, self.frames)
        return sound

    def _place_of(self, candidate: int, generator: np.random.Generator) -> int:
        """One of the places at which a stem has a label set."""
        first, last = self._first_of_candidate[candidate : candidate + 2]
        places = self._by_candidate[first:last]
        odds = self._right[places] if self._right is not None else None
        return int(generator.choice(places, p=odds if odds is None else odds / odds.sum()))

    def _of_one_song(self, generator: np.random.Generator) -> list[list[int]]:
        """The places of one song at one time, in groups whose label sets are disjoint."""
        moment = self._moment[generator.integers(len(self._moment))]
        first, last = self._first_of_moment[moment : moment + 2]
        groups: list[tuple[np.ndarray, list[int]]] = []
        for place in self._by_moment[first:last].tolist():
            labels, members = self.places.labels[place].copy(), [place]
            for other in [group for group in groups if (group[0] & labels).any()]:
                groups.remove(other)
                labels |= other[0]
                members += other[1]
            groups.append((labels, members))
        return [members for _, members in groups]
