"""Against the sum over all sets, one by one, and against the marginals that it must have."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from restem.labelling.label_sets import set_probability

SETS = np.array(list(product((False, True), repeat=4)))
probability = st.floats(0.0, 1.0)


def every_set(probabilities: list[float], nothing: float) -> np.ndarray:
    """(set,) P of each of the 16 sets of four classes."""
    return set_probability(np.tile(probabilities, (len(SETS), 1)), SETS, nothing)


@given(st.lists(probability, min_size=4, max_size=4), st.floats(0.001, 1.0))
def test_a_distribution_over_sets_with_the_given_marginals(probabilities: list[float], nothing: float) -> None:
    found = every_set(probabilities, nothing)
    assert (found >= 0).all() and found.sum() == pytest.approx(1.0, abs=1e-9)
    np.testing.assert_allclose(found @ SETS, probabilities, atol=1e-9)


@given(st.lists(probability, min_size=4, max_size=4))
def test_a_set_is_never_more_probable_than_one_of_its_classes(probabilities: list[float]) -> None:
    found = every_set(probabilities, 0.02)
    bound = np.where(SETS, probabilities, 1.0 - np.array(probabilities)).min(axis=1)
    assert (found <= bound + 1e-12).all()


@given(st.lists(st.floats(0.01, 0.99), min_size=4, max_size=4))
def test_independent_classes_of_a_stem_that_holds_something(independent: list[float]) -> None:
    """The sets are made one by one with a factor for the empty one; from their marginals they come back."""
    weights = np.where(SETS, independent, 1.0 - np.array(independent)).prod(axis=1)
    weights[0] *= 0.02
    expected = weights / weights.sum()
    np.testing.assert_allclose(every_set((expected @ SETS).tolist(), 0.02), expected, atol=1e-9)


def test_without_the_factor_the_classes_are_independent() -> None:
    found = every_set([0.9, 0.2, 0.5, 0.01], nothing=1.0)
    np.testing.assert_allclose(found, np.where(SETS, [0.9, 0.2, 0.5, 0.01], [0.1, 0.8, 0.5, 0.99]).prod(axis=1))


def test_what_is_known_is_certain() -> None:
    known = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(set_probability(known, known == 1), [1.0, 1.0])
    np.testing.assert_array_equal(set_probability(known, known == 0), [0.0, 0.0])
