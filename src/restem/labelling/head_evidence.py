"""What heads say about the stems of a dataset: heads on the embeddings of an encoder, or of the pretrained classifier.

Heads that were fitted to generated songs have heard no recording of the dataset. They score every stem, the decision
says what is believed of the stems, and heads are fitted again to that: out of fold, each on the stems of other songs,
and taught probabilities in place of labels. The logits of both are averaged. Heads that are fitted to wrong labels
directly memorise them; what is believed after a decision has few wrong ones left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit, logit

from restem.audio.entries import Source
from restem.audio.stored import PickedRows, Rows, StoredArray
from restem.labelling.encoders.store import EmbeddingStore
from restem.labelling.heads import Heads, head_inputs
from restem.labelling.segments import pool_scores

ROUNDS = 2
"""How often heads are fitted to what is believed of the stems; a third time changes nothing."""

# More teach nothing new, and take memory.
_MOST_SEGMENTS = 20_000
_LEAST_SCORE = 1e-5


@dataclass(frozen=True, eq=False)
class HeadEvidence:
    """The inputs of heads, and the pretrained ones.

    inputs: (segment, input) float16, read when asked for. stem: (segment,) index of the stem. heads: for other classes
    than those of the dataset, too. classes: those of the dataset. fold: (stem,). quantile: the score of a stem is this
    quantile of the scores of its segments. alone: whether they are all the evidence there is about stems; else they are
    averaged with the scores of classifiers.
    """

    inputs: Rows
    stem: np.ndarray
    heads: Heads
    classes: tuple[str, ...]
    fold: np.ndarray
    quantile: float
    alone: bool
    seed: int = 0

    def scores(self, believed: np.ndarray | None, classifiers: np.ndarray | None) -> np.ndarray:
        """(stem, class) scores in [0, 1].

        believed: (stem, class) P(present), to fit heads to, NaN for stems not to learn from; without it, the pretrained
        ones are asked. classifiers: (stem, class) scores to be averaged with; not needed by heads that are `alone`.
        """
        known = self.heads.of(self.classes).logits(self.inputs) if self._known else None
        parts = [one for one in (known, None if believed is None else self._relearnt(believed)) if one is not None]
        if not parts:
            return _checked(classifiers)
        scores = self._pooled(np.mean(parts, axis=0))
        if self.alone:
            return scores
        both = [_logit(one) for one in (scores, _checked(classifiers))]
        return np.asarray(expit(np.mean(both, axis=0)))

    @property
    def _known(self) -> bool:
        return set(self.classes) <= set(self.heads.classes)

    def _relearnt(self, believed: np.ndarray) -> np.ndarray:
        """(segment, class) logits of heads that were fitted to other songs."""
        logits = np.zeros((len(self.inputs), len(self.classes)), np.float32)
        segment_fold, teaches = self.fold[self.stem], np.isfinite(believed).all(axis=1)[self.stem]
        for fold in range(int(self.fold.max()) + 1):
            inside = segment_fold == fold
            taught = np.flatnonzero(teaches & (inside if inside.all() else ~inside))
            if len(taught) > _MOST_SEGMENTS:
                rng = np.random.default_rng([self.seed, 0x4EAD, fold])
                taught = np.sort(rng.choice(taught, _MOST_SEGMENTS, replace=False))
            inputs = PickedRows(self.inputs, taught)[:]
            heads = self.heads.relearnt(self.classes, inputs, believed[self.stem[taught]])
            logits[inside] = heads.logits(PickedRows(self.inputs, np.flatnonzero(inside)))
        return logits

    def _pooled(self, logits: np.ndarray) -> np.ndarray:
        scores = pool_scores(expit(logits), self.stem, len(self.fold), self.quantile)
        # Of a stem that they did not hear, they say nothing.
        unheard = np.bincount(self.stem, minlength=len(self.fold)) == 0
        scores[unheard] = 0.5
        return scores


def encoder_evidence(
    store: EmbeddingStore,
    sources: Sequence[Source],
    heads: Heads,
    classes: tuple[str, ...],
    fold: np.ndarray,
    quantile: float,
    *,
    alone: bool,
    seed: int,
    aside: Path,
) -> HeadEvidence:
    """The evidence of an encoder about stems whose embeddings are in `store`; arguments as those of `HeadEvidence`.

    aside: a file for the inputs of the heads, of which there may be more than fit into memory.
    """
    counts, size = [], 0
    aside.parent.mkdir(parents=True, exist_ok=True)
    with aside.open("wb") as file:
        for source in sources:
            inputs = head_inputs(store.require(source).embeddings[:])
            file.write(np.ascontiguousarray(inputs).data)
            counts.append(len(inputs))
            size = inputs.shape[1]
    stem = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    stored = StoredArray(aside, np.float16, 0, (len(stem), size))
    return HeadEvidence(stored, stem, heads, classes, fold, quantile, alone, seed)


def _checked(classifiers: np.ndarray | None) -> np.ndarray:
    if classifiers is None:
        raise ValueError("Heads that are not alone need the scores of classifiers.")
    return classifiers


def _logit(scores: np.ndarray) -> np.ndarray:
    return np.asarray(logit(np.clip(scores, _LEAST_SCORE, 1.0 - _LEAST_SCORE)))
