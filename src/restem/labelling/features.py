"""The features of a dataset: mel power and segments of every stem that can be decoded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restem.audio.entries import EntryStore, Source
from restem.audio.store import Store, StoredStems
from restem.auditing.findings import Finding
from restem.dataset.table import Dataset
from restem.errors import DatasetError
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.labelling.mixing import SegmentPool
from restem.labelling.prepared import prepare_stems, stored_stems
from restem.labelling.segments import Segments, joined_segments
from restem.progress import Report


@dataclass(frozen=True, eq=False)
class Features:
    """The stems of `dataset` that could be decoded.

    failures: index of a stem in the dataset -> why it could not be decoded. notes: the same for those that were used
    although something is wrong with them. indices: (stem,) the stems that could be decoded, in dataset order; `stems`
    (their features), `seconds`, `given` (stem, class), `segments` and `damage` are about these. length: frames of a
    segment. damage: what was found in each, if it was looked for.
    """

    dataset: Dataset
    store: Store
    failures: dict[int, str]
    notes: dict[int, str]
    indices: tuple[int, ...]
    stems: StoredStems
    seconds: np.ndarray
    given: np.ndarray
    segments: Segments
    length: int
    damage: tuple[tuple[Finding, ...], ...] = ()

    @property
    def sources(self) -> list[Source]:
        """The file of every stem."""
        return sources_of(self.dataset, self.indices)

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
        return SegmentPool(self.stems, self.segments.gains, stem, start, targets[active].astype(np.float32))


def load_features(
    dataset: Dataset,
    store: Store,
    segment_s: float,
    hop_s: float,
    executor: Executor = IN_THIS_PROCESS,
    report: Report | None = None,
    failed: Mapping[int, str] | None = None,
    table: Path | None = None,
    looks: bool = False,
    beside: EntryStore | None = None,
) -> Features:
    """Computes the features that the store lacks, and divides every stem into segments.

    failed: index of a stem in the dataset -> why it cannot be used, for those that are known already. table, looks,
    beside: see `prepare_stems`.
    Raises DatasetError when no stem can be decoded, all are silent, or none that sounds has a label.
    """
    length, hop = store.settings.frames_in(segment_s), store.settings.frames_in(hop_s)
    every = sources_of(dataset, range(len(dataset)))
    prepared, failures = prepare_stems(every, store, length, hop, executor, report, table, looks, beside)
    failures |= failed or {}
    indices = tuple(index for index in range(len(dataset)) if index not in failures)
    if not indices:
        reason = f"; the first: {failures[0]}" if failures else ""
        raise DatasetError(f"{dataset.root}: no stem can be decoded{reason}")
    stems = [prepared[index] for index in indices]
    segments = joined_segments([one.laid for one in stems], length, hop)
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
        stored_stems(store, stems),
        np.array([one.seconds for one in stems]),
        given,
        segments,
        length,
        tuple(one.damage for one in stems),
    )


def sources_of(dataset: Dataset, indices: Iterable[int]) -> list[Source]:
    """The files of some stems of a dataset."""
    stems = dataset.stems
    return [(dataset.file(stems[index]), stems[index].stream or 0) for index in indices]
