from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from restem.separation.disjoint_sampler import DisjointSampler

flags = st.integers(1, 4).flatmap(lambda classes: arrays(bool, st.tuples(st.integers(1, 6), st.just(classes))))


def best_covers(flags: np.ndarray) -> tuple[int, set[int]]:
    """By trying all subsets: the most classes disjoint candidates cover, and the candidates in such covers."""
    best, members = 0, set()
    for size in range(1, flags.shape[1] + 1):
        for chosen in combinations(np.flatnonzero(flags.any(axis=1)).tolist(), size):
            counts = flags[list(chosen)].sum(axis=0)
            if (counts <= 1).all():
                if counts.sum() > best:
                    best, members = int(counts.sum()), set()
                if counts.sum() == best:
                    members.update(chosen)
    return best, members


@given(flags, st.integers(0, 2**32))
def test_disjoint_and_as_wide_as_can_be(flags: np.ndarray, seed: int) -> None:
    drawn = DisjointSampler(flags).draw(np.random.default_rng(seed))
    counts = flags[drawn].sum(axis=0)
    assert len(set(drawn)) == len(drawn)
    assert (counts <= 1).all() and all(flags[one].any() for one in drawn)
    assert counts.sum() == best_covers(flags)[0]
    assert drawn == DisjointSampler(flags).draw(np.random.default_rng(seed))


@settings(max_examples=30)
@given(flags)
def test_whatever_helps_is_drawn_sooner_or_later(flags: np.ndarray) -> None:
    covers, generator = DisjointSampler(flags), np.random.default_rng(0)
    drawn = {one for _ in range(400) for one in covers.draw(generator)}
    assert drawn == best_covers(flags)[1]


def test_greed_would_leave_a_class_out() -> None:
    """`a+c` covers more than `a`, but then nothing goes with `b+c`."""
    flags = np.array([[1, 0, 0], [0, 1, 1], [1, 0, 1]], bool)
    for seed in range(20):
        assert set(DisjointSampler(flags).draw(np.random.default_rng(seed))) == {0, 1}


def test_single_labels_are_one_each() -> None:
    flags = np.eye(16, dtype=bool)[np.arange(100_000) % 16]
    generator = np.random.default_rng(0)
    covers = DisjointSampler(flags)
    counts = np.zeros(len(flags), int)
    for _ in range(50):
        drawn = covers.draw(generator)
        assert flags[drawn].sum(axis=0).tolist() == [1] * 16
        counts[drawn] += 1
    assert counts.max() <= 3  # of 6250 stems of a class, none is preferred


def test_weights() -> None:
    """Of three stems of one class, drawn in the proportion of their weights."""
    covers, generator = DisjointSampler(np.ones((3, 1), bool), np.array([1.0, 3.0, 6.0])), np.random.default_rng(0)
    counts = np.bincount([covers.draw(generator)[0] for _ in range(4000)], minlength=3)
    assert np.abs(counts / 4000 - [0.1, 0.3, 0.6]).max() < 0.03


def test_nothing_to_draw() -> None:
    assert DisjointSampler(np.zeros((3, 4), bool)).draw(np.random.default_rng(0)) == []
