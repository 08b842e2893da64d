"""Known labels: what people decided about stems, which is taught as it is and never in doubt."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from restem.dataset.table import Dataset
from restem.errors import DatasetError
from restem.labelling.features import Features
from restem.runs.decided import Decided
from restem.taxonomy import Taxonomy


@dataclass(frozen=True, eq=False)
class KnownLabels:
    """What people said about the stems that could be decoded.

    stems: (stem, class), 1 or 0 where it is known whether the class is there, else NaN. rows: (known,) the segments of
    which it is known. flags: (known, class) what is in them, 1 or 0.
    """

    decided: Mapping[str, Decided]
    stems: np.ndarray
    rows: np.ndarray
    flags: np.ndarray

    def over_stems(self, values: np.ndarray) -> np.ndarray:
        """`values` (stem, class) as numbers, with what is known in place of them."""
        return np.where(np.isfinite(self.stems), self.stems, values)

    def over_segments(self, values: np.ndarray) -> np.ndarray:
        """`values` (segment, class) likewise, float32."""
        found = values.astype(np.float32)
        found[self.rows] = self.flags
        return found


def known_labels(features: Features, decided: Mapping[str, Decided] | None) -> KnownLabels:
    """What `decided`, by the name of a stem, says is there or is not; where a person cannot tell, nothing is known."""
    kept = _telling(decided)
    segments, taxonomy = features.segments, features.dataset.taxonomy
    names = [features.dataset.stems[index].name for index in features.indices]
    hop_s = features.store.settings.hop_s
    rows, flags = [np.zeros(0, np.int64)], [np.zeros((0, len(taxonomy)), np.float32)]
    for number, name in enumerate(names):
        if name not in kept or not kept[name].ranges:
            continue
        mine = segments.of_stem(number)
        start_s, stop_s = segments.start[mine] * hop_s, segments.stop[mine] * hop_s
        over_time = np.full((len(start_s), len(taxonomy)), np.nan, np.float32)
        for span in kept[name].ranges:
            over_time[(start_s >= span.start_s) & (stop_s <= span.end_s)] = taxonomy.to_flags(span.labels)
        known = np.flatnonzero(np.isfinite(over_time).all(axis=1))
        rows.append(mine.start + known)
        flags.append(over_time[known])
    return KnownLabels(kept, known_flags(names, kept, taxonomy), np.concatenate(rows), np.concatenate(flags))


def describe(decided: Mapping[str, Decided] | None, dataset: Dataset) -> list[Any]:
    """What `run.json` says about the decisions that a refinement was given: stem, label set, ranges.

    Raises DatasetError when something was decided about a stem that the dataset does not have.
    """
    kept = _telling(decided)
    if unknown := set(kept).difference(stem.name for stem in dataset.stems):
        raise DatasetError(
            f"{dataset.root}: has no stem {min(unknown)!r}, about which something was decided; "
            "refine the dataset that was reviewed."
        )
    written = dataset.taxonomy.format
    return [
        [
            name,
            None if one.labels is None else written(one.labels),
            [[span.start_s, span.end_s, written(span.labels)] for span in one.ranges],
        ]
        for name, one in sorted(kept.items())
    ]


def known_flags(stems: Iterable[str], decided: Mapping[str, Decided], taxonomy: Taxonomy) -> np.ndarray:
    """(stem, class): 1 and 0 where it was decided whether the class is there, else NaN."""
    stems = list(stems)
    flags = np.full((len(stems), len(taxonomy)), np.nan)
    for row, stem in enumerate(stems):
        if (one := decided.get(stem)) is not None and one.labels is not None:
            flags[row] = taxonomy.to_flags(one.labels)
        elif one is not None:
            flags[row, np.flatnonzero(taxonomy.to_flags(one.heard))] = 1.0
    return flags


def _telling(decided: Mapping[str, Decided] | None) -> dict[str, Decided]:
    """The decisions that say what is there."""
    return {
        name: replace(one, unsure=False)
        for name, one in (decided or {}).items()
        if one.labels is not None or one.ranges
    }
