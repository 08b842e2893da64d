"""From scores and given labels to refined labels, verdicts and qualities.

Three things speak about a stem x class: the classifier's score, from a classifier that never heard the song; the given
label; and the rest of the song, for a class that none of its stems claims often lies in one that claims another.

First, what scores mean. With a wrong label now and then, `missing` or `extra`,

    P(present | score) = sigmoid(slope * logit(score) + offset)
    P(given | score)   = extra + (1 - missing - extra) * P(present | score)

and all four numbers follow from scores and given labels by maximum likelihood: a logistic regression that allows for
wrong labels (the lapse rates of psychometrics; Wichmann & Hill 2001). It yields a likelihood ratio for every score.

Then, how often a class is present in each of three groups of stems: those given the class, those whose song has it in
another stem, and those whose song has it nowhere. The score and the group are taken as independent given the truth; so
each share is the prior under which the scores of the group are likeliest (expectation-maximisation; Saerens et al.,
"Adjusting the outputs of a classifier to new a priori probabilities", 2002), and Bayes' rule gives
P(present | score, group).

A label is changed only when the result is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

# A label is changed when it is wrong with at least this probability, and doubted from the second on. On 100 real stems
# (`benchmarks/labels.py takes`) 0.7 let one of three seeds end below the given labels, and 0.8 none.
CHANGE_ABOVE = 0.8
DOUBT_ABOVE = 0.3

# Beta(1 + a, 1 + b) on the rates of wrong labels. A disagreement can be the label's fault or the classifier's, and on
# few stems the scores alone cannot tell which: without a firm belief that most labels are right, a weak classifier
# talks the fit into blaming the labels (on 100 real stems that cost 4 points of label accuracy).
_MISSING_PRIOR = (4.0, 36.0)
_EXTRA_PRIOR = (2.0, 80.0)

# What the share of stems that hold a class is thought to be before any is heard, as counts of stems that do and do not:
# among stems given the class, stems whose song has it elsewhere, and stems whose song has it nowhere.
_SHARE_PRIORS = ((38.0, 2.0), (1.0, 40.0), (1.0, 5.0))
_SHARE_STEPS = 50
_RATE_BOUNDS = (0.002, 0.45)
_SCORE_CLIP = 1e-3


@dataclass(frozen=True)
class Calibration:
    """What the scores and the given labels of one class mean; the names are those of the formulas above.

    base: the share of stems that hold the class by their scores. shares: the same in each of the three groups.
    """

    slope: float
    offset: float
    missing: float
    extra: float
    base: float
    shares: tuple[float, float, float]

    def present(self, scores: np.ndarray) -> np.ndarray:
        """P(present | score)."""
        return _present(self.slope, self.offset, scores)

    def present_given(self, scores: np.ndarray, group: np.ndarray) -> np.ndarray:
        """P(present | score, group). group: (stem,) 0, 1 or 2, as `label_groups` has it."""
        return _posterior(_likelihood_ratio(self.present(scores), self.base), np.asarray(self.shares)[group])


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


def label_groups(songs: Sequence[str], given: np.ndarray) -> np.ndarray:
    """What the song says about every stem x class, (stem, class).

    0: the stem is given the class. 1: another stem of its song is. 2: none is. given: (stem, class) flags, without
    those of silent stems, which carry nothing.
    """
    claimed: dict[str, np.ndarray] = {}
    for song, flags in zip(songs, given, strict=True):
        claimed[song] = claimed.get(song, np.zeros(given.shape[1], bool)) | flags
    elsewhere = np.array([claimed[song] for song in songs]).reshape(given.shape)
    return np.where(given, 0, np.where(elsewhere, 1, 2))


def calibrate(
    scores: np.ndarray, given: np.ndarray, groups: np.ndarray, known: np.ndarray | None = None
) -> tuple[Calibration, ...]:
    """One calibration a class.

    scores: (stem, class) in [0, 1], out-of-fold. given: (stem, class) flags. groups: (stem, class), of `label_groups`.
    known: (stem, class), 1 or 0 where somebody listened and said so, else NaN. Such a stem speaks about the classifier
    and about the given labels each by itself: P(known | score) P(given | known).
    """
    known = np.full(scores.shape, np.nan) if known is None else known
    columns = zip(scores.T, np.asarray(given).T, groups.T, known.T, strict=True)
    return tuple(_fit(*column) for column in columns)


def decide(scores: np.ndarray, given: np.ndarray, groups: np.ndarray, calibrations: Sequence[Calibration]) -> Decisions:
    """Refined labels of active stems. scores: (stem, class) in [0, 1]. given: flags, and groups, of the same shape.

    What is not clear stays as given, and so does a stem that would be left without a label though it sounds; one
    that has none from the start is unsure.
    """
    given = np.asarray(given, bool)
    columns = [one.present_given(scores[:, index], groups[:, index]) for index, one in enumerate(calibrations)]
    probabilities = np.stack(columns, axis=1)
    wrong = np.where(given, 1.0 - probabilities, probabilities)
    refined = np.where(wrong >= CHANGE_ABOVE, ~given, given)
    emptied = ~refined.any(axis=1) & given.any(axis=1)
    refined[emptied] = given[emptied]
    changed = (refined != given).any(axis=1)
    doubted = ~refined.any(axis=1) | emptied | ((wrong >= DOUBT_ABOVE) & (refined == given)).any(axis=1)
    verdicts = np.select([changed, doubted], ["changed", "unsure"], "kept")
    return Decisions(refined, probabilities, _quality(probabilities, given), tuple(verdicts.tolist()))


def _quality(probabilities: np.ndarray, given: np.ndarray) -> np.ndarray:
    """P(the given label set is right), the classes taken as independent, for stems known to hold something."""
    right = np.where(given, probabilities, 1.0 - probabilities).prod(axis=1)
    something = 1.0 - (1.0 - probabilities).prod(axis=1)
    return np.where(given.any(axis=1), np.minimum(1.0, right / np.maximum(something, 1e-12)), 0.0)


def _fit(scores: np.ndarray, given: np.ndarray, groups: np.ndarray, known: np.ndarray) -> Calibration:
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

    bounds = [(-3.0, 2.0), (-4.0, 4.0), _RATE_BOUNDS, _RATE_BOUNDS]
    starts = [(0.0, 0.0, 0.1, 0.05), (-1.0, 0.0, 0.05, 0.02), (0.5, 0.0, 0.05, 0.1)]
    best = min((minimize(cost, start, method="L-BFGS-B", bounds=bounds) for start in starts), key=lambda fit: fit.fun)
    log_slope, offset, missing, extra = (float(value) for value in best.x)
    slope = float(np.exp(log_slope))
    present = np.where(told, known, _present(slope, offset, scores))
    base = float(np.clip(present.mean(), 1e-3, 1.0 - 1e-3))
    ratio = _likelihood_ratio(present, base)
    one, two, three = (_share(ratio[groups == group], prior) for group, prior in enumerate(_SHARE_PRIORS))
    return Calibration(slope, offset, missing, extra, base, (one, two, three))


def _share(ratio: np.ndarray, prior: tuple[float, float]) -> float:
    """The share of a group that holds a class, from the likelihood ratios of its stems (stem,)."""
    holding, lacking = prior
    share = holding / (holding + lacking)
    for _ in range(_SHARE_STEPS):
        share = (float(_posterior(ratio, share).sum()) + holding) / (len(ratio) + holding + lacking)
    return share


def _present(slope: float, offset: float, scores: np.ndarray) -> np.ndarray:
    probability: np.ndarray = expit(slope * _logit(scores) + offset)
    return probability


def _likelihood_ratio(present: np.ndarray, base: float) -> np.ndarray:
    """P(score | present) / P(score | absent), from P(present | score) and the share it was learned under."""
    present = np.clip(present, 1e-9, 1.0 - 1e-9)
    return present / (1.0 - present) * (1.0 - base) / base


def _posterior(ratio: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    return ratio * share / (ratio * share + 1.0 - share)


def _logit(scores: np.ndarray) -> np.ndarray:
    evidence: np.ndarray = logit(np.clip(scores, _SCORE_CLIP, 1.0 - _SCORE_CLIP))
    return evidence
