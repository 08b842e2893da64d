"""What decisions teach about the other stems."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from restem.dataset.decided import Decided, Range
from restem.labelling.certain import groups_knowing, known_flags
from restem.labelling.deciding import calibrate, label_groups
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("drums", "bass"))


def test_nothing_known_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    scores, given = rng.random((60, 2)), rng.random((60, 2)) < 0.4
    groups = label_groups([str(i // 3) for i in range(60)], given)
    assert calibrate(scores, given, groups) == calibrate(scores, given, groups, np.full((60, 2), np.nan))


def test_known_truths_correct_what_scores_are_taken_to_mean() -> None:
    """Scores that are the truth turned round: given labels alone make the fit believe in them, known stems do not."""
    rng = np.random.default_rng(1)
    true = rng.random((400, 1)) < 0.4
    evidence = np.where(true, 1.5, -1.5) + rng.standard_normal(true.shape)
    scores = expit(evidence + 2.0)  # far too high
    given = true ^ (rng.random(true.shape) < 0.1)
    groups = np.where(given, 0, 2)
    known = np.where(np.arange(400)[:, None] < 100, true, np.nan)
    plain, told = (calibrate(scores, given, groups, one)[0] for one in (None, known))
    error = [np.abs(one.present(scores[100:, 0]) - true[100:, 0]).mean() for one in (plain, told)]
    assert error[1] < error[0] + 0.005
    # The rates of wrong labels are learned from stems where both are known.
    assert abs(told.missing - 0.1) <= abs(plain.missing - 0.1) + 0.02


def test_only_what_was_said_is_known() -> None:
    drums, bass = frozenset({"drums"}), frozenset({"bass"})
    decided = {"a": Decided(drums), "b": Decided(None, True), "c": Decided(None, False, (Range(0, 1, bass),))}
    known = known_flags(["a", "b", "c", "d"], decided, TAXONOMY)
    np.testing.assert_array_equal(known, [[1, 0], [np.nan] * 2, [np.nan, 1], [np.nan] * 2])


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([[np.nan, np.nan], [np.nan, np.nan]], [[0, 1], [1, 0]]),
        ([[1, 1], [np.nan, np.nan]], [[0, 1], [1, 0]]),
        ([[np.nan, np.nan], [np.nan, 0]], [[0, 2], [1, 0]]),  # nobody has the bass after all
    ],
)
def test_a_song_has_what_was_found_in_it(known: list[list[float]], expected: list[list[int]]) -> None:
    given = np.array([[True, False], [False, True]])
    np.testing.assert_array_equal(groups_knowing(["s", "s"], given, np.array(known, float)), expected)
