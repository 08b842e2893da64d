"""What people decided about ranges of stems, on the grid of segments."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from restem.audio.mel import MelSettings
from restem.audio.store import StemFeatures, Store, StoredStems, to_bfloat16
from restem.dataset.table import Dataset, Stem
from restem.labelling.features import Features
from restem.labelling.known_labels import known_labels
from restem.labelling.segments import lay_segments
from restem.runs.decided import Decided, Range
from restem.taxonomy import Taxonomy

LENGTH, HOP = 50, 25
MEL = MelSettings(bands=2)


def make_features(frames: list[int]) -> Features:
    """Stems of so many frames, all of which sound; the second stem of the dataset could not be decoded."""
    taxonomy = Taxonomy(("a", "b", "c"))
    stems = tuple(Stem("song", f"{number}.wav", frozenset({"a"})) for number in range(len(frames) + 1))
    rows = [to_bfloat16(np.full((one, 2), 0.01, np.float32)) for one in frames]
    segments = lay_segments([StemFeatures(one, len(one) * MEL.hop_s, 44100, 1) for one in rows], LENGTH, HOP)
    indices = tuple(number for number in range(len(stems)) if number != 1)
    stored = StoredStems("", MEL, np.array(indices).astype("S40"), np.array(frames))
    given = np.array([[True, False, False]] * len(frames))
    return Features(
        Dataset(Path("/data"), "songs", taxonomy, stems), Store(Path("/cache"), MEL), {1: "broken"}, {}, indices,
        stored, np.array(frames) * MEL.hop_s, given, segments, LENGTH,
    )  # fmt: skip


def test_as_if_every_segment_were_compared_with_every_range() -> None:
    features = make_features([200, 40, 333])
    decided = {
        "0.wav": Decided(ranges=(Range(0.0, 2.0, frozenset({"b"})), Range(1.0, 3.5, frozenset({"a", "c"})))),
        "1.wav": Decided(ranges=(Range(0.0, 9.0, frozenset({"b"})),)),
        "3.wav": Decided(labels=frozenset({"c"}), ranges=(Range(2.0, 5.0, frozenset()),)),
    }
    known = known_labels(features, decided)
    expected = np.full((len(features.segments.stem), 3), np.nan)
    for row, index in enumerate(features.indices):
        one = decided.get(features.dataset.stems[index].name, Decided())
        for segment in np.flatnonzero(features.segments.stem == row):
            start_s = features.segments.start[segment] * MEL.hop_s
            stop_s = features.segments.stop[segment] * MEL.hop_s
            for span in one.ranges:
                if start_s >= span.start_s and stop_s <= span.end_s:
                    expected[segment] = [name in span.labels for name in "abc"]
    assert 0 < np.isfinite(expected).all(axis=1).sum() < len(expected)
    values = np.random.default_rng(0).random(expected.shape)
    taught = np.where(np.isfinite(expected), expected, values).astype(np.float32)
    np.testing.assert_array_equal(known.over_segments(values), taught)
    np.testing.assert_array_equal(known.stems, [[1, 1, 1], [np.nan] * 3, [0, 0, 1]])
