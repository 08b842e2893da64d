"""What heads say about stems: out of fold, alone or beside classifiers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from restem.labelling.head_evidence import HeadEvidence
from restem.labelling.heads import Heads
from restem.labelling.segments import pool_scores

CLASSES = ("a", "b")
STEMS, SEGMENTS, SIZE = 24, 5, 6
QUANTILE = 0.9


def evidence(*, known: bool = True, alone: bool = True) -> tuple[HeadEvidence, np.ndarray]:
    """Stems of two kinds, which lie apart in one direction; pretrained heads know another direction. And the truth."""
    rng = np.random.default_rng(0)
    stem = np.repeat(np.arange(STEMS), SEGMENTS)
    true = np.eye(2)[np.arange(STEMS) % 2]
    inputs = rng.standard_normal((len(stem), SIZE))
    inputs[:, 0] += 6.0 * (true[stem, 0] - 0.5)
    weights = np.zeros((SIZE, 2))
    weights[1] = (0.3, -0.3)
    heads = Heads(CLASSES, np.zeros(SIZE), np.ones(SIZE), weights, np.zeros(2), penalty=1.0)
    heads = heads if known else heads.of(())
    fold = np.arange(STEMS) // 8
    return HeadEvidence(inputs.astype(np.float16), stem, heads, CLASSES, fold, QUANTILE, alone), true


def test_learns_from_what_is_believed() -> None:
    heads, true = evidence()
    believed = 0.1 + 0.8 * true
    believed[:3] = 1.0 - believed[:3]  # a few of it is wrong
    before, after = ((heads.scores(one, None) > 0.5) == (true > 0.5) for one in (None, believed))
    assert before.all(axis=1).mean() < 0.5
    assert after.all(axis=1).mean() > 0.9


def test_stems_of_which_nothing_is_believed_are_scored_and_teach_nothing() -> None:
    heads, true = evidence()
    unknown = np.arange(STEMS) % 3 == 0
    believed = np.where(unknown[:, None], np.nan, true)
    mine = ~unknown[heads.stem]
    others = replace(heads, inputs=heads.inputs[mine], stem=heads.stem[mine])
    found = heads.scores(believed, None)
    np.testing.assert_array_equal(found[~unknown], others.scores(true, None)[~unknown])
    assert ((found > 0.5) == (true > 0.5)).all(axis=1)[unknown].mean() > 0.8


def test_a_stem_is_scored_by_heads_that_were_not_taught_its_fold() -> None:
    heads, true = evidence()
    before = heads.scores(true, None)
    other = true.copy()
    other[heads.fold == 1] = 1.0 - other[heads.fold == 1]
    after = heads.scores(other, None)
    np.testing.assert_array_equal(after[heads.fold == 1], before[heads.fold == 1])
    assert (after[heads.fold != 1] != before[heads.fold != 1]).any()


def test_both_logits_are_averaged_over_the_segments_of_a_stem() -> None:
    heads, true = evidence()
    pretrained = heads.heads.logits(heads.inputs)
    expected = pool_scores(expit(pretrained), heads.stem, STEMS, QUANTILE)
    np.testing.assert_allclose(heads.scores(None, None), expected)
    unknown, _ = evidence(known=False)
    relearnt = unknown.scores(true, None)
    both = heads.scores(true, None)
    assert not np.allclose(both, relearnt) and not np.allclose(both, expected)


def test_beside_classifiers() -> None:
    heads, _ = evidence(alone=False)
    alone, _ = evidence()
    classifiers = np.random.default_rng(1).uniform(0.1, 0.9, (STEMS, 2))
    expected = expit((logit(alone.scores(None, None)) + logit(classifiers)) / 2)
    np.testing.assert_allclose(heads.scores(None, classifiers), expected)


def test_without_pretrained_heads_classifiers_speak_first() -> None:
    heads, true = evidence(known=False, alone=False)
    classifiers = np.random.default_rng(1).uniform(0.1, 0.9, (STEMS, 2))
    np.testing.assert_array_equal(heads.scores(None, classifiers), classifiers)
    assert not np.allclose(heads.scores(true, classifiers), classifiers)
    with pytest.raises(ValueError, match="need the scores"):
        heads.scores(None, None)


def test_of_a_stem_without_segments_nothing_is_said() -> None:
    heads, true = evidence()
    heard = heads.stem != 4
    some = HeadEvidence(heads.inputs[heard], heads.stem[heard], heads.heads, CLASSES, heads.fold, QUANTILE, True)
    assert (some.scores(true, None)[4] == 0.5).all()
    assert (some.scores(None, None)[4] == 0.5).all()
