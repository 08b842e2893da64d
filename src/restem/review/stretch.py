"""Where in a stem to listen: the stretch that speaks most against its given labels."""

from __future__ import annotations

import numpy as np
import polars as pl

from restem.taxonomy import LabelSet, Taxonomy

# What is played before and after the stretch, so that it is heard in its context.
_AROUND_S = 0.5


def stretch(
    segments: pl.DataFrame, taxonomy: Taxonomy, given: LabelSet, probabilities: dict[str, float]
) -> tuple[float, float]:
    """Start and end in seconds of the stretch that speaks most against the given labels of a stem.

    It is about the class whose label is most probably wrong. If the label is missing, the stretch is where the class
    scores highest; if it is there, where the stem sounds and the class scores lowest.

    segments: the stem's rows of `segments.parquet` in the order of time, at least one. probabilities: of the whole
    stem, by class.
    """
    wrong = {name: 1.0 - p if name in given else p for name, p in probabilities.items()}
    suspect = max(taxonomy.classes, key=lambda name: wrong[name])
    scores = segments[suspect].to_numpy().astype(float)
    sounding = segments.select(pl.any_horizontal(pl.col(list(taxonomy.classes)) > 0)).to_series().to_numpy()
    evidence = np.where(sounding, 1.0 - scores, -1.0) if suspect in given else scores
    # Several neighbours that agree weigh more than a single segment that stands out.
    smooth = np.convolve(np.pad(evidence, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    best = int(smooth.argmax())
    start_s, end_s = float(segments["start_s"][best]), float(segments["end_s"][best])
    return max(0.0, start_s - _AROUND_S), min(float(segments["end_s"].max()), end_s + _AROUND_S)  # type: ignore[arg-type]
