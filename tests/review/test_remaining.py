"""How many wrong labels are left: the bound holds for models that are right and for models that are not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit

from restem.review.queue import Queue
from restem.review.remaining import outcomes, remaining
from restem.runs.ledger import Decision
from restem.runs.run import Run, open_run, record

SIMULATIONS = 100  # of each kind; benchmarks/review.py has more


def simulated(rng: np.random.Generator, stems: int, shift: float, slope: float, missed: float) -> tuple:
    """Doubts as a refinement leaves them, most of them small, and which stems are wrong."""
    doubt = rng.beta(0.5, 2.5, stems)
    chance = missed + (1 - missed) * expit(shift + slope * logit(np.clip(doubt, 1e-6, 1 - 1e-6)))
    return doubt, rng.random(stems) < chance


def listened(doubt: np.ndarray, seed: int) -> list[int]:
    """The order of the queue."""
    return Queue(np.ones(len(doubt), bool), seed).rows(doubt, np.zeros(len(doubt), bool))[0]


@pytest.mark.parametrize(
    ("shift", "slope", "missed"),
    [(0.0, 1.0, 0.0), (-1.0, 1.0, 0.0), (0.7, 0.8, 0.0), (0.0, 1.0, 0.05), (0.5, 0.7, 0.03)],
    ids=["right", "too doubtful", "too sure", "stems that nobody doubts", "all of it"],
)
def test_the_bound_covers_the_truth(shift: float, slope: float, missed: float) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for i in range(SIMULATIONS):
        doubt, wrong = simulated(rng, 150, shift, slope, missed)
        decisions = (0, 8, 20, 45, 90)[i % 5]
        rows = listened(doubt, i)[:decisions]
        outcome = np.full(len(doubt), np.nan)
        outcome[rows] = wrong[rows]
        left = remaining(doubt, outcome)
        assert left.stems == len(doubt) - decisions and left.wrong <= left.at_most <= left.stems
        covered.append(wrong.sum() - wrong[rows].sum() <= left.at_most)
    assert np.mean(covered) >= 0.95


def test_it_narrows_down() -> None:
    rng = np.random.default_rng(1)
    doubt, wrong = simulated(rng, 3000, 0.0, 1.0, 0.02)
    rows = listened(doubt, 0)[:2000]
    outcome = np.full(len(doubt), np.nan)
    outcome[rows] = wrong[rows]
    truth = wrong.sum() - wrong[rows].sum()
    left, before = remaining(doubt, outcome), remaining(doubt, np.full(len(doubt), np.nan))
    assert truth <= left.at_most < before.at_most / 4
    outcome[:] = wrong
    assert remaining(doubt, outcome) == remaining(doubt[:0], outcome[:0]) and remaining(doubt, outcome).at_most == 0


def test_what_counts_as_a_decision(run: Run) -> None:
    def about(row: int, new: str | None, span: tuple[float | None, float | None] = (None, None)) -> Decision:
        song, stem = run.found.row(row)[:2]
        return Decision(song, stem, "", new, start_s=span[0], end_s=span[1])

    record(run, [about(0, "drums+bass"), about(1, "vocals"), about(2, None), about(3, "vocals", (0.0, 1.0))])
    outcome = outcomes(run.found, open_run(run.path).decided, run.taxonomy)
    assert outcome[:2].tolist() == [0.0, 1.0] and np.isnan(outcome[2:]).all()
