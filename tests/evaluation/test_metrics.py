"""Agreement and ranking metrics against scikit-learn, and by hand where that is undefined."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from restem.evaluation.metrics import agreement, auroc, average_precision, ratio

CLASSES = ("vocals", "drums", "bass", "other")


@pytest.mark.parametrize("seed", range(8))
def test_agreement_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stems = int(rng.integers(1, 60))
    # From sparse to dense, so that some classes are never labelled or never there.
    labelled, true = (rng.random((stems, len(CLASSES))) < rng.random() for _ in range(2))
    result = agreement(labelled, true, CLASSES)
    assert result.label_accuracy == pytest.approx(1 - sk.hamming_loss(true, labelled))
    assert result.exact_accuracy == pytest.approx(sk.accuracy_score(true, labelled))
    assert result.macro_f1 == pytest.approx(sk.f1_score(true, labelled, average="macro", zero_division=0))
    for i, one in enumerate(result.classes):
        pair = true[:, i], labelled[:, i]
        assert one.name == CLASSES[i]
        assert (one.present, one.labelled) == (pair[0].sum(), pair[1].sum())
        assert one.accuracy == pytest.approx(sk.accuracy_score(*pair))
        assert one.f1 == pytest.approx(sk.f1_score(*pair, zero_division=0))
        for ours, theirs in ((one.precision, sk.precision_score), (one.recall, sk.recall_score)):
            expected = theirs(*pair, zero_division=np.nan)
            assert ours is None if np.isnan(expected) else ours == pytest.approx(expected)


def test_agreement_by_hand() -> None:
    true = np.array([[1, 0], [1, 1], [0, 0]], dtype=bool)
    labelled = np.array([[1, 0], [1, 0], [0, 1]], dtype=bool)
    result = agreement(labelled, true, ("drums", "bass"))
    assert result.label_accuracy == pytest.approx(4 / 6)
    assert result.exact_accuracy == pytest.approx(1 / 3)
    assert result.macro_f1 == pytest.approx(0.5)
    assert [one.recall for one in result.classes] == [1, 0]


def test_agreement_refuses_what_does_not_fit() -> None:
    flags = np.zeros((3, 2), dtype=bool)
    for labelled, true, names in (
        (flags, flags[:2], ("a", "b")),
        (flags, flags, ("a",)),
        (flags[:0], flags[:0], ("a", "b")),
    ):
        with pytest.raises(ValueError, match="expected two arrays"):
            agreement(labelled, true, names)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40))
def test_ranking_with_ties_is_scikit_learns(items: list[tuple[bool, int]]) -> None:
    positive = np.array([one for one, _ in items])
    score = np.array([value / 6 for _, value in items])
    if positive.all() or not positive.any():
        assert auroc(positive, score) is None
        assert average_precision(positive, score) is None
        return
    assert auroc(positive, score) == pytest.approx(sk.roc_auc_score(positive, score))
    assert average_precision(positive, score) == pytest.approx(sk.average_precision_score(positive, score))


def test_ranking_knows_nothing_when_all_scores_are_the_same() -> None:
    positive = np.array([True, False, False, True, False])
    score = np.full(5, 0.3)
    assert auroc(positive, score) == 0.5
    assert average_precision(positive, score) == pytest.approx(2 / 5)


def test_ranking_of_nothing() -> None:
    empty = np.zeros(0)
    assert auroc(empty.astype(bool), empty) is None
    assert average_precision(empty.astype(bool), empty) is None


def test_ratio() -> None:
    assert ratio(1, 4) == 0.25
    assert ratio(0, 0) is None
