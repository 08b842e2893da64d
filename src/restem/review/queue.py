"""Which stems to listen to first, and where in them.

A stem is the more doubtful the less probable it is that its refined labels are right as a whole. With P the scores in
`labels.csv`, the classes taken as independent, and a stem known to hold something:

    doubt = 1 - prod(P of the classes that are in, 1 - P of those that are not) / (1 - prod(1 - P))
"""

from __future__ import annotations

import numpy as np
import polars as pl

from restem.taxonomy import LabelSet, Taxonomy

# A loop gives the ear a little of what is around the stretch.
_AROUND_S = 0.5


def doubts(labels: pl.DataFrame, taxonomy: Taxonomy) -> np.ndarray:
    """(stem,) P(the refined label set is wrong), for rows of `labels.csv`; 0 for silent and failed stems."""
    flags = np.array([taxonomy.to_flags(taxonomy.parse(text)) for text in labels["refined"]], bool)
    flags = flags.reshape(len(labels), len(taxonomy))
    scores = labels.select(pl.col(list(taxonomy.classes)).fill_null(0.0)).to_numpy()
    right = np.where(flags, scores, 1.0 - scores).prod(axis=1)
    something = 1.0 - (1.0 - scores).prod(axis=1)
    # Nothing found in a stem that sounds cannot be right.
    right = np.where(flags.any(axis=1), np.minimum(1.0, right / np.maximum(something, 1e-12)), 0.0)
    return np.where(labels["verdict"].is_in(["silent", "failed"]).to_numpy(), 0.0, 1.0 - right)


def order(doubt: np.ndarray, settled: np.ndarray) -> np.ndarray:
    """The rows of the stems, most doubtful first; those flagged in `settled` last. Both are (stem,)."""
    rows: np.ndarray = np.lexsort((np.arange(len(doubt)), -doubt, settled))
    return rows


def stretch(
    segments: pl.DataFrame, taxonomy: Taxonomy, given: LabelSet, probabilities: dict[str, float]
) -> tuple[float, float]:
    """Start and end in seconds of what speaks most against the given labels of a stem.

    segments: the stem's rows of `segments.parquet`, at least one. probabilities: the stem's own, by class. For a class
    that seems to be there without a label it is where it scores most; for one that seems not to be, where the stem
    sounds and the class scores least.
    """
    wrong = {name: 1.0 - p if name in given else p for name, p in probabilities.items()}
    suspect = max(taxonomy.classes, key=lambda name: wrong[name])
    scores = segments[suspect].to_numpy().astype(float)
    sounding = segments.select(pl.any_horizontal(pl.col(list(taxonomy.classes)) > 0)).to_series().to_numpy()
    evidence = np.where(sounding, 1.0 - scores, -1.0) if suspect in given else scores
    # Neighbours that agree count for more than one that stands out.
    smooth = np.convolve(np.pad(evidence, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    best = int(smooth.argmax())
    start_s, end_s = float(segments["start_s"][best]), float(segments["end_s"][best])
    return max(0.0, start_s - _AROUND_S), min(float(segments["end_s"].max()), end_s + _AROUND_S)  # type: ignore[arg-type]
