from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from rich.console import Console

from restem.cli.comparisons import print_evaluation
from restem.cli.main import run_command
from restem.dataset.layouts import open_dataset
from restem.dataset.table import Dataset
from restem.errors import DatasetError, RestemError
from restem.evaluation.sdr import framewise_sdr, global_sdr, si_sdr
from restem.evaluation.separation import (
    Blocks,
    Estimate,
    evaluate,
    paired_interval,
    read_evaluation,
)

RATE_HZ = 4000
CLASSES = ("vocals", "drums", "bass", "other")


def write(path: Path, sound: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound.T, rate_hz, subtype="FLOAT")


@pytest.fixture
def stems() -> np.ndarray:
    """(song, class, channel, sample)."""
    return np.random.default_rng(0).standard_normal((3, 4, 2, 10_000)).astype(np.float32)


@pytest.fixture
def songs(tmp_path: Path, stems: np.ndarray) -> Dataset:
    for number, song in enumerate(stems):
        for name, sound in zip(CLASSES, song, strict=True):
            write(tmp_path / "songs" / f"song{number}" / f"{name}.wav", sound)
    return open_dataset(tmp_path / "songs")


@pytest.fixture
def estimates(tmp_path: Path, stems: np.ndarray) -> Path:
    """Each song's stems with noise, 20 dB below in the first song, 10 in the second, 0 in the third."""
    noise = np.random.default_rng(1).standard_normal(stems.shape)
    for number, song in enumerate(stems + noise * np.array([0.1, 0.316, 1.0])[:, None, None, None]):
        for name, sound in zip(CLASSES, song, strict=True):
            write(tmp_path / "made" / f"song{number}" / f"{name}.wav", sound)
        write(tmp_path / "made" / f"song{number}" / "residual.wav", sound)
    return tmp_path / "made"


def test_figures_are_those_of_the_arrays(songs: Dataset, estimates: Path, stems: np.ndarray, tmp_path: Path) -> None:
    result = evaluate(songs, estimates, tmp_path / "out")
    assert result.failed == {} and len(result.songs) == 12
    table = read_evaluation(tmp_path / "out")
    for number in range(3):
        folder = estimates / f"song{number}"
        made = np.stack([soundfile.read(folder / f"{name}.wav")[0].T for name in CLASSES])
        mine = table.filter(table["song"] == f"song{number}")
        assert mine["class"].to_list() == list(CLASSES)
        references = stems[number].astype(np.float64)
        mixture = np.broadcast_to(references.sum(axis=0), references.shape)
        assert np.allclose(mine["sdr"], global_sdr(references, made), atol=1e-4)
        assert np.allclose(mine["sdr_frames"], np.median(framewise_sdr(references, made, RATE_HZ), axis=1), atol=1e-4)
        assert np.allclose(mine["si_sdr"], si_sdr(references, made), atol=1e-4)
        assert np.allclose(mine["mixture_sdr"], global_sdr(references, mixture), atol=1e-4)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())["summary"]
    assert summary["vocals"]["songs"] == summary["all"]["songs"] == 3
    assert summary["all"]["sdr"] == pytest.approx(10.0, abs=0.1)


def test_what_has_no_reference_of_its_own(songs: Dataset, estimates: Path) -> None:
    both = songs.taxonomy.parse("drums+bass")
    result = evaluate(songs.with_labels({"song0/bass.wav": both}), estimates).songs
    mine = dict(zip(result["class"][:4], result["sdr"][:4], strict=True))
    assert mine["drums"] is None and mine["bass"] is None and mine["vocals"] > 15


def test_stems_of_a_class_are_added_up(songs: Dataset, stems: np.ndarray) -> None:
    write(songs.root / "song0" / "vocals_2.wav", stems[1, 0, :1, :5000])

    def perfect(song: str, mixture: Iterator[np.ndarray], rate_hz: int, channels: int) -> Iterator[np.ndarray]:
        assert (rate_hz, channels) == (RATE_HZ, 2)
        song_stems = stems[int(song[-1])].copy()
        if song == "song0":
            song_stems[0, :, :5000] += stems[1, 0, :1, :5000]  # mono is on both sides
        total = np.concatenate(list(mixture), axis=1)
        assert np.allclose(total, song_stems.sum(axis=0), atol=1e-5)
        for start in range(0, 10_000, 3_333):
            yield song_stems[:, :, start : start + 3_333]

    result = evaluate(open_dataset(songs.root), perfect)
    assert result.failed == {} and (result.songs["sdr"] > 80).all()


