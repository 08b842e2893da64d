"""The order of doubt, the most suspicious stretch, and which files a browser gets as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from restem.audio.reader import AudioInfo
from restem.review import rewriting
from restem.review.queue import RANDOM_EVERY, Queue, doubts, informed, why
from restem.review.session import ReviewSession, UnreachableError
from restem.review.sound import MadeWav, media_type, parse_range
from restem.review.stretch import stretch
from restem.runs.run import Run, open_run
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("drums", "bass"))


def test_doubt_is_that_the_refined_set_is_wrong() -> None:
    """Scores are the marginals of distributions over all sets of two classes, written out."""
    # P(nothing), P(bass), P(drums), P(both): independent but for a factor of 0.02 on nothing.
    sets = [np.array([0.02 * 0.2 * 0.7, 0.2 * 0.3, 0.8 * 0.7, 0.8 * 0.3]), np.array([0.02 * 0.25, 0.25, 0.25, 0.25])]
    likely, even = (one / one.sum() for one in sets)
    labels = pl.DataFrame(
        {
            "refined": ["drums", "drums+bass", "", ""],
            "verdict": ["kept", "changed", "unsure", "silent"],
            "drums": [likely[2] + likely[3], even[2] + even[3], likely[2] + likely[3], 0.0],
            "bass": [likely[1] + likely[3], even[1] + even[3], likely[1] + likely[3], 0.0],
        }
    )
    np.testing.assert_allclose(doubts(labels, TAXONOMY), [1 - likely[2], 1 - even[3], 1 - likely[0], 0.0])


def test_the_queue_has_doubtful_stems_first_and_one_in_ten_at_random() -> None:
    doubt = np.random.default_rng(0).random(1000)
    listen = np.ones(1000, bool)
    listen[::7] = False
    queue, settled = Queue(listen), np.zeros(1000, bool)
    rows, drawn = queue.rows(doubt, settled)
    assert sorted(rows) == np.flatnonzero(listen).tolist()
    assert [rows.index(row) for row in drawn] == list(range(RANDOM_EVERY - 1, len(rows), RANDOM_EVERY))
    assert (np.diff(doubt[[row for row in rows if row not in drawn]]) <= 0).all()
    # Those that are drawn are a random sample of all: their mean doubt is that of all, within three standard errors.
    assert abs(doubt[drawn[:40]].mean() - doubt[listen].mean()) < 3 * doubt.std() / np.sqrt(40)
    # One by one it is the same order.
    for row in rows[:50]:
        assert queue.first(doubt, settled) == (row, row in drawn)
        settled[row] = True
    assert queue.rows(doubt, settled)[0] == rows[50:]
    settled[:] = True
    assert queue.first(doubt, settled) == (None, False)


def test_the_order() -> None:
    queue = Queue(np.array([True, True, True, True, False]))
    settled = np.array([False, False, False, True, False])
    rows, _ = queue.arranged(np.array([0.1, 0.9, 0.9, 0.5, 0.0]), settled, np.array([0, 0, 0, 1, 2]))
    assert rows == [1, 2, 0, 3, 4]


def test_the_sample_ends_where_nobody_decided() -> None:
    queue = Queue(np.ones(5, bool))
    outcome = np.full(5, np.nan)
    assert len(queue.sample(outcome)) == 0
    outcome[queue.random[[0, 1, 3]]] = [1.0, 0.0, 1.0]
    assert queue.sample(outcome).tolist() == [1.0, 0.0]
    outcome[:] = 0.0
    assert len(queue.sample(outcome)) == 5


def test_a_decision_tells_about_the_song() -> None:
    scores = np.array([[0.5, 0.2], [0.2, 0.9], [0.2, 0.2], [0.2, 0.2]])
    given = np.array([[True, False], [False, True], [False, False], [False, False]])
    song = np.array([0, 0, 0, 1])
    # Stem 0 was given class 0, which is not in it, but class 1 is.
    new = informed(scores, given, song, np.array([0]), np.array([[False, True]]))
    assert new[1, 0] == pytest.approx(0.5) and new[2, 0] == pytest.approx(0.5)  # odds of 1/4, times 4
    assert new[2, 1] == pytest.approx(1 / 17) and new[1, 1] == 0.9  # given: whether it is there is another matter
    assert (new[3] == scores[3]).all()
    assert (informed(scores, given, song, np.array([], int), np.zeros((0, 2), bool)) == scores).all()


def test_why_a_stem_comes_next(run: Run) -> None:
    rows = run.found.to_dicts()
    other, song = rows[2], [rows[0], rows[1], rows[3]]
    said = why(other, song, run.taxonomy, drawn=False)
    assert said == "The label vocals may be missing: it is in this stem with probability 0.50."
    bass = {**rows[0], "bass": 0.3, "drums": 0.99}
    said = why(bass, [{**rows[1], "bass": 0.4}, {**rows[3], "bass": 0.05}], run.taxonomy, drawn=False)
    assert "The label bass may not be in it" in said and "in doubt in 1 other stem of its song" in said
    assert "Drawn at random" in why(other, song, run.taxonomy, drawn=True)
    assert why({**other, "verdict": "silent"}, song, run.taxonomy, drawn=False) == ""


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
    ("container", "codec", "channels", "stream", "expected"),
    [
        ("WAV", "PCM_16", 2, None, "audio/wav"),
        ("WAV", "FLOAT", 1, None, "audio/wav"),
        ("FLAC", "PCM_24", 2, None, "audio/flac"),
        ("OGG", "VORBIS", 2, None, "audio/ogg"),
        ("MP3", "MPEG_LAYER_III", 2, None, "audio/mpeg"),
        ("MP4", "aac", 2, None, "audio/mp4"),
        ("MP4", "aac", 2, 1, None),
        ("MP4", "alac", 2, None, None),
        ("AIFF", "PCM_16", 2, None, None),
        ("WAV", "DOUBLE", 2, None, None),
        ("WAV", "PCM_16", 6, None, None),
    ],
)
def test_what_a_browser_plays(
    container: str, codec: str, channels: int, stream: int | None, expected: str | None
) -> None:
    assert media_type(AudioInfo(44100, channels, 1, container, codec), stream) == expected


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
    longer = replace(made, frames=made.frames + 10)
    content = b"".join(longer.read(0, longer.size))
    assert len(content) == longer.size and content[-20:] == bytes(20)
    assert content[44:-20] == b"".join(made.read(44, made.size))


def test_errors_name_arguments(run: Run, tmp_path: Path) -> None:
    stem = run.dataset_root / "Song 1" / "bass.wav"
    stem.rename(tmp_path / "bass.wav")
    stem.symlink_to(tmp_path / "bass.wav")
    with pytest.raises(UnreachableError, match=r"Song 1/bass.wav: leads outside of the dataset; .* `follow_links`"):
        ReviewSession(run, tmp_path / "cache").source(0)
    assert ReviewSession(run, tmp_path / "cache", follow_links=True).source(0) == (tmp_path / "bass.wav", 0)


def test_the_list_comes_in_parts(run: Run, tmp_path: Path) -> None:
    session = ReviewSession(run, tmp_path / "cache")
    session.decide(session.stems()["queue"][3], "drums", "ada")
    whole = session.stems()
    parts = [session.stems(first, 5, whole["last"]) for first in range(0, whole["total"], 5)]
    assert whole["rows"] == whole["queue"] and sorted(whole["queue"]) == list(range(len(run.labels)))
    assert parts[0]["queue"] == whole["queue"] and all("queue" not in one for one in parts[1:])
    for name in ("rows", "song", "stem", "given", "refined", "verdict", "quality", "doubt", "decided"):
        assert [value for one in parts for value in one[name]] == whole[name]
    assert {number: song for one in parts for number, song in one["songs"].items()} == whole["songs"]
    assert session.stems(100, 5)["rows"] == []


def test_later_parts_are_of_the_queue_as_it_was(run: Run, tmp_path: Path) -> None:
    session = ReviewSession(run, tmp_path / "cache")
    first = session.stems(0, 6)
    session.decide(first["queue"][8], "drums", "ada")
    assert session.stems(0, 6)["queue"] != first["queue"]
    later = session.stems(6, 6, first["last"])
    assert first["rows"] + later["rows"] == first["queue"]
    assert later["decided"][2] == "decided"


def test_the_table_of_a_large_run_is_rewritten_later(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "_MOST_AT_ONCE", 3)
    monkeypatch.setattr(rewriting, "_LATER_S", 1000.0)
    session = ReviewSession(run, tmp_path / "cache")
    before = (run.path / "labels.csv").read_bytes()
    index = session.stems()["queue"][0]
    session.decide(index, "vocals", "ada")
    session.decide(index, "bass", "ada")
    assert (run.path / "labels.csv").read_bytes() == before
    again = open_run(run.path)
    assert again.labels["refined"][index] == "bass"  # nothing is lost if the session is killed
    session.finish()
    assert pl.read_csv(run.path / "labels.csv")["refined"][index] == "bass"
    written = (run.path / "labels.csv").stat().st_mtime_ns
    session.finish()
    assert (run.path / "labels.csv").stat().st_mtime_ns == written
