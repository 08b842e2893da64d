"""Scores what a run found over time against people's decisions about time ranges.

Within a decided range, the classes that a person heard are the truth. They are compared with the classes that are more
probable than not in the segments whose middle lies in the range, or in the nearest where the range is shorter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from restem.runs.run import Run

_PRESENT = 0.5


@dataclass(frozen=True)
class RangeScore:
    """A run against decisions about time ranges.

    ranges: how many were compared, and seconds: their duration; one that later ones replace is not. segments: those
    that were compared. given_accuracy, found_accuracy: the share of segment x class decisions that are right, by the
    given labels of the stem, and by the scores over time.
    """

    ranges: int
    seconds: float
    segments: int
    given_accuracy: float
    found_accuracy: float


def score_ranges(run: Run, decided: Run) -> RangeScore | None:
    """Scores what the classifiers found in `run` against the decisions about time ranges in `decided`.

    None when there are none of stems that `run` has scores over time of.
    """
    given_of = dict(run.found.select("stem", "given").iter_rows())
    classes, ranges, seconds = list(run.taxonomy.classes), 0, 0.0
    given_right: list[np.ndarray] = []
    found_right: list[np.ndarray] = []
    for stem, one in decided.decided.items():
        part = run.found_segments.filter(pl.col("stem") == stem) if one.ranges else pl.DataFrame()
        if part.is_empty():
            continue
        middle = part.select((pl.col("start_s") + pl.col("end_s")) / 2).to_series().to_numpy()
        present = part.select(classes).to_numpy() >= _PRESENT
        given = run.taxonomy.to_flags(run.taxonomy.parse(given_of[stem]))
        compared = np.zeros(len(middle), bool)
        for span in reversed(one.ranges):  # where they overlap the last one holds
            inside = (middle >= span.start_s) & (middle <= span.end_s)
            if not inside.any():
                inside[np.abs(middle - (span.start_s + span.end_s) / 2).argmin()] = True
            inside &= ~compared
            if not inside.any():
                continue
            compared |= inside
            true = np.array(run.taxonomy.to_flags(span.labels))
            found_right.append(present[inside] == true)
            given_right.append(np.broadcast_to(np.array(given) == true, found_right[-1].shape))
            ranges, seconds = ranges + 1, seconds + span.end_s - span.start_s
    if not ranges:
        return None
    found, before = np.concatenate(found_right), np.concatenate(given_right)
    return RangeScore(ranges, round(seconds, 3), len(found), float(before.mean()), float(found.mean()))