def test_what_cannot_be_measured_is_told(songs: Dataset, estimates: Path, stems: np.ndarray, tmp_path: Path) -> None:
    (estimates / "song0" / "bass.wav").unlink()
    write(estimates / "song1" / "drums.wav", stems[1, 1], 8000)
    write(estimates / "song2" / "other.wav", stems[2, 3, :, :8000])
    failed = evaluate(songs, estimates).failed
    assert "no estimate of bass" in failed["song0"]
    assert "has 8000 Hz" in failed["song1"] and "lasts 2.00 s" in failed["song2"]
    write(songs.root / "song0" / "bass.wav", np.full((2, 100), np.nan))
    assert "no such folder" in evaluate(songs, songs.root / "song1").failed["song1"]
    with pytest.raises(DatasetError, match="no such folder"):
        evaluate(songs, tmp_path / "nothing")
    with pytest.raises(RestemError, match="is not a result"):
        read_evaluation(tmp_path)


@pytest.mark.parametrize("name", ["Drums", "perc", "drum", "drums_2", "a drum kit", "beats"])
def test_the_file_with_the_name_of_the_class_is_its_estimate(songs: Dataset, estimates: Path, name: str) -> None:
    """Whatever else lies beside it, and wherever that is in the alphabet."""
    expected = evaluate(songs, estimates).songs
    for song in songs.songs:
        target = estimates / song / f"{name}.wav"
        if name == "Drums":
            (estimates / song / "drums.wav").rename(target)
        else:
            write(target, np.ones((2, 10_000), np.float32) / 2)
    assert evaluate(songs, estimates).songs.equals(expected)


def test_two_files_that_claim_one_class(songs: Dataset, estimates: Path) -> None:
    write(estimates / "song0" / "drums.aiff", np.ones((2, 10_000), np.float32) / 2)
    (estimates / "song1" / "bass.wav").rename(estimates / "song1" / "bassline.wav")
    write(estimates / "song1" / "Bass Guitar.wav", np.ones((2, 10_000), np.float32) / 2)
    (estimates / "song2" / "other.wav").rename(estimates / "song2" / "accompaniment.wav")
    failed = evaluate(songs, estimates).failed
    assert "drums.aiff: claims to be drums, as drums.wav does" in failed["song0"]
    assert "Bass Guitar.wav: claims to be bass, as bassline.wav does; remove or rename" in failed["song1"]
    assert "holds no estimate of other" in failed["song2"]


def test_what_is_not_a_file_is_not_an_estimate(songs: Dataset, estimates: Path) -> None:
    """A folder called like one, and a pipe that nobody writes to."""
    for number, make in enumerate((Path.mkdir, os.mkfifo)):
        (estimates / f"song{number}" / "drums.wav").unlink()
        make(estimates / f"song{number}" / "drums.wav")
    failed = evaluate(songs, estimates).failed
    assert set(failed) == {"song0", "song1"}
    assert all("holds no estimate of drums" in reason for reason in failed.values())


def test_a_class_without_any_estimate_is_not_measured(songs: Dataset, estimates: Path, tmp_path: Path) -> None:
    """As where only vocals were separated; the figures of the others stay."""
    expected = evaluate(songs, estimates)
    for song in songs.songs:
        (estimates / song / "drums.wav").unlink()
        (estimates / song / "bass.wav").unlink()
    found = evaluate(songs, estimates, tmp_path / "out")
    assert not found.failed and list(found.notes.values()) == [
        "there are no estimates of drums, bass; only the others are measured"
    ]
    left = pl.col("class").is_in(["vocals", "other"])
    assert found.songs.filter(left).equals(expected.songs.filter(left))
    assert found.songs.filter(~left)["sdr"].is_null().all()
    assert found.summary()["drums"]["songs"] == 0


