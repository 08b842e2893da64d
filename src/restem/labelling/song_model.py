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

The rates are estimated on the dataset, with weak priors (expectation-maximisation; Dempster, Laird and Rubin 1977);
those of one class are believed to be like those of the others. How often labels are right, `held`, is another matter: a
few songs with weak scores do not tell, and to believe firmly in one rate is wrong in either direction. So it is given
as a hypothesis, `usual_held`, from which the rate of each class may differ a little; `deciding` averages over several.
All sums have closed forms, so the time is linear in the number of stems.

A stem whose given set is unknown says nothing about the rest of its song, nor the song about it: it holds each class as
often as the stems with unknown sets do, at first as often as the others are given it (`posterior_alone`).

One thing ties the classes together: a stem that sounds holds something. It is a factor between the classes of a stem,
and is passed on as a message, in turns with the rest (belief propagation; Pearl 1988). The rates are those among stems
that sound, so the message is taken relative to the one that would be passed before any score is seen.

Priors are in `DecisionSettings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from scipy.sparse import csr_array

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
    makes the odds `message` (stem, class) times as high. rates: one per class. usual_held: the hypothesis.
    """

    probabilities: np.ndarray
    apart: np.ndarray
    message: np.ndarray
    rates: tuple[Rates, ...]
    usual_held: float


def initial_posterior(given: np.ndarray, settings: DecisionSettings, usual_held: float) -> SongPosterior:
    """Before any score is seen. given: (stem, class) flags."""
    counts = _prior_counts(settings)
    usual = Rates(usual_held, *((counts[:, 0] + 1.0) / (counts.sum(axis=1) + 2.0)).tolist())
    even = np.full(given.shape, 0.5)
    return SongPosterior(even, even, np.ones(given.shape), (usual,) * given.shape[1], usual_held)


def update_posterior(
    ratios: np.ndarray,
    given: np.ndarray,
    songs: Sequence[str] | np.ndarray,
    posterior: SongPosterior,
    settings: DecisionSettings,
) -> SongPosterior:
    """Weighs scores, given labels and songs against each other; only stems that sound.

    Parameters
    ----------
    ratios
        (stem, class), what each score says: P(score | present) / P(score | absent).
    given
        (stem, class) flags.
    songs
        The song of each stem: its name, or a number.
    posterior
        That of the turn before, or `initial_posterior`: this is one turn, in which the stems of a song and the classes
        of a stem exchange messages, and the rates are estimated.
    """
    ratios = np.clip(ratios, 1.0 / settings.largest_ratio, settings.largest_ratio)
    members, further, nothing = _membership(songs), settings.further, settings.nothing
    unseen, *_ = _posterior(np.ones_like(ratios), given, members, posterior.rates, further)
    probabilities, counts, _ = _posterior(ratios * posterior.message, given, members, posterior.rates, further)
    apart = _without(probabilities, posterior.message)
    labelled = given.any(axis=1, keepdims=True)
    message = np.where(labelled, _something(apart, nothing) / _something(unseen, nothing), 1.0)
    rates = _fit_rates(counts, settings, posterior.usual_held)
    return SongPosterior(probabilities, apart, message, rates, posterior.usual_held)


def log_likelihood(
    ratios: np.ndarray,
    given: np.ndarray,
    songs: Sequence[str] | np.ndarray,
    posterior: SongPosterior,
    settings: DecisionSettings,
) -> float:
    """log P(the scores | the rates of `posterior`), relative to every class being absent everywhere.

    The rates of classes that differ from the hypothesis count against it. Arguments as `update_posterior` has them.
    """
    ratios = np.clip(ratios, 1.0 / settings.largest_ratio, settings.largest_ratio)
    *_, likelihood = _posterior(ratios, given, _membership(songs), posterior.rates, settings.further)
    usual, worth = posterior.usual_held, settings.held_worth
    held = np.array([one.held for one in posterior.rates])
    deviation = worth * (usual * np.log(held / usual) + (1.0 - usual) * np.log((1.0 - held) / (1.0 - usual)))
    return float(likelihood + deviation.sum())


def posterior_alone(ratios: np.ndarray, shares: np.ndarray, settings: DecisionSettings) -> tuple[np.ndarray, float]:
    """(stem, class) P(present) of stems that sound and of which scores alone are known; and log P(the scores).

    ratios: as `update_posterior` has them. shares: (class,) how often stems hold a class. The likelihood is relative to
    every class being absent everywhere.
    """
    ratios = np.clip(ratios, 1.0 / settings.largest_ratio, settings.largest_ratio)
    scale = 1.0 - shares + shares * ratios
    apart = np.clip(shares * ratios / scale, 1e-9, 1.0 - 1e-9)
    message = _something(apart, settings.nothing) / _something(shares[None], settings.nothing)
    odds = apart / (1.0 - apart) * message
    return odds / (1.0 + odds), float(np.log(scale).sum())


def _prior_counts(settings: DecisionSettings) -> np.ndarray:
    """(rate, 2) imagined counts of yes and no, in the order of `Rates` without `held`."""
    return np.array([settings.also, settings.moved, settings.unclaimed])


def _without(probabilities: np.ndarray, message: np.ndarray) -> np.ndarray:
    """Probabilities after the odds that a message added are taken out again."""
    odds = probabilities / (1.0 - probabilities) / message
    return odds / (1.0 + odds)


def _something(apart: np.ndarray, nothing: float) -> np.ndarray:
    """How much likelier a class is because its stem holds something, (stem, class), from P(present) without that."""
    absent = 1.0 - apart
    others = np.stack([np.delete(absent, index, axis=1).prod(axis=1) for index in range(absent.shape[1])], axis=1)
    return 1.0 / (1.0 - (1.0 - nothing) * others)


def _fit_rates(counts: np.ndarray, settings: DecisionSettings, usual_held: float) -> tuple[Rates, ...]:
    """The rates of all classes from the counts (class, rate, 2) of yes and of all."""
    yes, out_of = counts[..., 0], counts[..., 1]
    prior = _prior_counts(settings)
    alike = (yes[:, 1:].sum(axis=0) + prior[:, 0]) / (out_of[:, 1:].sum(axis=0) + prior.sum(axis=1))
    usual = np.array([usual_held, *alike])
    worth = np.array([settings.held_worth, *[settings.rates_alike] * len(alike)])
    fitted = (yes + worth * usual) / (out_of + worth)
    return tuple(Rates(*row) for row in np.clip(fitted, 1e-4, 1.0 - 1e-4).tolist())


def _posterior(
    ratio: np.ndarray, given: np.ndarray, songs: csr_array, rates: tuple[Rates, ...], further: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """P(present), (stem, class); for each class and rate how often it came true, out of how many, (class, rate, 2); and
    the log likelihood of all songs, relative to every class being absent from all stems.

    ratio, given: (stem, class). songs: (song, stem), 1 where a stem belongs to a song. rates: one per class.
    """
    held_rate, also_rate, moved_rate, unclaimed_rate = np.array([astuple(one) for one in rates]).T
    # Logarithms, since products over the many stems of a song leave the range of numbers. Sums are (song, class).
    claimants, others = songs @ given.astype(float), songs @ (~given).astype(float)
    if_held = 1.0 - held_rate + held_rate * ratio
    log_all = songs @ (given * np.log(if_held))
    log_none = claimants * np.log(1.0 - held_rate)
    with np.errstate(divide="ignore"):
        log_some = log_all + np.log(-np.expm1(np.minimum(log_none - log_all, -1e-12)))
    claimed = claimants > 0
    log_some[~claimed] = -np.inf

    # Among the others: what all scores say if the first one to hold it is drawn evenly.
    spread = 1.0 - further + further * ratio
    first = ~given * ratio / spread
    drawn = songs @ first / np.maximum(others, 1)
    log_elsewhere = songs @ (~given * np.log(spread)) + np.log(np.maximum(drawn, 1e-300))
    nowhere = others == 0

    def log_with(rate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The likelihood of the others under a rate, and the part of it in which one of them holds the class."""
        yes = np.where(nowhere, -np.inf, np.log(rate) + log_elsewhere)
        no = np.where(nowhere, 0.0, np.log1p(-rate))
        return np.logaddexp(yes, no), yes

    also, also_yes = log_with(also_rate)
    missed, missed_yes = log_with(np.where(claimed, moved_rate, unclaimed_rate))
    total = np.logaddexp(log_some + also, log_none + missed)
    some = np.exp(log_some + also - total)
    some_elsewhere = np.exp(log_some + also_yes - total)
    none_elsewhere = np.exp(log_none + missed_yes - total)

    def of_stems(values: np.ndarray) -> np.ndarray:
        """(stem, class) values of the stems' songs."""
        return songs.T @ values

    held = held_rate * ratio / if_held * of_stems(np.exp(log_all + also - total))
    share = first / np.maximum(of_stems(drawn * others), 1e-300)
    moved = of_stems(some_elsewhere + none_elsewhere) * (share + (1.0 - share) * further * ratio / spread)
    probabilities = np.clip(np.where(given, held, moved), 1e-9, 1.0 - 1e-9)
    counts = (
        (held * given, given),
        (some_elsewhere * ~nowhere, some * ~nowhere),
        (none_elsewhere * (claimed & ~nowhere), (1.0 - some) * (claimed & ~nowhere)),
        (none_elsewhere * ~claimed, ~claimed),
    )
    summed = np.array([[part.sum(axis=0) for part in pair] for pair in counts], float)
    return probabilities, np.moveaxis(summed, 2, 0), float(total.sum())


def _membership(songs: Sequence[str] | np.ndarray) -> csr_array:
    """(song, stem), 1 where a stem belongs to a song."""
    song = np.unique(np.asarray(songs), return_inverse=True)[1]
    stems = np.arange(len(song))
    return csr_array((np.ones(len(song)), (song, stems)), shape=(int(song.max(initial=-1)) + 1, len(song)))
