"""The share of wrong labels, from the probabilities of the stems."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from restem.runs.findings import wrong_shares
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("drums",))


def labels_of(present: np.ndarray, given: np.ndarray) -> pl.DataFrame:
    written = np.where(given, "drums", "").tolist()
    return pl.DataFrame({"given": written, "verdict": ["kept"] * len(present), "drums": present})


def test_the_interval_holds_the_truth_19_times_in_20() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        present = rng.beta(0.5, 0.5, 300)
        given = rng.random(300) < 0.5
        (found,) = wrong_shares(labels_of(present, given), TAXONOMY)
        true = rng.random(300) < present
        held += found.low <= (true != given).mean() <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_what_is_certain_has_no_width() -> None:
    (found,) = wrong_shares(labels_of(np.array([1.0, 0.0, 1.0, 0.0]), np.array([True, False, False, False])), TAXONOMY)
    assert (found.share, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_nothing_could_be_judged() -> None:
    failed = pl.DataFrame({"given": ["drums"], "verdict": ["failed"], "drums": [None]})
    assert wrong_shares(failed, TAXONOMY) == []
