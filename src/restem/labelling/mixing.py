"""Training mixtures, added up in mel power.

Every example draws one to four different classes, a stem that carries each, and an active segment of it; levels,
equaliser curves and band limits are multiplications of mel power, and the mixture is a sum. The target is the union
of the segments' labels. Nothing is decoded and no spectrum is computed while training.

Randomness is a function of (seed, epoch, index): example `index` reads its own stretch of a counter-based generator
(Philox; Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), whatever the batch it is in and
whoever computes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restem.audio.level import db_to_power
from restem.audio.mel import MelSettings
from restem.audio.store import StoredStems, gather_power
from restem.audio.stored import Rows
from restem.errors import RestemError
from restem.labelling.augmentation import DRAWS, EffectSettings, apply_effects


@dataclass(frozen=True)
class MixingSettings:
    """What mixtures are like. Ranges are those of uniform distributions; levels in dB.

    counts: how often an example draws one class, two, three, ...
    level_range_db: a segment's level below the loudest possible one.
    curve_db: the largest boost and cut of the random equaliser curve, at `curve_knots` points over the mel bands.
    limit_share: how often a segment is low-passed, somewhere in the upper part of the bands.
    noise_db: the range of a flat noise floor, relative to the loudest segment possible.
    effects: what segments go through besides; only the pretrained classifier was made with them, since refinements gain
    nothing from them (`benchmarks/ablations.py`).
    drawn: only the first so many classes are drawn, where the others are kinds of these.
    """

    segment_s: float = 3.0
    counts: tuple[float, ...] = (0.4, 0.3, 0.2, 0.1)
    level_range_db: float = 20.0
    curve_db: float = 8.0
    curve_knots: int = 5
    limit_share: float = 0.15
    noise_db: tuple[float, float] = (-100.0, -50.0)
    effects: EffectSettings | None = None
    drawn: int | None = None


@dataclass(frozen=True)
class SegmentPool:
    """The segments that mixtures are made of.

    stems: their features. gains: (stem,) what brings each one's active power to 1.
    stem, start: (segment,) index into `stems`, and first frame.
    targets: (segment, class) float32 in [0, 1]: how sure it is that a class is present.
    """

    stems: StoredStems
    gains: np.ndarray
    stem: np.ndarray
    start: np.ndarray
    targets: np.ndarray

    def of_stems(self, chosen: np.ndarray) -> SegmentPool:
        """The part that belongs to the stems that the flags `chosen` (stem,) mark."""
        number = np.cumsum(chosen, dtype=np.int32) - 1
        mine = chosen[self.stem]
        return SegmentPool(
            self.stems.of(chosen), self.gains[chosen], number[self.stem[mine]], self.start[mine], self.targets[mine]
        )

    def at_most(self, stems: int, seed: Sequence[int]) -> SegmentPool:
        """The part that belongs to so many stems, drawn at random; all of it, if there are not more."""
        there = np.unique(self.stem)
        if len(there) <= stems:
            return self
        chosen = np.zeros(len(self.stems), bool)
        chosen[np.random.default_rng(seed).choice(there, stems, replace=False)] = True
        return self.of_stems(chosen)


class Mixer:
    """Draws batches of mixtures from `pool`.

    rows: the features of each of its stems, on the grid `mel`. A class that no segment carries is
    never drawn.
    """

    def __init__(
        self,
        pool: SegmentPool,
        rows: Sequence[Rows] | StoredStems,
        settings: MixingSettings,
        mel: MelSettings,
        seed: int,
    ) -> None:
        self.pool = pool
        self.rows = rows
        self.settings = settings
        self.length = mel.frames_in(settings.segment_s)
        self.hop_s = mel.hop_s
        self.seed = seed
        self.bands = rows[0].shape[1]
        stems = len(rows)
        # For every class: the stems that carry it, and for each of these its segments that do.
        self._by_class: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for targets in pool.targets.T[: settings.drawn]:
            segments = np.flatnonzero(targets >= 0.5)
            segments = segments[np.argsort(pool.stem[segments], kind="stable")]
            counts = np.bincount(pool.stem[segments], minlength=stems)
            carriers = np.flatnonzero(counts)
            if len(carriers):
                offsets = np.concatenate(([0], np.cumsum(counts)))[carriers]
                self._by_class.append((segments, offsets, counts[carriers]))
        if not self._by_class:
            raise RestemError("No segment carries a class with a probability of 0.5 or more; nothing can be mixed.")
        self._slots = min(len(self._by_class), len(settings.counts))
        shares = np.asarray(settings.counts[: self._slots], np.float64)
        self._count_edges = np.cumsum(shares / shares.sum())
        # Uniform numbers an example uses: per slot a stem, a segment, a level, the limit's chance and place, a curve,
        # and the effects.
        self._curve_ends = 5 + settings.curve_knots
        self._per_slot = self._curve_ends + (DRAWS if settings.effects else 0)
        used = 2 + len(self._by_class) + self._slots * self._per_slot
        self._draws = -(-used // 4) * 4
        knots = np.linspace(0, settings.curve_knots - 1, self.bands)
        lower = np.minimum(knots.astype(np.int64), settings.curve_knots - 2)
        self._interpolation = np.zeros((settings.curve_knots, self.bands), np.float32)
        self._interpolation[lower, np.arange(self.bands)] = 1.0 - (knots - lower)
        self._interpolation[lower + 1, np.arange(self.bands)] += knots - lower

    def uniforms(self, epoch: int, first: int, count: int) -> np.ndarray:
        """(count, draw) numbers in [0, 1) for the examples `first` to `first + count` of an epoch."""
        # Each step of Philox's counter gives four numbers.
        generator = np.random.Philox(key=[self.seed, epoch], counter=[first * self._draws // 4, 0, 0, 0])
        return np.random.Generator(generator).random((count, self._draws))

    def batch(self, epoch: int, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The examples `first` to `first + count` of an epoch.

        Returns mel power (example, frame, band) and targets (example, class), float32.
        """
        numbers = self.uniforms(epoch, first, count)
        settings, pool = self.settings, self.pool
        sizes = 1 + np.minimum(np.searchsorted(self._count_edges, numbers[:, 0], "right"), self._slots - 1)
        order = np.argsort(numbers[:, 2 : 2 + len(self._by_class)], axis=1)
        example, slot = np.nonzero(np.arange(self._slots) < sizes[:, None])
        per_slot = numbers[:, 2 + len(self._by_class) :]
        per_slot = per_slot[:, : self._slots * self._per_slot].reshape(count, self._slots, self._per_slot)
        drawn = per_slot[example, slot]
        segment = self._draw_segments(order[example, slot], drawn[:, 0], drawn[:, 1])

        power = gather_power(self.rows, pool.stem[segment], pool.start[segment], self.length)
        if settings.effects:
            power = apply_effects(power, drawn[:, self._curve_ends :], settings.effects, self.hop_s)
        gain = pool.gains[pool.stem[segment]] * db_to_power(-settings.level_range_db * drawn[:, 2])
        curve = ((2.0 * drawn[:, 5 : self._curve_ends] - 1.0) * settings.curve_db) @ self._interpolation
        factors = (gain[:, None] * db_to_power(curve)).astype(np.float32)
        limited = drawn[:, 3] < settings.limit_share
        highest = np.where(limited, (0.4 + 0.55 * drawn[:, 4]) * self.bands, self.bands)
        factors *= np.where(np.arange(self.bands) < highest[:, None], 1.0, 1e-6).astype(np.float32)
        power *= factors[:, None, :]
        firsts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
        mixtures = np.add.reduceat(power, firsts, axis=0)
        low_db, high_db = settings.noise_db
        floor = db_to_power(low_db + (high_db - low_db) * numbers[:, 1]) / self.bands
        mixtures += floor.astype(np.float32)[:, None, None]
        # A class is absent from the mixture only if it is absent from every segment.
        targets = 1.0 - np.multiply.reduceat(1.0 - pool.targets[segment], firsts, axis=0)
        return mixtures, targets.astype(np.float32)

    def _draw_segments(self, which: np.ndarray, stem_draw: np.ndarray, segment_draw: np.ndarray) -> np.ndarray:
        """For each drawn class a segment: all stems that carry it are equally likely, and all segments of a stem."""
        chosen = np.zeros(len(which), np.int64)
        for position, (segments, offsets, counts) in enumerate(self._by_class):
            mine = which == position
            carrier = (stem_draw[mine] * len(offsets)).astype(np.int64)
            within = (segment_draw[mine] * counts[carrier]).astype(np.int64)
            chosen[mine] = segments[offsets[carrier] + within]
        return chosen
