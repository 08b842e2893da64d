"""How many stems still have wrong labels: an estimate from the decisions so far, with a bound.

The doubt about a stem, P(its labels are wrong), comes from a model, which may be too sure of itself in general, in its
ranking, or about some stems whatever it says. So its probabilities are corrected:

    P(wrong) = missed + (1 - missed) * sigmoid(shift + slope * logit(doubt))

with weak priors on shift, slope and missed, and the likelihood of all decisions so far. The decisions about doubtful
stems tell shift and slope. The stems that the queue draws at random (see `queue`) tell `missed`, which no number of
decisions about doubtful stems would. The number of wrong stems among those without a decision then has a distribution
(the posterior predictive one); its mean is the estimate, its 95 % quantile the bound. `benchmarks/review.py` counts how
often the truth lies within the bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit, logit

from restem.review.queue import doubts
from restem.runs.decided import Decided
from restem.runs.run import Run
from restem.taxonomy import Taxonomy
from restem.verdicts import WITHOUT_SOUND

SHARE = 0.95  # of the distribution that the bound covers
_SHIFTS = np.linspace(-2.4, 2.4, 25)
_SLOPES = np.linspace(0.3, 1.6, 14)
_MISSED = np.array([0.0, 0.003, 0.01, 0.03, 0.08, 0.2])
_SHIFT_SPREAD, _SLOPE_SPREAD = 0.8, 0.3
_MISSED_PRIOR = np.array([0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
_LEAST_DOUBT = 1e-4
_BINS = 60
_DRAWS = 4000


@dataclass(frozen=True)
class Remaining:
    """How many of the stems without a decision have wrong labels.

    stems: those without a decision. wrong: the expected number of them. at_most: with `SHARE` probability not more.
    """

    stems: int
    wrong: float
    at_most: int


def remaining(doubt: np.ndarray, outcome: np.ndarray) -> Remaining:
    """The estimate.

    doubt: (stem,) P(the labels are wrong), of the stems that sound. outcome: (stem,) 1 where a person found the labels
    wrong, 0 where right, NaN where nobody decided.
    """
    evidence = logit(np.clip(doubt, _LEAST_DOUBT, 1.0 - _LEAST_DOUBT))
    edge = logit(1.0 - _LEAST_DOUBT)
    # Stems of nearly the same doubt are counted together, so that the time hardly depends on how many there are.
    used, bins = np.unique(np.rint((evidence + edge) / (2 * edge) * (_BINS - 1)), return_inverse=True)
    centre = -edge + 2 * edge * used / (_BINS - 1)
    wrong, right, undecided = (
        np.bincount(bins[mask], minlength=len(used)) for mask in (outcome == 1, outcome == 0, np.isnan(outcome))
    )
    shift, slope, missed = (grid.ravel() for grid in np.meshgrid(_SHIFTS, _SLOPES, _MISSED, indexing="ij"))
    prior = (
        -0.5 * (shift / _SHIFT_SPREAD) ** 2
        - 0.5 * ((slope - 1.0) / _SLOPE_SPREAD) ** 2
        + np.tile(np.log(_MISSED_PRIOR), len(_SHIFTS) * len(_SLOPES))
    )
    chance = missed[:, None] + (1.0 - missed[:, None]) * expit(shift[:, None] + slope[:, None] * centre)
    chance = np.clip(chance, 1e-9, 1.0 - 1e-9)
    posterior = prior + np.log(chance) @ wrong + np.log1p(-chance) @ right
    weight = np.exp(posterior - posterior.max())
    weight /= weight.sum()
    generator = np.random.default_rng(0)
    chosen = generator.choice(len(weight), size=_DRAWS, p=weight)
    drawn = generator.binomial(undecided, chance[chosen]).sum(axis=1)
    expected = float(weight @ (chance @ undecided))
    return Remaining(int(undecided.sum()), expected, int(np.quantile(drawn, SHARE, method="higher")))


def remaining_in(run: Run) -> Remaining:
    """The estimate for a run, from the decisions about it so far."""
    known = [entry[0] for entry in run.description.get("decisions", [])]
    listen = ~(run.found["verdict"].is_in(WITHOUT_SOUND) | run.found["stem"].is_in(known)).to_numpy()
    doubt = doubts(run.found, run.taxonomy)
    return remaining(doubt[listen], outcomes(run.found, run.decided, run.taxonomy)[listen])


def outcomes(found: pl.DataFrame, decided: Mapping[str, Decided], taxonomy: Taxonomy) -> np.ndarray:
    """(stem,) 1 where a person found the refined labels of `found` wrong, 0 where right, NaN without a decision.

    found: `labels.csv` as the classifiers left it. Who could not tell, or only said something about a time range, has
    not decided.
    """
    outcome = np.full(len(found), np.nan)
    for row, (stem, refined) in enumerate(found.select("stem", "refined").iter_rows()):
        one = decided.get(stem)
        if one is not None and one.labels is not None:
            outcome[row] = float(one.labels != taxonomy.parse(refined))
    return outcome
