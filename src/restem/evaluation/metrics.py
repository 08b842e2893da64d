"""Agreement of two sets of labels, and ranking metrics, on plain arrays.

Everything here is defined as in scikit-learn, which the tests compare with; restem itself does not need it.
An undefined ratio (0 / 0) is None, never a number that looks like a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class ClassAgreement:
    """One class, over all stems, as a yes-or-no decision.

    name: the class.
    present: stems that truly hold it.
    labelled: stems that are labelled with it.
    accuracy: share of stems for which "holds it" was decided correctly.
    precision: of the stems labelled with it, the share that hold it; None if none is labelled.
    recall: of the stems that hold it, the share labelled with it; None if none holds it.
    f1: harmonic mean of the two; 0 where it is undefined (scikit-learn's `zero_division=0`).
    """

    name: str
    present: int
    labelled: int
    accuracy: float
    precision: float | None
    recall: float | None
    f1: float


@dataclass(frozen=True)
class Agreement:
    """How well label sets agree with the truth.

    label_accuracy: share of stem x class decisions that are right (1 - Hamming loss).
    exact_accuracy: share of stems whose whole label set is right.
    macro_f1: mean of the classes' F1. A class that no stem holds and none is labelled with counts as 0, as in
        scikit-learn: restrict the taxonomy to the classes a dataset has before comparing across datasets.
    """

    label_accuracy: float
    exact_accuracy: float
    macro_f1: float
    classes: tuple[ClassAgreement, ...]


def agreement(labelled: Flags, true: Flags, class_names: Sequence[str]) -> Agreement:
    """Compares labels with the truth.

    labelled, true: (stem, class), at least one stem.

    Raises ValueError for arrays of different shapes or without stems.
    """
    if labelled.shape != true.shape or labelled.shape[1:] != (len(class_names),) or not len(labelled):
        raise ValueError(f"expected two arrays (stem, {len(class_names)}), got {labelled.shape} and {true.shape}")
    right = labelled == true
    classes = tuple(_class_agreement(name, labelled[:, i], true[:, i]) for i, name in enumerate(class_names))
    return Agreement(
        label_accuracy=float(right.mean()),
        exact_accuracy=float(right.all(axis=1).mean()),
        macro_f1=float(np.mean([one.f1 for one in classes])),
        classes=classes,
    )


def _class_agreement(name: str, labelled: Flags, true: Flags) -> ClassAgreement:
    both, n_labelled, n_true = int((labelled & true).sum()), int(labelled.sum()), int(true.sum())
    return ClassAgreement(
        name=name,
        present=n_true,
        labelled=n_labelled,
        accuracy=float((labelled == true).mean()),
        precision=ratio(both, n_labelled),
        recall=ratio(both, n_true),
        f1=ratio(2 * both, n_labelled + n_true) or 0.0,
    )


def ratio(part: float, whole: float) -> float | None:
    """`part / whole`, or None where that is undefined."""
    return part / whole if whole else None


def auroc(positive: Flags, score: NDArray[np.float64]) -> float | None:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half.

    positive, score: (item,). None when all items are of one kind.

    The Mann-Whitney form: with ranks r (ties averaged) among n items, of which p are positive,
    AUROC = (sum of r over the positives - p (p + 1) / 2) / (p (n - p)).
    """
    p, n = int(positive.sum()), len(positive)
    if p in (0, n):
        return None
    ranks = rankdata(score)
    return float((ranks[positive].sum() - p * (p + 1) / 2) / (p * (n - p)))


def average_precision(positive: Flags, score: NDArray[np.float64]) -> float | None:
    """Sum over the distinct thresholds, from high to low, of (recall gained there) x (precision there).

    positive, score: (item,). Items with the same score enter together, so their order does not matter.
    None when all items are of one kind: without positives it is undefined, without negatives it is always 1.
    """
    p, n = int(positive.sum()), len(positive)
    if p in (0, n):
        return None
    order = np.argsort(-score, kind="stable")
    found = np.cumsum(positive[order])
    # The last item of each group of equal scores.
    ends = np.append(np.flatnonzero(np.diff(score[order])), n - 1)
    precision = found[ends] / (ends + 1)
    recall_gain = np.diff(found[ends], prepend=0) / p
    return float((precision * recall_gain).sum())
