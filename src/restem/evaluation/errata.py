"""Measures where a run puts the stems whose labels are known to be wrong (`restem.dataset.errata`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from restem.dataset.errata import label_errors
from restem.errors import RunError
from restem.evaluation.metrics import auroc
from restem.runs.run import Run, opened_run


@dataclass(frozen=True)
class ErrataScore:
    """Where the known label errors of a dataset are in a run.

    Attributes
    ----------
    stems
        How many stems of the run have a quality.
    found
        `song,stem,given,true,refined,verdict,quality,place`, one row per stem with a known error. `place` counts the
        stems by their quality, the lowest first.
    auroc
        The probability that a stem with a known error has a lower quality than another. It is too low by as much as
        others are wrong as well.
    """

    stems: int
    found: pl.DataFrame
    auroc: float | None

    @property
    def corrected(self) -> int:
        """How many have the right labels after the refinement."""
        return int((self.found["true"] == self.found["refined"]).sum())


def score_errata(run: Run | Path | str) -> ErrataScore:
    """Looks up the stems of a run whose labels are known to be wrong.

    Raises RunError when the run cannot be read or no label error of its dataset is known, DatasetError when its classes
    are not vocals, drums, bass and other.
    """
    run = opened_run(run)
    true = label_errors(run.dataset)
    judged = run.found.filter(pl.col("quality").is_not_null()).sort("quality", maintain_order=True)
    judged = judged.with_columns(place=pl.int_range(1, len(judged) + 1))
    wrong = np.array([stem in true for stem in judged["stem"]], bool)
    if not wrong.any():
        raise RunError(f"{run.place}: no label of its dataset is known to be wrong; see `restem errata`.")
    found = judged.filter(pl.Series(wrong))
    labels = pl.Series("true", [run.taxonomy.format(true[stem]) for stem in found["stem"]], dtype=pl.String)
    columns = ("song", "stem", "given", "true", "refined", "verdict", "quality", "place")
    doubt = 1.0 - judged["quality"].to_numpy()
    return ErrataScore(len(judged), found.with_columns(labels).select(columns), auroc(wrong, doubt))
