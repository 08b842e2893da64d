"""Where in a song a class is: the stems of a song compete for it.

A song holds a class as often as not in exactly one stem, the one that is given it. Where none of those given the class
holds it, its source is probably in another stem of the song, and it can be in only one of them; where one does, it is
hardly ever anywhere else. That is a prior for the stems of a song together. For one class of a song, with `ratio` what
the score of a stem says, P(score | present) / P(score | absent):

    every stem given the class holds it with probability `held`
    another one holds it as well with probability
        `also`, if a stem given the class holds it,
        `moved`, if there are such stems but none holds it,
        `unclaimed`, if no stem of the song is given the class;
    which of the others it is, is equally likely; each of the rest may hold it, too, with the small probability
    `_SPREAD`.

The four rates are those under which the scores are likeliest, with weak priors (expectation-maximisation; Dempster,
Laird and Rubin 1977); those of one class are believed to be like those of the others. All sums have closed forms, so
the time is linear in the number of stems.

One thing ties the classes together: a stem that sounds holds something. It is a factor between the classes of a stem,
and is passed on as a message, in turns with the rest (belief propagation; Pearl 1988). The rates are those among stems
that sound, so the message is taken relative to the one that would be passed before anything is heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# What the rates are before anything is heard, in their order, as counts of yes and no over all classes; and how many
# stems or songs it is worth that the classes are alike. Mislabelling is the exception, and a class that is missed
# where it should be is somewhere else in its song.
_PRIORS = np.array([(100.0, 1.0), (0.5, 15.0), (10.0, 2.0), (5.0, 2.0)])
_ALIKE_WORTH = 100.0
_SPREAD = 0.01

# The probability that a stem that sounds holds none of the classes, before it is heard.
_NOTHING = 0.02
_STEPS = 4
_RATIO_RANGE = (1e-8, 1e8)


@dataclass(frozen=True)
class Rates:
    """How often a class is where; the names are those above."""

    held: float
    also: float
    moved: float
    unclaimed: float


@dataclass(frozen=True)
class Placed:
    """What the songs say.

    probabilities: (stem, class) P(present). apart: the same without the knowledge that the stem holds something, which
    makes the odds `message` (stem, class) times as high. rates: one a class.
    """

    probabilities: np.ndarray
    apart: np.ndarray
    message: np.ndarray
    rates: tuple[Rates, ...]

    def agreement(self, given: np.ndarray) -> np.ndarray:
        """P(a stem holds the classes it is given and no other), (stem,); 0 for one that is given none."""
        right = np.where(given, self.apart, 1.0 - self.apart).prod(axis=1)
        something = 1.0 - (1.0 - _NOTHING) * (1.0 - self.apart).prod(axis=1)
        return np.where(given.any(axis=1), np.minimum(1.0, right / something), 0.0)


def unplaced(given: np.ndarray) -> Placed:
    """Before anything is heard."""
    usual = Rates(*((_PRIORS[:, 0] + 1.0) / (_PRIORS.sum(axis=1) + 2.0)).tolist())
    nothing = np.full(given.shape, 0.5)
    return Placed(nothing, nothing, np.ones(given.shape), (usual,) * given.shape[1])


def place(ratios: np.ndarray, given: np.ndarray, songs: Sequence[str], placed: Placed) -> Placed:
    """Weighs scores, given labels and songs against each other.

    ratios: (stem, class) what each score says, P(score | present) / P(score | absent). given: (stem, class) flags.
    songs: the song of each stem. Only stems that sound. placed: what was found with other ratios, or `unplaced`; from
    there it goes some steps on.
    """
    ratios = np.clip(ratios, *_RATIO_RANGE)
    song = np.unique(np.asarray(songs, str), return_inverse=True)[1]
    labelled = given.any(axis=1, keepdims=True)
    for _ in range(_STEPS):
        unheard, _ = _place_classes(np.ones_like(ratios), given, song, placed.rates)
        probabilities, counts = _place_classes(ratios * placed.message, given, song, placed.rates)
        apart = _without(probabilities, placed.message)
        message = np.where(labelled, _something(apart) / _something(unheard), 1.0)
        placed = Placed(probabilities, apart, message, _fit_rates(counts))
    return placed


def _without(probabilities: np.ndarray, message: np.ndarray) -> np.ndarray:
    """Probabilities after the odds that a message added are taken out again."""
    odds = probabilities / (1.0 - probabilities) / message
    without: np.ndarray = odds / (1.0 + odds)
    return without


def _something(apart: np.ndarray) -> np.ndarray:
    """How much likelier a class is because its stem holds something, (stem, class), from P(present) without that."""
    absent = 1.0 - apart
    others = np.stack([np.delete(absent, index, axis=1).prod(axis=1) for index in range(absent.shape[1])], axis=1)
    likelier: np.ndarray = 1.0 / (1.0 - (1.0 - _NOTHING) * others)
    return likelier


def _place_classes(
    ratios: np.ndarray, given: np.ndarray, song: np.ndarray, rates: tuple[Rates, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """P(present), (stem, class), and the counts (class, rate, 2) of `_place_class`."""
    found = [_place_class(ratios[:, index], given[:, index], song, one) for index, one in enumerate(rates)]
    probabilities = np.clip(np.stack([one for one, _ in found], axis=1), 1e-9, 1.0 - 1e-9)
    return probabilities, np.stack([counts for _, counts in found])


def _fit_rates(counts: np.ndarray) -> tuple[Rates, ...]:
    """The rates of all classes from the counts (class, rate, 2) of yes and of all."""
    yes, out_of = counts[..., 0], counts[..., 1]
    alike = (yes.sum(axis=0) + _PRIORS[:, 0]) / (out_of.sum(axis=0) + _PRIORS.sum(axis=1))
    fitted = (yes + _ALIKE_WORTH * alike) / (out_of + _ALIKE_WORTH)
    return tuple(Rates(*row) for row in np.clip(fitted, 1e-4, 1.0 - 1e-4).tolist())


def _place_class(ratio: np.ndarray, given: np.ndarray, song: np.ndarray, rates: Rates) -> tuple[np.ndarray, np.ndarray]:
    """P(present) of one class, (stem,), and for each rate how often it came true, out of how many, (rate, 2)."""
    songs = int(song.max(initial=-1)) + 1

    def summed(values: np.ndarray) -> np.ndarray:
        """(song,) sums over stems (stem,)."""
        return np.bincount(song, values, songs)

    # Logarithms, since products over the many stems of a song leave the range of numbers.
    claimants, others = summed(given), summed(~given)
    if_held = 1.0 - rates.held + rates.held * ratio
    log_all = summed(given * np.log(if_held))
    log_none = claimants * np.log(1.0 - rates.held)
    with np.errstate(divide="ignore"):
        log_some = log_all + np.log(-np.expm1(np.minimum(log_none - log_all, -1e-12)))
    log_some[claimants == 0] = -np.inf

    # Among the others: what all scores say if the first one to hold it is drawn evenly.
    spread = 1.0 - _SPREAD + _SPREAD * ratio
    first = ~given * ratio / spread
    drawn = summed(first) / np.maximum(others, 1)
    log_elsewhere = summed(~given * np.log(spread)) + np.log(np.maximum(drawn, 1e-300))
    nowhere = others == 0

    def log_with(rate: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """The likelihood of the others under a rate, and the part of it in which one of them holds the class."""
        yes = np.where(nowhere, -np.inf, np.log(rate) + log_elsewhere)
        no = np.where(nowhere, 0.0, np.log1p(-np.asarray(rate)))
        return np.logaddexp(yes, no), yes

    also, also_yes = log_with(rates.also)
    missed, missed_yes = log_with(np.where(claimants > 0, rates.moved, rates.unclaimed))
    total = np.logaddexp(log_some + also, log_none + missed)
    some = np.exp(log_some + also - total)
    some_elsewhere = np.exp(log_some + also_yes - total)
    none_elsewhere = np.exp(log_none + missed_yes - total)

    held = rates.held * ratio / if_held * np.exp(log_all + also - total)[song]
    share = first / np.maximum(drawn * others, 1e-300)[song]
    moved = (some_elsewhere + none_elsewhere)[song] * (share + (1.0 - share) * _SPREAD * ratio / spread)
    probabilities = np.where(given, held, moved)

    claimed = claimants > 0
    counts = (
        (held[given].sum(), given.sum()),
        (some_elsewhere[~nowhere].sum(), some[~nowhere].sum()),
        (none_elsewhere[claimed & ~nowhere].sum(), (1.0 - some)[claimed & ~nowhere].sum()),
        (none_elsewhere[~claimed].sum(), (~claimed).sum()),
    )
    return probabilities, np.array(counts)
