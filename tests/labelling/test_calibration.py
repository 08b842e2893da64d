"""Logits drawn from known distributions, against scipy's densities and scikit-learn's discriminant analysis."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from restem.labelling import calibration
from restem.labelling.calibration import Calibration, calibrate
from restem.labelling.decision_settings import DecisionSettings

SETTINGS = DecisionSettings()

calibrations = st.builds(
    Calibration, absent=st.floats(-8, 8), present=st.floats(-8, 8), spread=st.floats(0.5, 6),
    base=st.floats(0.01, 0.99),
)  # fmt: skip
LOGITS = np.linspace(-6.0, 6.0, 25)


def draw(seed: int, count: int, present_share: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Logits (count, 1) around -2 and 1 with spread 1.5, and whether the class is present."""
    rng = np.random.default_rng(seed)
    there = rng.random((count, 1)) < present_share
    return np.where(there, 1.0, -2.0) + 1.5 * rng.standard_normal(there.shape), there


class TestCalibration:
    @given(calibrations)
    def test_the_ratio_is_that_of_the_densities(self, one: Calibration) -> None:
        there, elsewhere = (norm.pdf(LOGITS, mean, one.spread) for mean in (one.present, one.absent))
        # A classifier that is surer of a class where it is not says nothing, rather than the contrary.
        expected = there / elsewhere if one.present > one.absent else np.ones_like(LOGITS)
        # Beyond a likelihood ratio of e^20 the densities themselves leave the range of numbers.
        clear = np.abs(one.log_ratio(LOGITS)) < 19
        np.testing.assert_allclose(one.ratio(LOGITS)[clear], expected[clear], rtol=1e-6)

    @given(calibrations)
    def test_a_higher_logit_never_speaks_against_a_class(self, one: Calibration) -> None:
        for values in (one.ratio(LOGITS), one.probability(LOGITS)):
            assert (np.diff(values) >= 0).all() and np.isfinite(values).all()

    @given(calibrations)
    def test_the_probability_follows_from_the_ratio_by_bayes(self, one: Calibration) -> None:
        odds = one.ratio(LOGITS) * one.base / (1 - one.base)
        np.testing.assert_allclose(one.probability(LOGITS), odds / (1 + odds), rtol=1e-9)


@pytest.mark.parametrize("changes", [{"spread": 0.0}, {"base": 0.0}, {"base": 1.0}, {"present": float("nan")}])
def test_what_means_nothing_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="means nothing"):
        Calibration(**{"absent": -1.0, "present": 1.0, "spread": 1.0, "base": 0.5, **changes})


class TestCalibrate:
    def test_as_discriminant_analysis(self) -> None:
        logits, there = draw(0, 5000)
        found = calibrate(logits, there, ~there, SETTINGS)[0]
        oracle = LinearDiscriminantAnalysis().fit(logits, there[:, 0])
        expected = oracle.predict_proba(LOGITS[:, None])[:, 1]
        np.testing.assert_allclose(found.probability(LOGITS), expected, atol=0.03)
        assert found.present == pytest.approx(1.0, abs=0.1) and found.absent == pytest.approx(-2.0, abs=0.1)
        assert found.spread == pytest.approx(1.5, abs=0.1) and found.base == pytest.approx(0.3, abs=0.02)

    def test_weights_are_counts(self) -> None:
        logits, there = draw(1, 300)
        twice = np.vstack([logits, logits])
        weighted = calibrate(logits, 2.0 * there, 2.0 * ~there, SETTINGS)
        assert np.allclose(
            list(vars(weighted[0]).values()),
            list(vars(calibrate(twice, np.vstack([there, there]), ~np.vstack([there, there]), SETTINGS)[0]).values()),
        )

    def test_few_are_believed_to_be_like_all_others(self) -> None:
        """Four logits of a class say little about their spread."""
        logits, there = draw(2, 400)
        wider = 3.0 * logits[:4]
        weights = np.zeros((400, 2))
        weights[:, 0] = 1.0
        weights[:4, 1] = 1.0
        both = np.hstack([logits, np.vstack([wider, np.zeros((396, 1))])])
        told = np.hstack([there, there])
        many, few = calibrate(both, weights * told, weights * ~told, SETTINGS)
        alone = np.std(np.where(there[:4], wider - wider[there[:4]].mean(), wider - wider[~there[:4]].mean()))
        assert few.spread == pytest.approx(many.spread, rel=0.3) and alone > 2 * many.spread

    def test_nothing_at_all(self) -> None:
        found = calibrate(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros((0, 2)), SETTINGS)
        assert len(found) == 2 and all(np.isfinite(list(vars(one).values())).all() for one in found)


def test_in_parts_to_the_last_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    logits, holding, lacking = rng.standard_normal((1000, 3)).astype(np.float32), *rng.random((2, 1000, 3))
    whole = calibrate(logits, holding, lacking, SETTINGS)
    monkeypatch.setattr(calibration, "_ROWS_AT_ONCE", 77)
    assert calibrate(logits, holding, lacking, SETTINGS) == whole
