from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from restem.audio.store import Store, from_bfloat16
from restem.errors import RestemError
from restem.labelling.classifier import ClassifierConfig, load_classifier, save_classifier
from restem.labelling.mixing import SegmentPool
from restem.labelling.scoring import ScoringTask, score_segments
from restem.labelling.segments import pool_scores

LENGTH = 50


@pytest.fixture
def task(tmp_path: Path, pool: tuple[Store, SegmentPool], config: ClassifierConfig) -> ScoringTask:
    """More segments than go through the classifier at once, in no order, some past the end of their stem."""
    _, whole = pool
    torch.manual_seed(0)
    save_classifier(tmp_path / "classifier", config.build())
    rng = np.random.default_rng(0)
    stem, start = rng.integers(0, len(whole.stems), 300), rng.integers(0, 190, 300)
    return ScoringTask(tmp_path / "classifier", whole.stems, stem, start, LENGTH, ("tone", "noise"))


def test_logits_are_what_the_classifier_says_of_each_segment(task: ScoringTask) -> None:
    logits = score_segments(task)
    assert logits.shape == (300, 2) and logits.dtype == np.float32
    classifier = load_classifier(task.folder)
    for index in range(0, 300, 37):
        power = from_bfloat16(task.stems[task.stem[index]][:])
        padded = np.concatenate([power, np.zeros((LENGTH, power.shape[1]), np.float32)])
        segment = padded[task.start[index] : task.start[index] + LENGTH]
        with torch.inference_mode():
            expected = classifier(torch.from_numpy(segment)[None])[0].numpy()
        np.testing.assert_allclose(logits[index], expected, rtol=1e-3, atol=1e-4)


def test_the_same_twice(task: ScoringTask) -> None:
    np.testing.assert_array_equal(score_segments(task), score_segments(task))


def test_no_segments(task: ScoringTask) -> None:
    nothing = np.zeros(0, np.int64)
    empty = ScoringTask(task.folder, task.stems, nothing, nothing, LENGTH, ("tone", "noise"))
    assert score_segments(empty).shape == (0, 2)


def test_classifier_that_has_gone(task: ScoringTask) -> None:
    (task.folder / "model.safetensors").unlink()
    with pytest.raises(RestemError, match="holds no classifier"):
        score_segments(task)


def test_features_that_have_gone(task: ScoringTask, pool: tuple[Store, SegmentPool], tmp_path: Path) -> None:
    pool[0].entry((tmp_path / "stems" / "3.wav", 0)).unlink()
    with pytest.raises(RestemError, match=r"\.mel: has gone; run the command again"):
        score_segments(task)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1), st.floats(0, 1)), max_size=40), st.floats(0, 1))
def test_pooling_is_a_quantile_of_each_stem(segments: list[tuple[int, float, float]], quantile: float) -> None:
    stem = np.array([one[0] for one in segments], np.int64)
    scores = np.array([one[1:] for one in segments], np.float32).reshape(-1, 2)
    pooled = pool_scores(scores, stem, 6, quantile)
    assert pooled.shape == (6, 2)
    for number in range(6):
        for column in range(2):
            mine = [score[column] for which, score in zip(stem, scores, strict=True) if which == number]
            expected = np.quantile(mine, quantile) if mine else 0.0
            assert pooled[number, column] == pytest.approx(expected, abs=1e-6)


def test_a_class_that_rests_for_most_of_a_stem_is_found() -> None:
    scores = np.zeros((10, 1))
    scores[7:] = 0.9
    assert pool_scores(scores, np.zeros(10, np.int64), 1, 0.8)[0, 0] > 0.85
    assert scores.mean() < 0.3