def test_compared_song_by_song(songs: Dataset, estimates: Path, tmp_path: Path) -> None:
    result = evaluate(songs, estimates, tmp_path / "out")
    assert (
        run_command(["evaluate", "--estimates", str(estimates), str(songs.root), "--against", str(tmp_path / "out")])
        == 0
    )
    assert run_command(["evaluate", str(songs.root)]) == 2
    console = Console(record=True, width=140)
    print_evaluation(result, console, result.songs)
    assert "+0.00 (+0.00 to +0.00)" in console.export_text()


def test_results_of_other_songs_are_not_compared(songs: Dataset, estimates: Path) -> None:
    result = evaluate(songs, estimates)
    for others, told in ((["elsewhere"] * 12, "0 songs"), (["song1"] * 4 + ["elsewhere"] * 8, "1 song ")):
        against = result.songs.with_columns(song=pl.Series(others), **{"class": pl.Series(CLASSES * 3)})
        console = Console(record=True, width=80)
        print_evaluation(result, console, against)
        text = console.export_text()
        assert f"Compared on {told}" in text and " to " not in text


def test_perfect_estimates_leave_plain_json(songs: Dataset, tmp_path: Path) -> None:
    evaluate(songs, songs.root, tmp_path / "out")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (tmp_path / "out" / "summary.json").read_text()
    assert json.loads(text, parse_constant=refuse)["summary"]["all"]["sdr_frames"] is None
    assert read_evaluation(tmp_path / "out")["sdr_frames"].is_infinite().all()


def test_nothing_to_compare_with_and_nowhere_to_write(songs: Dataset, estimates: Path) -> None:
    pair = songs.taxonomy.parse("vocals+bass")
    mixed = songs.with_labels({stem.name: pair for stem in songs.stems})
    assert "no class has stems of its own" in evaluate(mixed, estimates).failed["song0"]
    with pytest.raises(DatasetError, match="never written to"):
        evaluate(songs, estimates, songs.root / "out")


def test_songs_that_fail_are_told_by_the_exit_status(
    songs: Dataset, estimates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (estimates / "song1" / "bass.wav").unlink()
    assert run_command(["evaluate", "--estimates", str(estimates), str(songs.root)]) == 1
    told = capsys.readouterr()
    assert "no estimate of bass" in told.out and "1 of 3 songs could not be measured" in told.err


def test_the_interval_holds_the_mean() -> None:
    """In 95 of 100 samples, give or take."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        _, low, high = paired_interval(rng.normal(1.0, 1.0, 40))
        held += low <= 1.0 <= high
    assert 0.89 <= held / 200 <= 0.99
    assert paired_interval([2.0, 2.0]) == (2.0, 2.0, 2.0)


class TestInterrupted:
    def separate(self, asked: list[str], stop_at: str = "") -> Estimate:
        def estimate(song: str, mixture: Blocks, *_: int) -> Blocks:
            asked.append(song)
            if song == stop_at:
                raise KeyboardInterrupt
            for block in mixture:
                yield np.stack([block * share for share in (0.1, 0.2, 0.3, 0.4)])

        return estimate

    def test_goes_on_after_the_songs_that_were_measured(self, songs: Dataset, tmp_path: Path) -> None:
        whole = evaluate(songs, self.separate([]), tmp_path / "whole", made_by={"seed": 1})
        asked: list[str] = []
        with pytest.raises(KeyboardInterrupt):
            evaluate(songs, self.separate(asked, "song2"), tmp_path / "out", made_by={"seed": 1})
        resumed = evaluate(songs, self.separate(asked), tmp_path / "out", made_by={"seed": 1})
        assert asked == ["song0", "song1", "song2", "song2"]
        assert resumed.songs.equals(whole.songs)
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["songs.csv", "summary.json"]

    def test_of_other_estimates_nothing_is_kept(self, songs: Dataset, tmp_path: Path) -> None:
        with pytest.raises(KeyboardInterrupt):
            evaluate(songs, self.separate([], "song2"), tmp_path, made_by={"seed": 1})
        asked: list[str] = []
        evaluate(songs, self.separate(asked), tmp_path, made_by={"seed": 2})
        assert asked == ["song0", "song1", "song2"]

    def test_a_damaged_record_is_no_record(self, songs: Dataset, tmp_path: Path) -> None:
        (tmp_path / ".measured.jsonl").write_text('{"request": 1, "songs"')
        assert len(evaluate(songs, self.separate([]), tmp_path, made_by={"seed": 1}).songs) == 12
