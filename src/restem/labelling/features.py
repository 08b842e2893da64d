"""The features of a dataset: mel power and segments of every stem that can be decoded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from restem.audio.entries import Source
from restem.audio.store import Store
from restem.dataset.table import Dataset
from restem.errors import DatasetError
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.labelling.mixing import SegmentPool
from restem.labelling.segments import Segments, lay_segments
from restem.progress import Report


@dataclass(frozen=True, eq=False)
class Features:
    """The stems of `dataset` that could be decoded.

    failures: index of a stem in the dataset -> why it could not be decoded. notes: the same for those that were used
    although something is wrong with them. indices: (stem,) the stems that could be decoded, in dataset order;
    `sources`, `seconds`, `given` (stem, class) and `segments` are about these. length: frames of a segment.
    """

    dataset: Dataset
    store: Store
    failures: dict[int, str]
    notes: dict[int, str]
    indices: tuple[int, ...]
    sources: tuple[Source, ...]
    seconds: np.ndarray
    given: np.ndarray
    segments: Segments
    length: int

    @property
    def songs(self) -> list[str]:
        """The song of every stem."""
        return [self.dataset.stems[index].song for index in self.indices]

    @property
    def unknown(self) -> np.ndarray:
        """(stem,) flags of the stems whose given set is unknown."""
        return np.array([self.dataset.stems[index].unknown for index in self.indices])

    @property
    def trainable(self) -> np.ndarray:
        """(stem,) flags of the stems to train on: those that sound and have a label."""
        return (self.segments.active_frames > 0) & self.given.any(axis=1)

    def segment_pool(self, targets: np.ndarray) -> SegmentPool:
        """The active segments, to make mixtures of. targets: (segment, class) in [0, 1], for all segments."""
        active = self.segments.active
        stem, start = self.segments.stem[active], self.segments.start[active]
        return SegmentPool(self.sources, self.segments.gains, stem, start, targets[active].astype(np.float32))


def load_features(
    dataset: Dataset,
    store: Store,
    segment_s: float,
    hop_s: float,
    executor: Executor = IN_THIS_PROCESS,
    report: Report | None = None,
    failed: Mapping[int, str] | None = None,
) -> Features:
    """Computes the features that the store lacks, and divides every stem into segments.

    failed: index of a stem in the dataset -> why it cannot be used, for those that are known already. Raises
    DatasetError when no stem can be decoded, all are silent, or none that sounds has a label.
    """
    sources = [(dataset.file(stem), stem.stream or 0) for stem in dataset.stems]
    failures = {**store.fill(sources, executor, report), **(failed or {})}
    indices = tuple(index for index in range(len(sources)) if index not in failures)
    if not indices:
        reason = f"; the first: {failures[0]}" if failures else ""
        raise DatasetError(f"{dataset.root}: no stem can be decoded{reason}")
    stems = [store.require(sources[index]) for index in indices]
    length = store.settings.frames_in(segment_s)
    segments = lay_segments(stems, length, store.settings.frames_in(hop_s))
    if not segments.active.any():
        raise DatasetError(f"{dataset.root}: every stem is silent; there is nothing to learn from.")
    given = np.array([dataset.taxonomy.to_flags(dataset.stems[index].given) for index in indices])
    if not given[segments.stem[segments.active]].any():
        raise DatasetError(f"{dataset.root}: no stem that sounds has a label; there is nothing to learn from.")
    return Features(
        dataset,
        store,
        failures,
        {index: one.note for index, one in zip(indices, stems, strict=True) if one.note},
        indices,
        tuple(sources[index] for index in indices),
        np.array([one.seconds for one in stems]),
        given,
        segments,
        length,
    )
