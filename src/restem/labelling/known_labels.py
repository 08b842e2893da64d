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

    stems: (stem, class) and segments: (segment, class), 1 or 0 where it is known whether the class is there, else NaN.
    """

    decided: Mapping[str, Decided]
    stems: np.ndarray
    segments: np.ndarray

    def over_stems(self, values: np.ndarray) -> np.ndarray:
        """`values` (stem, class) as numbers, with what is known in place of them."""
        return np.where(np.isfinite(self.stems), self.stems, values)

    def over_segments(self, values: np.ndarray) -> np.ndarray:
        """`values` (segment, class) likewise, float32."""
        return np.where(np.isfinite(self.segments), self.segments, values).astype(np.float32)


def known_labels(features: Features, decided: Mapping[str, Decided] | None) -> KnownLabels:
    """What `decided`, by the name of a stem, says is there or is not; where a person cannot tell, nothing is known."""
    kept = _telling(decided)
    segments, taxonomy = features.segments, features.dataset.taxonomy
    names = [features.dataset.stems[index].name for index in features.indices]
    over_time = np.full((len(segments.stem), len(taxonomy)), np.nan)
    hop_s = features.store.settings.hop_s
    for row, name in enumerate(names):
        for span in kept[name].ranges if name in kept else ():
            inside = (segments.stem == row) & (segments.start * hop_s >= span.start_s)
            inside &= segments.stop * hop_s <= span.end_s
            over_time[inside] = taxonomy.to_flags(span.labels)
    return KnownLabels(kept, known_flags(names, kept, taxonomy), over_time)


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
    rows = []
    for stem in stems:
        one = decided.get(stem, Decided())
        if one.labels is not None:
            rows.append([float(flag) for flag in taxonomy.to_flags(one.labels)])
        else:
            rows.append([1.0 if flag else np.nan for flag in taxonomy.to_flags(one.heard)])
    return np.array(rows).reshape(len(rows), len(taxonomy))


def _telling(decided: Mapping[str, Decided] | None) -> dict[str, Decided]:
    """The decisions that say what is there."""
    return {
        name: replace(one, unsure=False)
        for name, one in (decided or {}).items()
        if one.labels is not None or one.ranges
    }
