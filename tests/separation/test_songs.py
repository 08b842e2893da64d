from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from torch import Tensor, nn

from restem.api import evaluate
from restem.cli.main import run_command
from restem.errors import AudioError, RestemError, UsageError
from restem.separation.separator import Separator, SeparatorConfig, save_separator
from restem.separation.song_files import audio_files
from restem.separation.songs import separate, separate_audio

RATE_HZ = 8000


class Shares(nn.Module):
    """Two sources: fixed shares of the mixture, which leave a quarter."""

    def forward(self, mixture: Tensor) -> Tensor:
        return torch.stack([0.25 * mixture, 0.5 * mixture], dim=1)


@pytest.fixture
def model() -> Separator:
    return Separator(SeparatorConfig("band_split", ("vocals", "drums"), rate_hz=RATE_HZ, segment_s=0.5), Shares())


def write(path: Path, channels: int = 2, rate_hz: int = RATE_HZ, seconds: float = 1.3, level: float = 0.3) -> Path:
    """A few tones, different in every channel."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    sound = [level * np.sin(2 * np.pi * (200 + 50 * number) * time_s) for number in range(channels)]
    soundfile.write(path, np.stack(sound, axis=1), rate_hz, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


@pytest.mark.parametrize(
    ("channels", "rate_hz", "format"),
    [(2, 8000, "wav"), (1, 8000, "flac"), (2, 44100, "wav"), (6, 48000, "wav"), (1, 96000, "ogg"), (2, 44100, "mp3")],
)
def test_rate_length_and_channels_stay(
    model: Separator, tmp_path: Path, channels: int, rate_hz: int, format: str
) -> None:
    song = write(tmp_path / "song.wav", channels, rate_hz)
    summary = separate(model, [song], tmp_path / "out", format=format, device="cpu")  # type: ignore[arg-type]
    assert summary.failed == {} and summary.done == (tmp_path / "out" / "song",)
    names = {path.name for path in summary.done[0].iterdir()}
    assert names == {f"vocals.{format}", f"drums.{format}", "restem.json"}
    drums, found_hz = soundfile.read(summary.done[0] / f"drums.{format}", always_2d=True)
    mixture, _ = soundfile.read(song, always_2d=True)
    assert found_hz == rate_hz and drums.shape[1] == min(channels, 2)
    if format in ("wav", "flac"):
        assert len(drums) == len(mixture)
        if channels <= 2:
            assert np.abs(drums - 0.5 * mixture)[200:-200].max() < 1e-3


@pytest.mark.parametrize("extension", ["wav", "flac"])
def test_a_song_that_lacks_its_end_ends_there(model: Separator, tmp_path: Path, extension: str) -> None:
    song = write(tmp_path / f"song.{extension}")
    song.write_bytes(song.read_bytes()[: int(song.stat().st_size * 0.8)])
    for _ in range(2):  # made, and found there
        summary = separate(model, [song], tmp_path / "out", device="cpu", residual=True)
        assert summary.failed == {} and summary.notes.keys() == {str(song)}
        assert "its last" in summary.notes[str(song)]
    lengths = {soundfile.info(path).frames for path in summary.done[0].glob("*.wav")}
    assert len(lengths) == 1 and 0.5 * 1.3 * RATE_HZ < lengths.pop() < 0.9 * 1.3 * RATE_HZ


def test_songs_are_found_in_folders_and_by_patterns(tmp_path: Path, tree: Callable) -> None:
    flat = tree(tmp_path / "flat", ["b.mp3", "a.wav", "notes.txt", "deeper/c.wav"])
    songs = tree(tmp_path / "songs", ["test/B/mixture.wav", "test/B/vocals.wav", "test/A/Mix.flac", "test/A/bass.wav"])
    assert audio_files([flat]) == [flat / "a.wav", flat / "b.mp3"]
    assert audio_files([songs, flat / "*.mp3"]) == [
        songs / "test/A/Mix.flac", songs / "test/B/mixture.wav", flat / "b.mp3",
    ]  # fmt: skip
    assert audio_files([tmp_path / "none.wav"]) == [tmp_path / "none.wav"]  # which `separate` reports
    (tmp_path / "empty").mkdir()
    for nothing in (tmp_path / "empty", flat / "*.ogg"):
        with pytest.raises(RestemError, match="holds no song"):
            audio_files([nothing])


def test_a_mixture_is_called_as_its_song(model: Separator, tmp_path: Path) -> None:
    for song in ("A", "B"):
        (tmp_path / "songs" / song).mkdir(parents=True)
        write(tmp_path / "songs" / song / "mixture.wav")
    summary = separate(model, tmp_path / "songs", tmp_path / "out", device="cpu")
    assert summary.failed == {} and [one.name for one in summary.done] == ["A", "B"]


def test_residual_is_what_is_left(model: Separator, tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav", rate_hz=22050)
    separate(model, [song], tmp_path / "out", stems=["drums"], residual=True, depth="float", device="cpu")
    folder = tmp_path / "out" / "song"
    assert {path.name for path in folder.iterdir()} == {"drums.wav", "residual.wav", "restem.json"}
    parts = [soundfile.read(folder / name)[0] for name in ("drums.wav", "residual.wav")]
    assert np.abs(sum(parts) - soundfile.read(song)[0]).max() < 1e-6


def test_one_that_fails_does_not_stop_the_others(model: Separator, tmp_path: Path) -> None:
    good = write(tmp_path / "good.wav")
    cut = write(tmp_path / "cut.wav")
    cut.write_bytes(cut.read_bytes()[:-40000])
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.full((9000, 2), np.nan), RATE_HZ, subtype="FLOAT")
    long = tmp_path / f"{'x' * 300}.wav"  # a name that no file can have
    seen: list[tuple[str, int, int]] = []
    summary = separate(
        model, [cut, nan, tmp_path / "none.wav", tmp_path, long, good], tmp_path / "out", device="cpu",
        progress=lambda *report: seen.append(report),
    )  # fmt: skip
    assert summary.done == (tmp_path / "out" / "good",)
    assert set(summary.failed) == {str(path) for path in (cut, nan, tmp_path / "none.wav", tmp_path, long)}
    assert "NaN" in summary.failed[str(nan)]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good"]
    assert seen[0][1] == 0 and seen[-1][1] == seen[-1][2]


def test_again_and_otherwise(model: Separator, tmp_path: Path) -> None:
    song, twin = write(tmp_path / "song.wav"), tmp_path / "other" / "song.wav"
    twin.parent.mkdir()
    write(twin, seconds=0.2)
    out = tmp_path / "out"
    assert separate(model, [song, twin], out, device="cpu").done == (out / "song", out / "song_2")
    before = (out / "song" / "drums.wav").stat().st_mtime_ns
    assert separate(model, [song, twin], out, device="cpu").failed == {}
    assert (out / "song" / "drums.wav").stat().st_mtime_ns == before
    again = separate(model, [song], out, overlap=0.5, device="cpu")
    assert "differs in `overlap`; choose another `out`" in again.failed[str(song)]


def test_clipping_is_told(model: Separator, tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav", level=3.0)
    assert separate(model, [song], tmp_path / "out", device="cpu").clipped == (tmp_path / "out" / "song",)
    assert separate(model, [song], tmp_path / "float", depth="float", device="cpu").clipped == ()


def test_shifts_are_part_of_the_request(model: Separator, tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav")
    for shifts in (0, 3):
        separate(model, [song], tmp_path / str(shifts), shifts=shifts, depth="float", device="cpu")
    plain, averaged = (soundfile.read(tmp_path / name / "song" / "drums.wav")[0] for name in ("0", "3"))
    assert np.abs(plain - averaged).max() < 1e-6
    assert separate(model, [song], tmp_path / "3", shifts=3, depth="float", device="cpu").failed == {}
    assert separate(model, [song], tmp_path / "3", shifts=2, depth="float", device="cpu").failed


def test_what_the_format_cannot_hold_is_told(model: Separator, tmp_path: Path) -> None:
    song = write(tmp_path / "song.wav", rate_hz=96000)
    reason = separate(model, [song], tmp_path / "out", format="mp3", device="cpu").failed[str(song)]
    assert "cannot be written" in reason and "sample rates" in reason and reason.count(".part") == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_refused(model: Separator, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no stem 'bass'; it has vocals, drums"):
        separate(model, [], tmp_path / "out", stems=["bass"])
    with pytest.raises(UsageError, match="FLAC"):
        separate(model, [], tmp_path / "out", format="flac", depth="float")
    with pytest.raises(UsageError, match="MP3 files cannot hold float"):
        separate(model, [], tmp_path / "out", format="mp3", depth="float")
    with pytest.raises(UsageError, match=r"overlap 1\.0"):
        separate(model, [], tmp_path / "out", overlap=1.0)
    own = Separator(replace(model.config, classes=("residual", "drums")), Shares())
    with pytest.raises(UsageError, match="leave out `residual`"):
        separate(own, [], tmp_path / "out", residual=True)
    with pytest.raises(RestemError, match="no such model folder"):
        separate(tmp_path / "nothing", [], tmp_path / "out")


class TestAudioInMemory:
    @pytest.mark.parametrize(("channels", "rate_hz"), [(2, 8000), (1, 44100), (2, 22050), (6, 48000)])
    def test_is_what_separate_writes(self, model: Separator, tmp_path: Path, channels: int, rate_hz: int) -> None:
        song = write(tmp_path / "song.wav", channels, rate_hz)
        separate(model, song, tmp_path / "out", depth="float", device="cpu")
        sound, _ = soundfile.read(song, dtype="float32", always_2d=True)
        stems = separate_audio(model, sound.T, rate_hz, device="cpu")
        assert list(stems) == ["vocals", "drums"]
        for name, stem in stems.items():
            written, found_hz = soundfile.read(
                tmp_path / "out" / "song" / f"{name}.wav", dtype="float32", always_2d=True
            )
            assert found_hz == rate_hz and stem.dtype == np.float32
            assert np.array_equal(stem, written.T)

    def test_is_linear_and_keeps_the_length(self, model: Separator) -> None:
        sound = np.random.default_rng(0).uniform(-0.5, 0.5, 12345)
        stems = separate_audio(model, sound, RATE_HZ, overlap=0.5, device="cpu")
        assert stems["drums"].shape == (1, 12345)
        assert np.abs(stems["vocals"][0] - 0.25 * sound).max() < 1e-6
        assert np.abs(stems["vocals"] + stems["drums"] - 0.75 * sound).max() < 1e-6

    def test_nothing_gives_nothing(self, model: Separator) -> None:
        assert separate_audio(model, np.zeros((2, 0), np.float32), RATE_HZ, device="cpu")["drums"].shape == (2, 0)

    @pytest.mark.parametrize(
        "audio", [np.zeros((2, 3, 4)), np.zeros(100, np.int16), np.zeros((100, 2)), np.array(["a", "b"])]
    )
    def test_what_is_no_sound_is_refused(self, model: Separator, audio: np.ndarray) -> None:
        with pytest.raises(UsageError, match="`audio`"):
            separate_audio(model, audio, RATE_HZ, device="cpu")

    def test_samples_and_options_that_cannot_be(self, model: Separator) -> None:
        with pytest.raises(AudioError, match="NaN"):
            separate_audio(model, np.full(100, np.nan), RATE_HZ, device="cpu")
        with pytest.raises(UsageError, match="`rate_hz`"):
            separate_audio(model, np.zeros(100), 0, device="cpu")
        with pytest.raises(UsageError, match="overlap"):
            separate_audio(model, np.zeros(100), RATE_HZ, overlap=1.0, device="cpu")


def test_what_a_separator_of_other_classes_makes_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = SeparatorConfig("band_split", ("flute", "drums"), rate_hz=RATE_HZ, segment_s=0.5, parameters={"width": 8})
    save_separator(Path("model"), config, config.build().network.state_dict())
    Path("songs/A").mkdir(parents=True)
    parts = [write(Path("songs/A") / f"{name}.wav", level=level) for name, level in (("flute", 0.1), ("drums", 0.3))]
    soundfile.write("songs/A/mixture.wav", sum(soundfile.read(part)[0] for part in parts), RATE_HZ, subtype="FLOAT")
    # The classes are the separator's, and the estimates lie where they are looked for.
    assert run_command(["evaluate", "model", "songs", "--out", "result", "--device", "cpu"]) == 0
    assert run_command(["separate", "model", "songs", "--out", "made", "--depth", "float", "--device", "cpu"]) == 0
    classes = ["--classes", "flute,drums"]
    assert run_command(["evaluate", "--estimates", "made", "songs", "--out", "again", *classes]) == 0
    found = [pl.read_csv(Path(out) / "songs.csv").sort("class") for out in ("result", "again")]
    assert found[0]["class"].to_list() == ["drums", "flute"]
    assert np.allclose(found[0]["sdr"], found[1]["sdr"], atol=0.01)
    result = evaluate("songs", model="model", device="cpu").songs.sort("class")
    assert np.allclose(result["sdr"], found[0]["sdr"], atol=1e-4)
