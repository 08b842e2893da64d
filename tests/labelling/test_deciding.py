"""Simulated stems with known truth, known rates of wrong labels, and scores whose meaning is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit

from restem.labelling.deciding import CHANGE_ABOVE, DOUBT_ABOVE, Calibration, calibrate, decide

CLASSES = 4


@dataclass(frozen=True)
class Simulated:
    """(stem, class) each. present: P(present | score), in closed form."""

    true: np.ndarray
    given: np.ndarray
    scores: np.ndarray
    present: np.ndarray


def simulate(
    seed: int, stems: int, missing: float = 0.15, extra: float = 0.04, distance: float = 2.0, share: float = 0.3
) -> Simulated:
    """Evidence is normal around +distance where a class is present and around -distance where not, spread 1.5.

    The score is the sigmoid of half the evidence: too cautious by a factor, so that it has to be calibrated.
    """
    rng = np.random.default_rng(seed)
    true = rng.random((stems, CLASSES)) < share
    wrong = rng.random(true.shape) < np.where(true, missing, extra)
    evidence = np.where(true, distance, -distance) + 1.5 * rng.standard_normal(true.shape)
    log_odds = 2 * distance * evidence / 1.5**2 + logit(share)
    return Simulated(true, true ^ wrong, expit(evidence / 2), expit(log_odds))


def accuracy(labels: np.ndarray, true: np.ndarray) -> float:
    return float(np.mean(labels == true))


def calibration_error(probability: np.ndarray, true: np.ndarray) -> float:
    """The expected calibration error over ten bins (Naeini et al., AAAI 2015)."""
    bins = np.minimum((10 * probability).astype(int), 9)
    return sum(
        np.mean(bins == one) * abs(probability[bins == one].mean() - true[bins == one].mean()) for one in np.unique(bins)
    )


class TestCalibrate:
    @pytest.mark.parametrize("seed", range(3))
    def test_recovers_what_scores_mean(self, seed: int) -> None:
        data = simulate(seed, 2000)
        found = calibrate(data.scores, data.given)
        assert len(found) == CLASSES
        for index, calibration in enumerate(found):
            probability = calibration.present(data.scores[:, index])
            assert np.abs(probability - data.present[:, index]).mean() < 0.03
            assert calibration_error(probability, data.true[:, index]) < 0.04
            assert calibration.missing == pytest.approx(0.15, abs=0.05)
            assert calibration.extra == pytest.approx(0.04, abs=0.02)

    @pytest.mark.parametrize("missing", [0.0, 0.1, 0.3])
    def test_both_witnesses_together_are_calibrated(self, missing: float) -> None:
        data = simulate(3, 2000, missing=missing, distance=1.0)
        decisions = decide(data.scores, data.given, calibrate(data.scores, data.given))
        assert calibration_error(decisions.probabilities.ravel(), data.true.ravel()) < 0.04

    def test_needs_few_stems(self) -> None:
        errors = []
        for seed in range(10):
            data = simulate(seed, 60)
            found = calibrate(data.scores, data.given)
            probability = np.stack([one.present(data.scores[:, index]) for index, one in enumerate(found)], axis=1)
            errors.append(np.abs(probability - data.present).mean())
        assert np.mean(errors) < 0.08

    def test_order_of_stems_does_not_matter(self) -> None:
        data = simulate(0, 100)
        order = np.random.default_rng(1).permutation(100)
        for one, other in zip(
            calibrate(data.scores, data.given), calibrate(data.scores[order], data.given[order]), strict=True
        ):
            scores = np.linspace(0, 1, 11)
            np.testing.assert_allclose(one.present(scores), other.present(scores), atol=0.01)


class TestDecide:
    @pytest.mark.parametrize("seed", range(5))
    def test_better_than_given(self, seed: int) -> None:
        data = simulate(seed, 400)
        decisions = decide(data.scores, data.given, calibrate(data.scores, data.given))
        before, after = accuracy(data.given, data.true), accuracy(decisions.refined, data.true)
        assert before < 0.94 and after > 0.97

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("stems", [40, 400])
    def test_scores_that_mean_nothing_change_nothing(self, seed: int, stems: int) -> None:
        data = simulate(seed, stems)
        scores = np.random.default_rng(seed + 100).random(data.given.shape)
        decisions = decide(scores, data.given, calibrate(scores, data.given))
        assert np.mean(decisions.refined != data.given) < 0.01
        assert accuracy(decisions.refined, data.true) > accuracy(data.given, data.true) - 0.01

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("distance", [0.2, 0.5, 1.0])
    def test_weak_scores_do_no_harm(self, seed: int, distance: float) -> None:
        data = simulate(seed, 100, missing=0.1, extra=0.03, distance=distance)
        decisions = decide(data.scores, data.given, calibrate(data.scores, data.given))
        assert accuracy(decisions.refined, data.true) > accuracy(data.given, data.true) - 0.011

    def test_clean_labels_stay(self) -> None:
        data = simulate(0, 200, missing=0.0, extra=0.0)
        decisions = decide(data.scores, data.given, calibrate(data.scores, data.given))
        assert accuracy(decisions.refined, data.true) > 0.985

    def test_quality_ranks_wrong_stems_low(self) -> None:
        data = simulate(0, 400)
        quality = decide(data.scores, data.given, calibrate(data.scores, data.given)).quality
        wrong = (data.given != data.true).any(axis=1)
        # The probability that a wrong stem has less quality than a right one.
        auroc = np.mean(quality[wrong][:, None] < quality[~wrong])
        assert auroc > 0.95
        assert ((quality >= 0) & (quality <= 1)).all()


PLAIN = Calibration(slope=1.0, offset=0.0, missing=0.1, extra=0.05)
ONE_GIVEN = np.array([[True, False, False, False]])


def decide_one(scores: list[float], given: np.ndarray = ONE_GIVEN):  # noqa: ANN201
    return decide(np.array([scores]), given, [PLAIN] * CLASSES)


class TestVerdicts:
    def test_kept(self) -> None:
        decisions = decide_one([0.98, 0.01, 0.01, 0.01])
        assert decisions.verdicts == ("kept",)
        np.testing.assert_array_equal(decisions.refined, ONE_GIVEN)
        assert decisions.quality[0] > 0.95

    def test_moved(self) -> None:
        decisions = decide_one([0.001, 0.999, 0.01, 0.01])
        assert decisions.verdicts == ("changed",)
        np.testing.assert_array_equal(decisions.refined, [[False, True, False, False]])
        assert decisions.quality[0] < 0.1

    def test_added(self) -> None:
        decisions = decide_one([0.99, 0.999, 0.01, 0.01])
        assert decisions.verdicts == ("changed",)
        np.testing.assert_array_equal(decisions.refined, [[True, True, False, False]])

    def test_unsure_when_the_evidence_is_middling(self) -> None:
        """A score is looked for at which a second class is as likely as not, given that it is not on the label."""
        for wanted in (DOUBT_ABOVE + 0.02, (DOUBT_ABOVE + CHANGE_ABOVE) / 2, CHANGE_ABOVE - 0.02):
            grid = np.linspace(0.01, 0.99, 5000)
            probability = PLAIN.present_given(grid, np.zeros(len(grid), bool))
            score = grid[np.argmin(np.abs(probability - wanted))]
            decisions = decide_one([0.98, score, 0.01, 0.01])
            assert decisions.verdicts == ("unsure",)
            np.testing.assert_array_equal(decisions.refined, ONE_GIVEN)

    def test_a_sounding_stem_is_not_left_without_any_label(self) -> None:
        decisions = decide_one([0.0, 0.0, 0.0, 0.0])
        np.testing.assert_array_equal(decisions.refined, ONE_GIVEN)
        assert decisions.verdicts == ("unsure",)

    @given(
        st.lists(st.floats(0, 1), min_size=CLASSES, max_size=CLASSES),
        st.lists(st.booleans(), min_size=CLASSES, max_size=CLASSES),
    )
    def test_always(self, scores: list[float], labels: list[bool]) -> None:
        given_labels = np.array([labels])
        decisions = decide_one(scores, given_labels)
        changed = (decisions.refined != given_labels).any()
        assert (decisions.verdicts[0] == "changed") == changed
        assert 0 <= decisions.quality[0] <= 1
        assert ((decisions.probabilities >= 0) & (decisions.probabilities <= 1)).all()
        if any(labels):
            assert decisions.refined.any()
        # What is changed is changed for a reason.
        flipped = decisions.refined != given_labels
        wrong = np.where(given_labels, 1 - decisions.probabilities, decisions.probabilities)
        assert (wrong[flipped] >= CHANGE_ABOVE).all()


calibrations = st.builds(
    Calibration, slope=st.floats(0.05, 7), offset=st.floats(-4, 4), missing=st.floats(0.002, 0.45),
    extra=st.floats(0.002, 0.45),
)  # fmt: skip


class TestMonotone:
    @given(calibrations, st.lists(st.floats(0, 1), min_size=2, max_size=20), st.booleans())
    def test_a_higher_score_never_speaks_against_a_class(
        self, calibration: Calibration, scores: list[float], label: bool
    ) -> None:
        rising = np.sort(scores)
        probability = calibration.present_given(rising, np.full(len(rising), label))
        assert (np.diff(probability) >= -1e-12).all()

    @given(calibrations, st.floats(0, 1))
    def test_a_given_label_never_speaks_against_a_class(self, calibration: Calibration, score: float) -> None:
        scores = np.array([score])
        with_label, without = (calibration.present_given(scores, np.array([label])) for label in (True, False))
        assert with_label >= without - 1e-12

    @given(calibrations, st.floats(0, 1), st.booleans())
    def test_bayes_rule(self, calibration: Calibration, score: float, label: bool) -> None:
        prior = float(calibration.present(np.array([score]))[0])
        likely = 1 - calibration.missing if label else calibration.missing
        unlikely = calibration.extra if label else 1 - calibration.extra
        expected = likely * prior / (likely * prior + unlikely * (1 - prior))
        found = calibration.present_given(np.array([score]), np.array([label]))[0]
        assert found == pytest.approx(expected, abs=1e-9)


class TestDegenerate:
    @pytest.mark.parametrize("stems", [1, 2, 30])
    @pytest.mark.parametrize("value", [0.0, 0.5, 1.0, None])
    @pytest.mark.parametrize("label", [False, True, None])
    def test_finite(self, stems: int, value: float | None, label: bool | None) -> None:
        rng = np.random.default_rng(0)
        scores = rng.random((stems, CLASSES)) if value is None else np.full((stems, CLASSES), value)
        labels = rng.random(scores.shape) < 0.3 if label is None else np.full(scores.shape, label)
        found = calibrate(scores, labels)
        decisions = decide(scores, labels, found)
        for one in found:
            assert np.isfinite([one.slope, one.offset, one.missing, one.extra]).all()
            assert one.slope > 0 and one.missing + one.extra < 1
        assert np.isfinite(decisions.probabilities).all() and np.isfinite(decisions.quality).all()
        assert decisions.refined.shape == scores.shape and decisions.refined.dtype == bool
        assert len(decisions.verdicts) == stems and {*decisions.verdicts} <= {"kept", "changed", "unsure"}

    def test_the_same_twice(self) -> None:
        data = simulate(0, 50)
        assert calibrate(data.scores, data.given) == calibrate(data.scores, data.given)

    def test_flags_may_be_numbers(self) -> None:
        data = simulate(0, 50)
        found = calibrate(data.scores, data.given)
        one, other = decide(data.scores, data.given, found), decide(data.scores, data.given.astype(int), found)
        np.testing.assert_array_equal(one.refined, other.refined)
