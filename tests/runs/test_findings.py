"""The share of wrong labels, and how far labels can be trusted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import polars as pl
import pytest

from restem.runs.findings import trust, wrong_shares
from restem.runs.run import Run
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


def run_with(right: float | None, **distances: float) -> Run:
    """A run of classes whose scores, where they are present, lie so many standard deviations above the others."""
    stems = {
        name: {"stems": {"absent": -1.0, "present": 2.0 * one - 1.0, "spread": 2.0}} for name, one in distances.items()
    }
    description: dict[str, Any] = {"sure_right": right, "calibration": stems}
    return cast(Run, SimpleNamespace(description=description, taxonomy=Taxonomy(tuple(distances))))


class TestTrust:
    def test_all_classes_are_heard(self) -> None:
        assert trust(run_with(0.984, a=4.0, b=5.0)).endswith("about 98 should have exactly the right labels.")

    def test_some_are_not(self) -> None:
        """2.66 standard deviations make 97 % of pairs right, 1.81 make 90 %."""
        found = trust(run_with(0.9, a=2.7, b=2.6, c=1.9, d=1.7))
        assert found.endswith("Heard clearly: a. Often missed or mistaken: d; check them by ear.")

    def test_no_stem_is_sure(self) -> None:
        assert trust(run_with(None, a=0.0)).startswith("The labels of no stem can be trusted")

    def test_runs_of_earlier_versions_say_nothing(self) -> None:
        assert trust(cast(Run, SimpleNamespace(description={}, taxonomy=Taxonomy(("a",))))) == ""
