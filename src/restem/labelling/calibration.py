"""What the logits of a classifier mean, found on the dataset itself.

Where a class is present its logits are normal around one mean, where it is absent around another, with the same
spread: the likelihood ratio is then a logistic function, as in linear discriminant analysis (Fisher 1936). A share of
the logits, `lapse`, is about something else: there are sounds that a classifier takes for others with all confidence
(the lapse rate of psychometrics; Wichmann and Hill 2001). It keeps one logit from overruling everything else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# What logits are believed to be like, in units of the standard deviation of all of them, and how many stems that is
# worth: the means, the spread of all classes, and how much the spread of one class is like that of the others.
_MEANS = (-0.5, 0.5)
_MEANS_WORTH = 5.0
_SPREAD = 1.0
_SPREAD_WORTH = 100.0
_ALIKE_WORTH = 100.0

_LEAST_UNIT = 0.1
_LOG_RATIO_LIMIT = 20.0


@dataclass(frozen=True)
class Calibration:
    """What the logits of one class mean.

    absent, present: their means where the class is not and where it is. spread: their standard deviation. lapse: the
    share that says nothing. base: the share of stems, or segments, that hold the class.
    """

    absent: float
    present: float
    spread: float
    lapse: float
    base: float

    def __post_init__(self) -> None:
        # They come back from files.
        if not (all(map(math.isfinite, vars(self).values())) and self.spread > 0 and 0 < self.base < 1):
            raise ValueError(f"{self} means nothing.")

    @property
    def slope(self) -> float:
        """How much the logarithm of the likelihood ratio grows with the logit; never falls."""
        return max(0.0, self.present - self.absent) / self.spread**2

    def log_ratio(self, logits: np.ndarray) -> np.ndarray:
        """log P(logit | present) / P(logit | absent), but for lapses."""
        return np.asarray(self.slope * (logits - (self.present + self.absent) / 2))

    def ratio(self, logits: np.ndarray) -> np.ndarray:
        """P(logit | present) / P(logit | absent), between `lapse / (1 - lapse)` and its inverse."""
        clear = self._clear(logits)
        lapsing: np.ndarray = ((1.0 - self.lapse) * clear + self.lapse) / (1.0 - self.lapse + self.lapse * clear)
        return lapsing

    def lapsed(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """P(the logit is about something else) where the class is present, and where it is absent."""
        clear = self._clear(logits)
        return (
            self.lapse / ((1.0 - self.lapse) * clear + self.lapse),
            self.lapse * clear / (1.0 - self.lapse + self.lapse * clear),
        )

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """P(present | logit), but for lapses."""
        odds = self._clear(logits) * self.base / (1.0 - self.base)
        return np.asarray(odds / (1.0 + odds))

    def logits(self, probability: np.ndarray) -> np.ndarray:
        """The inverse of `probability`; where that says nothing, the mean of the means."""
        odds = np.clip(probability, 1e-9, 1.0 - 1e-9)
        log_ratio = np.log(odds / (1.0 - odds)) - np.log(self.base / (1.0 - self.base))
        return np.asarray((self.present + self.absent) / 2 + log_ratio / max(self.slope, 1e-3))

    def _clear(self, logits: np.ndarray) -> np.ndarray:
        return np.asarray(np.exp(np.clip(self.log_ratio(logits), -_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT)))


def calibrate(
    logits: np.ndarray, holding: np.ndarray, lacking: np.ndarray, lapse: float = 0.0
) -> tuple[Calibration, ...]:
    """One calibration a class, by maximum likelihood with weak priors.

    logits: (any, class). holding, lacking: of the same shape, with what weight each is taken for one of a class that is
    present, and of one that is absent.
    """
    there, not_there = holding.sum(axis=0), lacking.sum(axis=0)
    unit = max(float(logits.std()), _LEAST_UNIT) if logits.size else 1.0
    absent = ((lacking * logits).sum(axis=0) + _MEANS_WORTH * _MEANS[0] * unit) / (not_there + _MEANS_WORTH)
    present = ((holding * logits).sum(axis=0) + _MEANS_WORTH * _MEANS[1] * unit) / (there + _MEANS_WORTH)
    squares = (holding * (logits - present) ** 2 + lacking * (logits - absent) ** 2).sum(axis=0)
    of_all = (squares.sum() + _SPREAD_WORTH * (_SPREAD * unit) ** 2) / ((there + not_there).sum() + _SPREAD_WORTH)
    variance = (squares + _ALIKE_WORTH * of_all) / (there + not_there + _ALIKE_WORTH)
    # One more of either, so that nothing is certain.
    base = (there + 1.0) / (there + not_there + 2.0)
    columns = np.stack([absent, present, np.sqrt(variance), np.full(len(base), lapse), base], axis=1)
    return tuple(Calibration(*column) for column in columns.tolist())
