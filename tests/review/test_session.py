"""The order of doubt, the most suspicious stretch, and which files a browser gets as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from restem.audio.reader import AudioInfo
from restem.errors import RunError
from restem.labelling.refitting import refit
from restem.review.queue import doubts, order, stretch
from restem.review.session import ReviewSession
from restem.review.sound import MadeWav, media_type, parse_range
from restem.runs.run import Run, open_run
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("drums", "bass"))


def test_doubt_is_that_the_refined_set_is_wrong() -> None:
    labels = pl.DataFrame(
        {
            "refined": ["drums", "drums+bass", "", ""],
            "verdict": ["kept", "changed", "unsure", "silent"],
            "drums": [0.9, 0.8, 0.3, 0.0],
            "bass": [0.2, 0.5, 0.3, 0.0],
        }
    )
    expected = [1 - 0.9 * 0.8 / (1 - 0.1 * 0.8), 1 - 0.8 * 0.5 / (1 - 0.2 * 0.5), 1.0, 0.0]
    np.testing.assert_allclose(doubts(labels, TAXONOMY), expected)


def test_the_order() -> None:
    assert order(np.array([0.1, 0.9, 0.9, 0.5]), np.array([0, 0, 0, 1])).tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize(
    ("given", "probabilities", "expected"),
    [
        ({"drums"}, {"drums": 0.9, "bass": 0.8}, (3.5, 7.5)),  # bass without a label: where it scores most
        ({"drums"}, {"drums": 0.2, "bass": 0.1}, (7.5, 10.0)),  # no drums: where they score least, and it sounds
    ],
)
def test_the_stretch(given: set[str], probabilities: dict[str, float], expected: tuple[float, float]) -> None:
    segments = pl.DataFrame(
        {
            "start_s": [0.0, 4.0, 8.0],
            "end_s": [3.0, 7.0, 10.0],
            "drums": [0.9, 0.8, 0.1],
            "bass": [0.1, 0.9, 0.2],
        }
    )
    assert stretch(segments, TAXONOMY, frozenset(given), probabilities) == expected


@pytest.mark.parametrize(
    ("encoding", "channels", "stream", "expected"),
    [
        ("WAV PCM_16", 2, None, "audio/wav"),
        ("WAV FLOAT", 1, None, "audio/wav"),
        ("FLAC PCM_24", 2, None, "audio/flac"),
        ("OGG VORBIS", 2, None, "audio/ogg"),
        ("MP3 MPEG_LAYER_III", 2, None, "audio/mpeg"),
        ("aac", 2, None, "audio/mp4"),
        ("aac", 2, 1, None),
        ("alac", 2, None, None),
        ("AIFF PCM_16", 2, None, None),
        ("WAV DOUBLE", 2, None, None),
        ("WAV PCM_16", 6, None, None),
    ],
)
def test_what_a_browser_plays(encoding: str, channels: int, stream: int | None, expected: str | None) -> None:
    assert media_type(AudioInfo(44100, channels, 1, encoding), stream) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, (0, 100)), ("bytes=0-", (0, 100)), ("bytes=10-19", (10, 20)), ("bytes=90-200", (90, 100)),
        ("bytes=-30", (70, 100)), ("bytes=-300", (0, 100)), ("bytes=100-", None), ("bytes=20-10", None),
        ("bytes=-0", None), ("bytes=-", None), ("bytes=0-1,5-6", None), ("seconds=0-1", None),
    ],
)  # fmt: skip
def test_ranges(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 100) == expected


def test_a_made_wav_fills_what_a_stem_lacks(run: Run) -> None:
    made = MadeWav.of(run.dataset_root / "Song 1" / "bass.wav", 0)
    longer = MadeWav(made.path, 0, made.rate_hz, made.channels, made.frames + 10)
    content = b"".join(longer.read(0, longer.size))
    assert len(content) == longer.size and content[-20:] == bytes(20)
    assert content[44:-20] == b"".join(made.read(44, made.size))


def test_refitting_leaves_a_run_as_it_is(run: Run) -> None:
    again = refit(run, {})
    assert again.columns == run.found.columns and again["stem"].equals(run.found["stem"])
    assert again["quality"].is_between(0, 1).all()
    for name in ("refined", "verdict"):
        assert again[name].equals(run.found[name])
    assert refit(run, {}).equals(again)


@pytest.mark.parametrize(
    "segments",
    [None, [], {}, {"slope": 1.0}, {"absent": -1.0, "present": 1.0, "spread": 0.0, "lapse": 0.0, "base": 0.5}],
)
def test_a_run_of_another_version_is_not_begun_with(run: Run, tmp_path: Path, segments: object) -> None:
    description = json.loads((run.path / "run.json").read_text())
    description["calibration"]["bass"]["segments"] = segments
    (run.path / "run.json").write_text(json.dumps(description))
    with pytest.raises(RunError, match="does not say what its scores mean; run `restem refine` again"):
        ReviewSession(open_run(run.path), tmp_path / "cache")
