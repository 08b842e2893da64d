"""From scores and given labels to refined labels, verdicts and qualities.

Three things speak about a stem x class: the classifier's score, from a classifier that never heard the song; the given
label; and the rest of the song, for a class that none of its stems claims often lies in one that claims another.

First, what scores mean. With a wrong label now and then, `missing` or `extra`,

    P(present | score) = sigmoid(slope * logit(score) + offset)
    P(given | score)   = extra + (1 - missing - extra) * P(present | score)

and all four numbers follow from scores and given labels by maximum likelihood: a logistic regression that allows for
wrong labels (the lapse rates of psychometrics; Wichmann & Hill 2001). It yields a likelihood ratio for every score.

Then the stems of a song are weighed against each other (`placing`), which gives P(present | everything).

A label is changed only when the result is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from restem.labelling.placing import Rates, place

# A label is changed when it is wrong with at least this probability, and doubted from the second on. Chosen on stored
# scores of `band` and `takes`, as the priors below and in `placing` were (docs/benchmarks.md).
CHANGE_ABOVE = 0.6
DOUBT_ABOVE = 0.3

# How often a score is about something else than it seems to be, however clear it is: there are sounds that a classifier
# takes for others with all confidence. It keeps one score from overruling everything else.
_LAPSE = 0.04

# Beta(1 + a, 1 + b) on the rates of wrong labels. A disagreement can be the label's fault or the classifier's, and on
# few stems the scores alone cannot tell which: without a firm belief that most labels are right, a weak classifier
# talks the fit into blaming the labels.
_MISSING_PRIOR = (2.0, 50.0)
_EXTRA_PRIOR = (1.0, 100.0)

# The share of stems that hold a class before any is heard, as counts of stems that do and do not: four songs of four
# stems. Without it, scores that are low throughout, of a class that nothing holds, would be taken for the usual ones.
_BASE_PRIOR = (4.0, 12.0)

_RATE_BOUNDS = (0.002, 0.45)
_SCORE_CLIP = 1e-5


@dataclass(frozen=True)
class Calibration:
    """What the scores and the given labels of one class mean; the names are those of the formulas above.

    base: the share of stems that hold the class by their scores.
    """

    slope: float
    offset: float
    missing: float
    extra: float
    base: float

    def present(self, scores: np.ndarray) -> np.ndarray:
        """P(present | score)."""
        return _present(self.slope, self.offset, scores)

    def ratio(self, scores: np.ndarray) -> np.ndarray:
        """P(score | present) / P(score | absent), between `_LAPSE` and its inverse."""
        present = np.clip(self.present(scores), 1e-9, 1.0 - 1e-9)
        ratio = present / (1.0 - present) * (1.0 - self.base) / self.base
        lapsing: np.ndarray = (ratio + _LAPSE) / (1.0 + _LAPSE * ratio)
        return lapsing


@dataclass(frozen=True)
class Decisions:
    """What became of every stem's labels.

    refined: (stem, class) flags. probabilities: (stem, class) P(present). quality: (stem,) P(given label set right).
    verdicts: `kept`, `changed` or `unsure`, a stem each. rates: where classes are, one a class.
    """

    refined: np.ndarray
    probabilities: np.ndarray
    quality: np.ndarray
    verdicts: tuple[str, ...]
    rates: tuple[Rates, ...]

    def among(self, sounding: np.ndarray) -> Decisions:
        """The same about all stems, of which those that the flags `sounding` (stem,) mark were decided about.

        The others hold nothing.
        """
        refined = np.zeros((len(sounding), self.refined.shape[1]), bool)
        probabilities = np.zeros(refined.shape)
        quality = np.zeros(len(sounding))
        refined[sounding], probabilities[sounding], quality[sounding] = self.refined, self.probabilities, self.quality
        decided = iter(self.verdicts)
        verdicts = tuple(next(decided) if sounds else "silent" for sounds in sounding)
        return Decisions(refined, probabilities, quality, verdicts, self.rates)


def calibrate(scores: np.ndarray, given: np.ndarray, known: np.ndarray | None = None) -> tuple[Calibration, ...]:
    """One calibration a class.

    scores: (stem, class) in [0, 1], out-of-fold. given: (stem, class) flags.
    known: (stem, class), 1 or 0 where somebody listened and said so, else NaN. Such a stem speaks about the classifier
    and about the given labels each by itself: P(known | score) P(given | known).
    """
    known = np.full(scores.shape, np.nan) if known is None else known
    return tuple(_fit(*column) for column in zip(scores.T, np.asarray(given).T, known.T, strict=True))


def present(scores: np.ndarray, calibrations: Sequence[Calibration]) -> np.ndarray:
    """P(present | score) for scores (any, class) of stems or of segments."""
    return np.stack([one.present(scores[:, index]) for index, one in enumerate(calibrations)], axis=1)


def decide(
    scores: np.ndarray,
    given: np.ndarray,
    songs: Sequence[str],
    calibrations: Sequence[Calibration],
    known: np.ndarray | None = None,
) -> Decisions:
    """Refined labels of stems that sound.

    scores: (stem, class) in [0, 1]. given: flags of the same shape. songs: the song of each stem. known: as in
    `calibrate`; what somebody heard in one stem of a song speaks about its other stems as well.
    What is not clear stays as given, and so does a stem that would be left without a label though it sounds; one
    that has none from the start is unsure.
    """
    given = np.asarray(given, bool)
    ratios = np.stack([one.ratio(scores[:, index]) for index, one in enumerate(calibrations)], axis=1)
    if known is not None:
        ratios = np.where(np.isfinite(known), np.where(known == 1, np.inf, 0.0), ratios)
    placed = place(ratios, given, songs)
    wrong = np.where(given, 1.0 - placed.probabilities, placed.probabilities)
    refined = np.where(wrong >= CHANGE_ABOVE, ~given, given)
    emptied = ~refined.any(axis=1) & given.any(axis=1)
    refined[emptied] = given[emptied]
    changed = (refined != given).any(axis=1)
    doubted = ~refined.any(axis=1) | emptied | ((wrong >= DOUBT_ABOVE) & (refined == given)).any(axis=1)
    verdicts = np.select([changed, doubted], ["changed", "unsure"], "kept")
    return Decisions(refined, placed.probabilities, placed.agreement(given), tuple(verdicts.tolist()), placed.rates)


def _fit(scores: np.ndarray, given: np.ndarray, known: np.ndarray) -> Calibration:
    evidence = _logit(scores)
    labelled = np.asarray(given, np.float64)
    told = np.isfinite(known)

    def cost(parameters: np.ndarray) -> float:
        log_slope, offset, missing, extra = parameters
        present = expit(np.exp(log_slope) * evidence + offset)
        truth = np.where(told, known, present)
        given_rate = extra + (1.0 - missing - extra) * truth
        likelihood = labelled * np.log(given_rate) + (1.0 - labelled) * np.log(1.0 - given_rate)
        likelihood += np.where(told, np.log(np.maximum(1.0 - np.abs(known - present), 1e-12)), 0.0)
        rates = sum(
            wrong * np.log(rate) + right * np.log(1.0 - rate)
            for rate, (wrong, right) in ((missing, _MISSING_PRIOR), (extra, _EXTRA_PRIOR))
        )
        # Weakly: scores of a good classifier are nearly calibrated, with a slope near 1 and an offset near 0.
        return float(-likelihood.sum() - rates + 0.1 * log_slope**2 + 0.05 * offset**2)

    bounds = [(-3.0, 2.0), (-8.0, 8.0), _RATE_BOUNDS, _RATE_BOUNDS]
    starts = [(0.0, 0.0, 0.1, 0.05), (-1.0, 0.0, 0.05, 0.02), (0.5, 0.0, 0.05, 0.1)]
    best = min((minimize(cost, start, method="L-BFGS-B", bounds=bounds) for start in starts), key=lambda fit: fit.fun)
    log_slope, offset, missing, extra = (float(value) for value in best.x)
    slope = float(np.exp(log_slope))
    present = np.where(told, known, _present(slope, offset, scores))
    holding, lacking = _BASE_PRIOR
    base = float((present.sum() + holding) / (len(present) + holding + lacking))
    return Calibration(slope, offset, missing, extra, base)


def _present(slope: float, offset: float, scores: np.ndarray) -> np.ndarray:
    probability: np.ndarray = expit(slope * _logit(scores) + offset)
    return probability


def _logit(scores: np.ndarray) -> np.ndarray:
    evidence: np.ndarray = logit(np.clip(scores, _SCORE_CLIP, 1.0 - _SCORE_CLIP))
    return evidence
