"""Score distributions: what the logits of a classifier mean, estimated on the dataset itself.

Where a class is present its logits are normal around one mean, where it is absent around another, with the same
spread: the likelihood ratio is then a logistic function of the logit, as in linear discriminant analysis (Fisher 1936).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from restem.labelling.decision_settings import DecisionSettings

# So that logits that are all alike have a scale.
_LEAST_UNIT = 0.1
# The quantiles between which the middle of all logits lies.
_MIDDLE = (0.05, 0.95)
# Beyond it a double has nothing to add.
_LOG_RATIO_LIMIT = 20.0
# What is computed of many segments is computed of so many at once.
_ROWS_AT_ONCE = 1 << 17


@dataclass(frozen=True)
class Calibration:
    """What the logits of one class mean.

    absent, present: their means where the class is not and where it is. spread: their standard deviation. base: the
    share of stems, or segments, that hold the class.
    """

    absent: float
    present: float
    spread: float
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
        """log P(logit | present) / P(logit | absent)."""
        return self.slope * (logits - (self.present + self.absent) / 2)

    def ratio(self, logits: np.ndarray) -> np.ndarray:
        """P(logit | present) / P(logit | absent)."""
        return np.exp(np.clip(self.log_ratio(logits), -_LOG_RATIO_LIMIT, _LOG_RATIO_LIMIT))

    def log_density(self, logits: np.ndarray) -> float:
        """log P(the logits | the class is absent everywhere), but for a constant."""
        return float(-0.5 * (((logits - self.absent) / self.spread) ** 2).sum() - len(logits) * math.log(self.spread))

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """P(present | logit)."""
        odds = self.ratio(logits) * self.base / (1.0 - self.base)
        return odds / (1.0 + odds)


def calibrate(
    logits: np.ndarray, holding: np.ndarray, lacking: np.ndarray, settings: DecisionSettings
) -> tuple[Calibration, ...]:
    """One calibration per class, by maximum likelihood with the weak priors of `settings`.

    logits: (any, class). holding, lacking: of the same shape, the weight with which each logit counts as one of a class
    that is present, and as one of a class that is absent.
    """
    return calibrate_in_parts(logits, lambda part: (holding[part], lacking[part]), settings)


def calibrate_in_parts(
    logits: np.ndarray, weights: Callable[[slice], tuple[np.ndarray, np.ndarray]], settings: DecisionSettings
) -> tuple[Calibration, ...]:
    """The same for more weights than fit into memory.

    weights: from a part of the rows to `holding` and `lacking` for them.
    """
    parts = parts_of(len(logits))

    def summed(terms: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """The sum over all rows of what `terms` makes of the logits and the two weights of some."""
        total = np.zeros((1, 0))
        for part in parts:
            found = terms(logits[part], *weights(part))
            # Row after row, as numpy would add up all of them.
            total = (np.concatenate([total, found]) if total.size else found).sum(axis=0, keepdims=True)
        return total[0]

    there, not_there, of_holding, of_lacking = np.split(
        summed(lambda own, holding, lacking: np.hstack([holding, lacking, holding * own, lacking * own])), 4
    )
    unit = max(float(logits.std()), _LEAST_UNIT) if logits.size else 1.0
    worth, distance = settings.means_worth, settings.mean_distance * unit
    # Between low logits and high ones, not at 0: those of a judge that can tell little are all alike, and below it.
    middle = float(np.quantile(logits, _MIDDLE).mean()) if logits.size else 0.0
    absent = (of_lacking + worth * (middle - distance)) / (not_there + worth)
    present = (of_holding + worth * (middle + distance)) / (there + worth)
    squares = summed(lambda own, holding, lacking: holding * (own - present) ** 2 + lacking * (own - absent) ** 2)
    of_all = (squares.sum() + settings.spread_worth * unit**2) / ((there + not_there).sum() + settings.spread_worth)
    variance = (squares + settings.spreads_alike * of_all) / (there + not_there + settings.spreads_alike)
    # One more of either, so that nothing is certain.
    base = (there + 1.0) / (there + not_there + 2.0)
    columns = np.stack([absent, present, np.sqrt(variance), base], axis=1)
    return tuple(Calibration(*column) for column in columns.tolist())


def parts_of(rows: int) -> list[slice]:
    """All rows in parts of a bounded size, at least one part."""
    return [slice(first, min(rows, first + _ROWS_AT_ONCE)) for first in range(0, max(1, rows), _ROWS_AT_ONCE)]
