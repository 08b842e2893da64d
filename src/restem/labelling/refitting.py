"""What decisions teach about the stems nobody has listened to yet, without training anything.

The classifiers' scores stay as they are. What they mean is found again (`deciding`), now with stems whose truth is
known among the rest; and a song in which a person found a class is a song that has it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.special import expit

from restem.errors import RunError
from restem.labelling.calibration import Calibration
from restem.labelling.deciding import decide
from restem.labelling.known_labels import known_flags
from restem.runs.decided import Decided
from restem.runs.run import Run


def refit(run: Run, decided: Mapping[str, Decided]) -> pl.DataFrame:
    """`run.found` with scores and qualities as they are in the light of `decided`.

    Refined labels and verdicts stay those of the run, since these are what a person is asked to confirm: a stem that
    is now thought to hold something else is a doubtful one. Takes a second for 10,000 stems. Silent and failed stems
    stay as they are, and what was decided itself is not in it: see `dataset.decided.decided_labels`.
    Raises RunError when the run does not say what its scores mean.
    """
    taxonomy = run.taxonomy
    classes = list(taxonomy.classes)
    sounding = run.found.with_row_index("row").filter(~pl.col("verdict").is_in(["silent", "failed"]))
    pooled = _pooled(run)
    sounding = sounding.join(pooled, on="stem", how="inner", maintain_order="left", suffix="_pooled")
    if sounding.is_empty():
        return run.found
    scores = sounding.select([f"{name}_pooled" for name in classes]).to_numpy()
    given = np.array([taxonomy.to_flags(taxonomy.parse(text)) for text in sounding["given"]])
    known = known_flags(sounding["stem"], decided, taxonomy)
    found = decide(scores, given, sounding["song"].to_list(), known)
    news = pl.DataFrame(
        {
            "row": sounding["row"],
            "quality": found.quality,
            **{name: found.probabilities[:, index] for index, name in enumerate(classes)},
        },
        schema_overrides={"row": pl.get_index_type()},
    )
    return run.found.with_row_index("row").update(news, on="row").drop("row")


def meaning(run: Run) -> tuple[dict[str, Calibration], float]:
    """What the scores of segments mean, by class, and the quantile of them that is the score of a stem.

    Raises RunError when the run does not say so.
    """
    try:
        described = run.description["calibration"]
        found = {
            name: Calibration(**{key: float(value) for key, value in described[name]["segments"].items()})
            for name in run.taxonomy.classes
        }
        return found, float(run.description["settings"]["pool_quantile"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(f"{run.path}: does not say what its scores mean; run `restem refine` again.") from error


def _pooled(run: Run) -> pl.DataFrame:
    """A row a stem: the quantile of the scores of its active segments, as the run pooled them."""
    calibrations, quantile = meaning(run)
    # Segments in which a stem does not sound have scores of exactly 0.
    active = run.found_segments.filter(pl.any_horizontal(pl.col(list(calibrations)) > 0))
    # What segments.parquet holds is a probability; stems are judged by the scores that it was made of.
    scores = {name: expit(one.logits(active[name].to_numpy())) for name, one in calibrations.items()}
    return (
        active.select("stem")
        .with_columns(**{name: pl.Series(values) for name, values in scores.items()})
        .group_by("stem", maintain_order=True)
        .agg(pl.all().quantile(quantile, "linear"))
    )
