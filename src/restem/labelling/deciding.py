"""From scores and given labels to refined labels, verdicts and qualities.

Two witnesses speak about every stem x class: the classifier's score, from a classifier that never heard the song, and
the given label. Neither has seen the other's evidence, so, given the truth, they are taken as independent. Per class,

    P(present | score)      = sigmoid(slope * logit(score) + offset)
    P(not given | present)  = missing
    P(given | not present)  = extra

and therefore P(given | score) = extra + (1 - missing - extra) * P(present | score). All four numbers are found by
maximum likelihood from what is known, scores and given labels: a logistic regression that allows for wrong labels
(the lapse rates of psychometrics; Wichmann & Hill 2001), with weak priors that keep it sane on few stems. Bayes' rule
then weighs both witnesses. A label is changed only when the result is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

# A label is changed when it is wrong with at least this probability, and doubted from the second on.
CHANGE_ABOVE = 0.6
DOUBT_ABOVE = 0.3

# Beta(1 + a, 1 + b) on the rates of wrong labels. A disagreement can be the label's fault or the classifier's, and on
# few stems the scores alone cannot tell which: without a firm belief that most labels are right, a weak classifier
# talks the fit into blaming the labels (on 100 real stems that cost 4 points of label accuracy).
_MISSING_PRIOR = (4.0, 36.0)
_EXTRA_PRIOR = (2.0, 80.0)
_RATE_BOUNDS = (0.002, 0.45)
_SCORE_CLIP = 1e-3


@dataclass(frozen=True)
class Calibration:
    """What the scores and the given labels of one class mean; the names are those of the formulas above."""

    slope: float
    offset: float
    missing: float
    extra: float

    def present(self, scores: np.ndarray) -> np.ndarray:
        """P(present | score)."""
        probability: np.ndarray = expit(self.slope * _logit(scores) + self.offset)
        return probability

    def present_given(self, scores: np.ndarray, given: np.ndarray) -> np.ndarray:
        """P(present | score, given label)."""
        prior = self.present(scores)
        if_present = np.where(given, 1.0 - self.missing, self.missing) * prior
        if_absent = np.where(given, self.extra, 1.0 - self.extra) * (1.0 - prior)
        probability: np.ndarray = if_present / (if_present + if_absent)
        return probability


@dataclass(frozen=True)
class Decisions:
    """What became of every stem's labels.

    refined: (stem, class) flags. probabilities: (stem, class) P(present). quality: (stem,) P(given label set right).
    verdicts: `kept`, `changed` or `unsure`, a stem each.
    """

    refined: np.ndarray
    probabilities: np.ndarray
    quality: np.ndarray
    verdicts: tuple[str, ...]


def calibrate(scores: np.ndarray, given: np.ndarray) -> tuple[Calibration, ...]:
    """One calibration a class. scores: (stem, class) in [0, 1], out-of-fold. given: (stem, class) flags."""
    return tuple(_fit(scores[:, index], given[:, index]) for index in range(scores.shape[1]))


def decide(scores: np.ndarray, given: np.ndarray, calibrations: Sequence[Calibration]) -> Decisions:
    """Refined labels of active stems. scores: (stem, class) in [0, 1]. given: (stem, class) flags.

    What is not clear stays as given, and so does a stem that would be left without a label though it sounds.
    """
    given = np.asarray(given, bool)
    probabilities = np.stack(
        [
            calibration.present_given(scores[:, index], given[:, index])
            for index, calibration in enumerate(calibrations)
        ],
        axis=1,
    )
    wrong = np.where(given, 1.0 - probabilities, probabilities)
    refined = np.where(wrong >= CHANGE_ABOVE, ~given, given)
    emptied = ~refined.any(axis=1) & given.any(axis=1)
    refined[emptied] = given[emptied]
    changed = (refined != given).any(axis=1)
    doubted = emptied | ((wrong >= DOUBT_ABOVE) & (refined == given)).any(axis=1)
    verdicts = np.select([changed, doubted], ["changed", "unsure"], "kept")
    return Decisions(refined, probabilities, _quality(probabilities, given), tuple(verdicts.tolist()))


def _quality(probabilities: np.ndarray, given: np.ndarray) -> np.ndarray:
    """P(the given label set is right), the classes taken as independent, for stems known to hold something."""
    right = np.where(given, probabilities, 1.0 - probabilities).prod(axis=1)
    something = 1.0 - (1.0 - probabilities).prod(axis=1)
    return np.where(given.any(axis=1), np.minimum(1.0, right / np.maximum(something, 1e-12)), 0.0)


def _fit(scores: np.ndarray, given: np.ndarray) -> Calibration:
    evidence = _logit(scores)
    given = np.asarray(given, np.float64)

    def cost(parameters: np.ndarray) -> float:
        log_slope, offset, missing, extra = parameters
        given_rate = extra + (1.0 - missing - extra) * expit(np.exp(log_slope) * evidence + offset)
        likelihood = given * np.log(given_rate) + (1.0 - given) * np.log(1.0 - given_rate)
        rates = sum(
            wrong * np.log(rate) + right * np.log(1.0 - rate)
            for rate, (wrong, right) in ((missing, _MISSING_PRIOR), (extra, _EXTRA_PRIOR))
        )
        # Weakly: scores of a good classifier are nearly calibrated, with a slope near 1 and an offset near 0.
        return float(-likelihood.sum() - rates + 0.1 * log_slope**2 + 0.05 * offset**2)

    bounds = [(-3.0, 2.0), (-4.0, 4.0), _RATE_BOUNDS, _RATE_BOUNDS]
    starts = [(0.0, 0.0, 0.1, 0.05), (-1.0, 0.0, 0.05, 0.02), (0.5, 0.0, 0.05, 0.1)]
    best = min((minimize(cost, start, method="L-BFGS-B", bounds=bounds) for start in starts), key=lambda fit: fit.fun)
    log_slope, offset, missing, extra = best.x
    return Calibration(float(np.exp(log_slope)), float(offset), float(missing), float(extra))


def _logit(scores: np.ndarray) -> np.ndarray:
    evidence: np.ndarray = logit(np.clip(scores, _SCORE_CLIP, 1.0 - _SCORE_CLIP))
    return evidence
