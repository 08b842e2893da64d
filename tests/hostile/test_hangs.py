"""What would wait for ever or grow without end: pipes, rates of damaged headers, chunks of no length."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import restem
from restem.audio.reader import probe
from restem.cli.main import run_command
from restem.errors import AudioError, UsageError
from restem.separation.separator import Separator, SeparatorConfig
from restem.separation.songs import separate, separate_audio


@pytest.fixture
def separator() -> Separator:
    parameters = {"n_fft": 256, "hop": 128, "bands": 12, "width": 8, "depth": 1}
    return SeparatorConfig("band_split", ("a", "b"), rate_hz=8000, segment_s=0.5, parameters=parameters).build().eval()


def with_rate(path: Path, rate_hz: int) -> Path:
    """A WAV of 6 s whose header states another rate."""
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal(6 * 8000), 8000)
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack("<I", rate_hz)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("rate_hz", [1, 7, 100, 999, 768_001, 2**31 - 1])
def test_rates_that_music_has_not(tmp_path: Path, separator: Separator, rate_hz: int) -> None:
    (tmp_path / "songs" / "Song").mkdir(parents=True)
    song = with_rate(tmp_path / "songs" / "Song" / "vocals.wav", rate_hz)
    with pytest.raises(AudioError, match=r"vocals\.wav"):
        probe(song)
    assert len(separate(separator, song, tmp_path / "out", device="cpu").failed) == 1
    assert restem.scan(tmp_path / "songs", workers=1)["error"][0]
    with pytest.raises(UsageError, match="`rate_hz` must be from 1000 to 768000"):
        separate_audio(separator, np.zeros((1, 100), np.float32), rate_hz, device="cpu")
    with pytest.raises(UsageError):
        restem.TrainSettings(rate_hz=rate_hz)
    with pytest.raises(UsageError):
        SeparatorConfig("band_split", ("a", "b"), rate_hz=rate_hz)


@pytest.mark.parametrize("rate_hz", [1000, 8000, 44101, 192_000, 384_000])
def test_rates_that_it_has(tmp_path: Path, rate_hz: int) -> None:
    assert probe(with_rate(tmp_path / "song.wav", rate_hz)).rate_hz == rate_hz


@pytest.mark.parametrize("name", ["song.wav", "song.flac", "song.mp3", "song.m4a", "song.stem.mp4", "song.aif"])
def test_pipes(tmp_path: Path, separator: Separator, write_band: Callable, name: str) -> None:
    """To open one would wait for somebody to write to it."""
    pipe = tmp_path / name
    os.mkfifo(pipe)
    with pytest.raises(AudioError, match="is not an ordinary file"):
        probe(pipe)
    (reason,) = separate(separator, pipe, tmp_path / "out", device="cpu").failed.values()
    assert "is not an ordinary file" in reason
    songs = write_band(tmp_path / "songs", songs=1, seconds=1.0)
    os.mkfifo(songs / "Song 1" / name)
    dataset = restem.open_dataset(songs)
    assert len(dataset) == 4 and "neither a file nor a folder" in {item.reason for item in dataset.skipped}


def test_a_stem_that_became_a_pipe(tmp_path: Path, write_band: Callable) -> None:
    """Between listing and reading; nothing waits for it, and the other stems are used."""
    dataset = restem.open_dataset(write_band(tmp_path / "songs", songs=1, seconds=1.0))
    (tmp_path / "songs" / "Song 1" / "bass.wav").unlink()
    os.mkfifo(tmp_path / "songs" / "Song 1" / "bass.wav")
    dataset.fingerprint()
    assert restem.scan(dataset, workers=1)["error"].to_list().count("") == 3
    run = restem.refine(dataset, tmp_path / "run", cache=tmp_path / "cache", workers=1, steps=1, folds=1, device="cpu")
    assert dict(zip(run.labels["stem"], run.labels["verdict"], strict=True))["Song 1/bass.wav"] == "failed"


@pytest.mark.parametrize("name", ["table.csv", "mine.yaml"])
def test_a_pipe_for_a_table(
    tmp_path: Path, write_band: Callable, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / name)
    songs = write_band(tmp_path / "songs", songs=1, seconds=0.5)
    place = str(tmp_path / name)
    assert run_command(["scan", place] if name == "table.csv" else ["scan", str(songs), "--classes", place]) == 1
    assert name in capsys.readouterr().err


def test_a_folder_that_is_called_like_a_stem(tmp_path: Path, write_band: Callable) -> None:
    songs = write_band(tmp_path / "songs", songs=1, seconds=0.5)
    (songs / "Song 1" / "vocals.wav").unlink()
    (songs / "Song 1" / "vocals.wav").mkdir()
    (songs / "Song 1" / "vocals.wav" / "take.txt").touch()
    reasons = {item.path: item.reason for item in restem.open_dataset(songs).skipped}
    assert "a folder, though it is called like an audio file" in reasons["Song 1/vocals.wav/"]
    assert "Song 1/vocals.wav/take.txt" in reasons


@pytest.mark.parametrize("megabytes", [1, 64])
def test_chunks_of_no_length(tmp_path: Path, megabytes: int) -> None:
    """`fmt ` and then zeros, which read as millions of empty chunks."""
    path = tmp_path / "zeros.wav"
    form = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    head = b"RIFF" + struct.pack("<I", (megabytes << 20) + 28) + b"WAVEfmt " + form
    path.write_bytes(head)
    os.truncate(path, len(head) + (megabytes << 20))
    with pytest.raises(AudioError, match=r"zeros\.wav"):
        probe(path)
