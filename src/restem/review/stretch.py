"""Where in a stem to listen: the stretch that speaks most against its given labels."""

from __future__ import annotations

import numpy as np
import polars as pl

from restem.taxonomy import LabelSet, Taxonomy

# A loop gives the ear a little of what is around the stretch.
_AROUND_S = 0.5


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
