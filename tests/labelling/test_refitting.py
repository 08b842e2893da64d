"""What decisions teach about the other stems."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from restem.labelling.deciding import decide
from restem.labelling.known_labels import known_flags
from restem.runs.decided import Decided, Range
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("drums", "bass"))


def test_nothing_known_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    scores, given = rng.random((60, 2)), rng.random((60, 2)) < 0.4
    songs, nothing = [str(i // 3) for i in range(60)], np.full((60, 2), np.nan)
    plain, told = (decide(scores, given, songs, one) for one in (None, nothing))
    np.testing.assert_array_equal(plain.probabilities, told.probabilities)


def test_known_truths_correct_what_is_believed_of_labels() -> None:
    """Most labels are wrong, which nothing tells but stems whose truth is known."""
    rng = np.random.default_rng(1)
    true = rng.random((400, 1)) < 0.4
    scores = expit(np.where(true, 1.0, -1.0) + rng.standard_normal(true.shape))
    given = true ^ (rng.random(true.shape) < 0.6)
    known = np.where(np.arange(400)[:, None] < 100, true, np.nan)
    songs = [str(number) for number in range(400)]
    plain, told = (decide(scores, given, songs, one) for one in (None, known))
    errors = [np.abs(one.probabilities[100:] - true[100:]).mean() for one in (plain, told)]
    assert errors[1] < 0.8 * errors[0]
    np.testing.assert_allclose(told.probabilities[:100], true[:100], atol=1e-6)


def test_only_what_was_said_is_known() -> None:
    drums, bass = frozenset({"drums"}), frozenset({"bass"})
    decided = {"a": Decided(drums), "b": Decided(None, True), "c": Decided(None, False, (Range(0, 1, bass),))}
    known = known_flags(["a", "b", "c", "d"], decided, TAXONOMY)
    np.testing.assert_array_equal(known, [[1, 0], [np.nan] * 2, [np.nan, 1], [np.nan] * 2])


def test_what_is_known_of_one_stem_speaks_about_the_others_of_its_song() -> None:
    """Drums are given to the first of two stems; whether it holds them decides what is thought of the second."""
    given = np.array([[True, False], [False, True]])
    scores = np.array([[0.5, 0.5], [0.6, 0.5]])

    def drums_of_both(known_drums: float) -> np.ndarray:
        known = np.full((2, 2), np.nan)
        known[0, 0] = known_drums
        return decide(scores, given, ["s", "s"], known).probabilities[:, 0]

    unknown, there, not_there = (drums_of_both(value) for value in (np.nan, 1.0, 0.0))
    assert there[0] == pytest.approx(1.0, abs=1e-6) and not_there[0] == pytest.approx(0.0, abs=1e-6)
    assert there[1] <= unknown[1] < not_there[1] - 0.1
