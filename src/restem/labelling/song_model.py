"""Which stems of a song hold a class: a prior for the stems of a song together, and the posterior given their scores.

A song holds a class as often as not in exactly one stem, the one that is given it. Where none of the stems given the
class holds it, its source is probably in another stem of the song, and in only one of them; where one of them does, the
class is hardly ever anywhere else. For one class of a song, with `ratio` the likelihood ratio of each stem's score,
P(score | present) / P(score | absent):

    every stem given the class holds it with probability `held`
    another one holds it as well with probability
        `also`, if a stem given the class holds it,
        `moved`, if there are such stems but none holds it,
        `unclaimed`, if no stem of the song is given the class;
    which of the others it is, is equally likely; each of the rest holds it, too, with the small probability `further`.

The four rates are estimated on the dataset, with weak priors (expectation-maximisation; Dempster, Laird and Rubin
1977); those of one class are believed to be like those of the others. All sums have closed forms, so the time is linear
in the number of stems.

One thing ties the classes together: a stem that sounds holds something. It is a factor between the classes of a stem,
and is passed on as a message, in turns with the rest (belief propagation; Pearl 1988). The rates are those among stems
that sound, so the message is taken relative to the one that would be passed before any score is seen.

Priors and the number of turns are in `DecisionSettings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from restem.labelling.decision_settings import DecisionSettings


@dataclass(frozen=True)
class Rates:
    """How often stems hold a class, by what the song is given; the names are those above."""

    held: float
    also: float
    moved: float
    unclaimed: float


@dataclass(frozen=True, eq=False)
class SongPosterior:
    """What is believed of every stem.

    probabilities: (stem, class) P(present). apart: the same without the knowledge that the stem holds something, which
    makes the odds `message` (stem, class) times as high. rates: one per class.
    """

    probabilities: np.ndarray
    apart: np.ndarray
    message: np.ndarray
    rates: tuple[Rates, ...]


def initial_posterior(given: np.ndarray, settings: DecisionSettings) -> SongPosterior:
    """Before any score is seen. given: (stem, class) flags."""
    counts = _prior_counts(settings)
    usual = Rates(*((counts[:, 0] + 1.0) / (counts.sum(axis=1) + 2.0)).tolist())
    even = np.full(given.shape, 0.5)
    return SongPosterior(even, even, np.ones(given.shape), (usual,) * given.shape[1])


def update_posterior(
    ratios: np.ndarray, given: np.ndarray, songs: Sequence[str], posterior: SongPosterior, settings: DecisionSettings
) -> SongPosterior:
    """Weighs scores, given labels and songs against each other; only stems that sound.

    Parameters
    ----------
    ratios
        (stem, class), what each score says: P(score | present) / P(score | absent).
    given
        (stem, class) flags.
    songs
        The song of each stem.
    posterior
        What was found with other ratios, or `initial_posterior`; from there it takes `settings.messages` turns.
    """
    ratios = np.clip(ratios, 1.0 / settings.largest_ratio, settings.largest_ratio)
    song = np.unique(np.asarray(songs, str), return_inverse=True)[1]
    labelled = given.any(axis=1, keepdims=True)
    for _ in range(settings.messages):
        unseen, _ = _classes_posterior(np.ones_like(ratios), given, song, posterior.rates, settings)
        probabilities, counts = _classes_posterior(ratios * posterior.message, given, song, posterior.rates, settings)
        apart = _without(probabilities, posterior.message)
        nothing = settings.nothing
        message = np.where(labelled, _something(apart, nothing) / _something(unseen, nothing), 1.0)
        posterior = SongPosterior(probabilities, apart, message, _fit_rates(counts, settings))
    return posterior


def _prior_counts(settings: DecisionSettings) -> np.ndarray:
    """(rate, 2) imagined counts of yes and no, in the order of `Rates`."""
    return np.array([settings.held, settings.also, settings.moved, settings.unclaimed])


def _without(probabilities: np.ndarray, message: np.ndarray) -> np.ndarray:
    """Probabilities after the odds that a message added are taken out again."""
    odds = probabilities / (1.0 - probabilities) / message
    return odds / (1.0 + odds)


def _something(apart: np.ndarray, nothing: float) -> np.ndarray:
    """How much likelier a class is because its stem holds something, (stem, class), from P(present) without that."""
    absent = 1.0 - apart
    others = np.stack([np.delete(absent, index, axis=1).prod(axis=1) for index in range(absent.shape[1])], axis=1)
    return 1.0 / (1.0 - (1.0 - nothing) * others)


def _classes_posterior(
    ratios: np.ndarray, given: np.ndarray, song: np.ndarray, rates: tuple[Rates, ...], settings: DecisionSettings
) -> tuple[np.ndarray, np.ndarray]:
    """P(present), (stem, class), and the counts (class, rate, 2) of `_class_posterior`."""
    found = [
        _class_posterior(ratios[:, index], given[:, index], song, one, settings.further)
        for index, one in enumerate(rates)
    ]
    probabilities = np.clip(np.stack([one for one, _ in found], axis=1), 1e-9, 1.0 - 1e-9)
    return probabilities, np.stack([counts for _, counts in found])


def _fit_rates(counts: np.ndarray, settings: DecisionSettings) -> tuple[Rates, ...]:
    """The rates of all classes from the counts (class, rate, 2) of yes and of all."""
    yes, out_of = counts[..., 0], counts[..., 1]
    prior = _prior_counts(settings)
    alike = (yes.sum(axis=0) + prior[:, 0]) / (out_of.sum(axis=0) + prior.sum(axis=1))
    fitted = (yes + settings.rates_alike * alike) / (out_of + settings.rates_alike)
    return tuple(Rates(*row) for row in np.clip(fitted, 1e-4, 1.0 - 1e-4).tolist())


def _class_posterior(
    ratio: np.ndarray, given: np.ndarray, song: np.ndarray, rates: Rates, further: float
) -> tuple[np.ndarray, np.ndarray]:
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
    spread = 1.0 - further + further * ratio
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
    moved = (some_elsewhere + none_elsewhere)[song] * (share + (1.0 - share) * further * ratio / spread)
    probabilities = np.where(given, held, moved)

    claimed = claimants > 0
    counts = (
        (held[given].sum(), given.sum()),
        (some_elsewhere[~nowhere].sum(), some[~nowhere].sum()),
        (none_elsewhere[claimed & ~nowhere].sum(), (1.0 - some)[claimed & ~nowhere].sum()),
        (none_elsewhere[~claimed].sum(), (~claimed).sum()),
    )
    return probabilities, np.array(counts)
