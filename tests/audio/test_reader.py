from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from restem.audio.reader import open_audio, probe
from restem.errors import AudioError

RATE_HZ = 22050
SECONDS = 3.0

LOSSLESS = ("wav", "flac", "aiff")
FORMATS = (*LOSSLESS, "ogg", "mp3", "m4a")


def chirp(seconds: float = SECONDS, rate_hz: int = RATE_HZ, channels: int = 2) -> np.ndarray:
    """(channel, sample): no two places sound alike, so a sample out of place is found."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.stack([0.3 * np.sin(2 * np.pi * (200 + 70 * c + 150 * time_s) * time_s) for c in range(channels)])


def noise(seconds: float = SECONDS, rate_hz: int = RATE_HZ, channels: int = 2) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal((channels, round(seconds * rate_hz)))


def write(path: Path, samples: np.ndarray, rate_hz: int = RATE_HZ, **options: str) -> Path:
    if path.suffix in (".m4a", ".mp4"):
        write_mp4(path, [samples], rate_hz, **options)
    else:
        soundfile.write(path, samples.T, rate_hz, **options)
    return path


def write_mp4(path: Path, streams: Sequence[np.ndarray], rate_hz: int = RATE_HZ, **options: str) -> None:
    """AAC without noise substitution, whose noise is another one each time it is decoded."""
    with av.open(str(path), "w", format="mp4", options=options) as container:
        layouts = ["mono" if len(samples) == 1 else "stereo" for samples in streams]
        outputs = [
            container.add_stream("aac", rate=rate_hz, layout=layout, options={"aac_pns": "0"}) for layout in layouts
        ]
        for output, layout, samples in zip(outputs, layouts, streams, strict=True):
            for start in range(0, samples.shape[1], 1024):
                block = np.ascontiguousarray(samples[:, start : start + 1024], np.float32)
                frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
                frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
                container.mux(output.encode(frame))
            container.mux(output.encode(None))


@pytest.mark.parametrize("extension", FORMATS)
def test_samples_channels_and_length(tmp_path: Path, extension: str) -> None:
    samples = chirp()
    path = write(tmp_path / f"x.{extension}", samples)
    with open_audio(path) as audio:
        read = audio.read()
        assert audio.info == probe(path)
    assert read.dtype == np.float32
    assert (audio.info.rate_hz, audio.info.channels) == (RATE_HZ, 2)
    assert audio.info.seconds == pytest.approx(SECONDS, abs=0.1)
    length = min(read.shape[1], samples.shape[1])
    assert abs(read.shape[1] - samples.shape[1]) <= (0 if extension in LOSSLESS else 0.1 * RATE_HZ)
    # Away from the ends, where encoders fade in and out. One sample late, it would be off by 5 % or more.
    middle = slice(RATE_HZ // 4, length - RATE_HZ // 4)
    error = np.sqrt(np.mean((read[:, middle] - samples[:, middle]) ** 2))
    assert error < (1e-4 if extension in LOSSLESS else 0.01)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("sound", [chirp(), noise()], ids=["chirp", "noise"])
def test_ranges_are_slices(tmp_path: Path, extension: str, sound: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    with open_audio(write(tmp_path / f"x.{extension}", sound)) as audio:
        whole = audio.read()
        frames = whole.shape[1]
        for _ in range(40):
            # Half of them near the end: libsndfile loses its place in the last page of Vorbis, and in an MP3 of tones.
            first = int(rng.integers(0, frames)) if rng.random() < 0.5 else int(rng.integers(frames - 9000, frames))
            last = min(frames, first + int(rng.integers(1, RATE_HZ)))
            part = audio.read(first / RATE_HZ, last / RATE_HZ)
            assert part.shape == (2, last - first)
            np.testing.assert_allclose(part, whole[:, first:last], atol=1e-6, rtol=0)


@pytest.mark.parametrize("extension", FORMATS)
def test_blocks_make_up_the_whole(tmp_path: Path, extension: str) -> None:
    with open_audio(write(tmp_path / f"x.{extension}", chirp())) as audio:
        whole = audio.read()
        blocks = list(audio.blocks(block_frames=1000))
    assert {block.shape[1] for block in blocks[:-1]} == {1000}
    np.testing.assert_allclose(np.concatenate(blocks, axis=1), whole, atol=1e-6, rtol=0)


def test_times_outside_of_the_file(tmp_path: Path) -> None:
    with open_audio(write(tmp_path / "x.wav", chirp(1.0))) as audio:
        assert audio.read(2.0).shape == (2, 0)
        assert audio.read(0.5, 9.0).shape == (2, RATE_HZ // 2)
        assert audio.read(0.5, 0.5).shape == (2, 0)
        assert audio.read(-1.0, 0.5).shape == (2, RATE_HZ // 2)


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (8000, 8), (96000, 2), (44100, 8)])
def test_odd_rates_and_channels(tmp_path: Path, rate_hz: int, channels: int) -> None:
    samples = chirp(0.1, rate_hz, channels)
    for extension in ("wav", "flac"):
        with open_audio(write(tmp_path / f"x.{extension}", samples, rate_hz)) as audio:
            assert (audio.info.rate_hz, audio.info.channels) == (rate_hz, channels)
            np.testing.assert_allclose(audio.read(), samples, atol=1e-4)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_one_sample(tmp_path: Path, extension: str) -> None:
    with open_audio(write(tmp_path / f"x.{extension}", np.full((1, 1), 0.25))) as audio:
        assert audio.read().shape == (1, 1)


def test_very_short_m4a_does_not_end_before_it_began(tmp_path: Path) -> None:
    with open_audio(write(tmp_path / "x.m4a", chirp(0.02))) as audio:
        assert audio.read().shape[1] > 0


def test_streams_of_a_stem_mp4(tmp_path: Path) -> None:
    path = tmp_path / "song.stem.mp4"
    streams = [0.5 * chirp(1.0) / (n + 1) for n in range(5)]
    write_mp4(path, streams)
    for number, samples in enumerate(streams):
        with open_audio(path, number) as audio:
            read = audio.read(0.3, 0.8)
        expected = samples[:, round(0.3 * RATE_HZ) : round(0.8 * RATE_HZ)]
        np.testing.assert_allclose(read, expected, atol=0.02)
    with pytest.raises(AudioError, match="has 5 audio streams, no stream 5"):
        open_audio(path, 5)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7])
def test_truncated_files_are_told(tmp_path: Path, extension: str, share: float) -> None:
    for options in ({}, {"movflags": "faststart"}) if extension == "m4a" else ({},):
        path = write(tmp_path / f"x.{extension}", chirp(), **options)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(AudioError) as caught, open_audio(path) as audio:
            audio.read()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extension", ["wav", "aiff", "flac", "mp3", "m4a"])
@pytest.mark.parametrize("share", [0.9, 0.999])
def test_a_file_that_lacks_its_end_is_used_and_said_so(tmp_path: Path, extension: str, share: float) -> None:
    options = {"movflags": "faststart"} if extension == "m4a" else {}
    path = write(tmp_path / f"x.{extension}", chirp(), **options)
    with open_audio(path) as audio:
        whole = audio.read()
        assert audio.note == ""
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with open_audio(path) as audio:
        there = audio.read()
        note = audio.note
    # An MP3's length may be off by 0.1 s, for its encoder's delay.
    unnoticed = extension == "mp3" and share == 0.999
    assert unnoticed or re.fullmatch(r"its last \d\.\d\d s (are missing|cannot be decoded)", note)
    assert whole.shape[1] * 0.8 < there.shape[1] <= whole.shape[1]
    settled = slice(0, there.shape[1] - (0 if extension in LOSSLESS else 3000))
    np.testing.assert_allclose(there[:, settled], whole[:, settled], atol=1e-4)


def test_an_ogg_file_that_ends_within_a_page_is_told(tmp_path: Path) -> None:
    """It does not say how much is missing."""
    path = write(tmp_path / "x.ogg", chirp(0.5))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AudioError, match="is truncated; copy or download it again"):
        open_audio(path)


def test_truncated_rf64(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, chirp(0.5).T, RATE_HZ, format="RF64")
    content = path.read_bytes()
    # Made as for more than 4 GB: the lengths stand in the chunk ds64.
    assert content[:4] in (b"RF64", b"RIFF")
    data = content.index(b"data")
    length = struct.unpack_from("<I", content, data + 4)[0]
    fmt = content[content.index(b"fmt ") : data]
    size = struct.pack("<QQQI", len(content) + 28, len(content) - data - 8 if length == 0xFFFFFFFF else length, 0, 0)
    body = content[data + 8 :]
    whole = b"RF64" + b"\xff" * 4 + b"WAVEds64" + struct.pack("<I", 28) + size + fmt + b"data" + b"\xff" * 4 + body
    path.write_bytes(whole)
    with open_audio(path) as audio:
        assert audio.read().shape == (2, RATE_HZ // 2)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AudioError, match="is truncated"):
        open_audio(path)


def test_wav_whose_length_was_never_filled_in(tmp_path: Path) -> None:
    path = write(tmp_path / "x.wav", chirp(0.5))
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff" * 4
    path.write_bytes(content)
    with open_audio(path) as audio:
        assert audio.read().shape[1] == pytest.approx(RATE_HZ // 2, abs=1)


@pytest.mark.parametrize("extension", ["flac", "m4a"])
def test_damage_in_the_middle_is_told(tmp_path: Path, extension: str) -> None:
    path = write(tmp_path / f"x.{extension}", chirp())
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = np.random.default_rng(0).bytes(3000)
    path.write_bytes(content)
    with pytest.raises(AudioError, match="x\\."), open_audio(path) as audio:
        audio.read()


@pytest.mark.parametrize("extension", FORMATS)
def test_wrong_extensions(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"x.{extension}"
    path.write_text("This is no audio, whatever its name says. " * 50)
    with pytest.raises(AudioError, match=r"replace or rename the file|truncated"), open_audio(path) as audio:
        audio.read()
    path.write_bytes(b"")
    with pytest.raises(AudioError, match=r"is empty \(0 bytes\)"):
        open_audio(path)


def test_content_counts_where_the_decoder_can_tell(tmp_path: Path) -> None:
    write(tmp_path / "x.flac", chirp(0.2)).rename(tmp_path / "x.wav")
    with open_audio(tmp_path / "x.wav") as audio:
        assert audio.info.encoding == "FLAC PCM_16"


def test_a_file_without_samples(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="holds no samples"):
        open_audio(write(tmp_path / "x.wav", np.zeros((2, 0))))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    samples = chirp()
    samples[1, round(1.5 * RATE_HZ)] = value
    path = write(tmp_path / "x.wav", samples, subtype="FLOAT")
    with open_audio(path) as audio:
        with pytest.raises(AudioError, match=r"holds NaN or infinite samples at 1\.50 s"):
            audio.read()
        assert audio.read(0.0, 1.0).shape == (2, RATE_HZ)


@pytest.mark.parametrize("value", [1e18, 1e30, -3e38])
@pytest.mark.parametrize("everywhere", [True, False])
def test_samples_that_are_not_sound(tmp_path: Path, value: float, everywhere: bool) -> None:
    samples = chirp()
    samples[0, 0 if everywhere else round(1.5 * RATE_HZ) :: 1 if everywhere else RATE_HZ] = value
    path = write(tmp_path / "x.wav", samples, subtype="FLOAT")
    where = r"0\.00" if everywhere else r"1\.50"
    with open_audio(path) as audio, pytest.raises(AudioError, match=rf"not sound, at {where} s"):
        audio.read()


def test_floats_scaled_as_integers_are_sound(tmp_path: Path) -> None:
    samples = np.full((1, 1000), 2.0**31)
    with open_audio(write(tmp_path / "x.wav", samples, subtype="FLOAT")) as audio:
        assert audio.read().max() == np.float32(2.0**31)


@pytest.mark.parametrize("extension", ["wav", "m4a"])
def test_folders_and_missing_files(tmp_path: Path, extension: str) -> None:
    with pytest.raises(AudioError, match="no such file"):
        open_audio(tmp_path / f"x.{extension}")
    (tmp_path / f"x.{extension}").mkdir()
    with pytest.raises(AudioError, match="is a folder, not an audio file"):
        open_audio(tmp_path / f"x.{extension}")


@pytest.mark.parametrize("extension", ["wav", "m4a"])
def test_a_folder_that_may_not_be_entered(tmp_path: Path, extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then even to ask whether the file exists is refused."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("open", "stat", "exists", "is_dir"):
        monkeypatch.setattr(Path, name, refuse)
    with pytest.raises(AudioError, match="no permission to read it; change its permissions"):
        open_audio(tmp_path / f"closed.{extension}")


@pytest.mark.parametrize("extension", ["wav", "m4a"])
def test_a_name_that_no_file_can_have(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"{'x' * 300}.{extension}"
    with pytest.raises(AudioError, match="File name too long"):
        open_audio(path)


@pytest.mark.parametrize("extension", ["wav", "m4a"])
def test_no_permission(tmp_path: Path, extension: str) -> None:
    path = write(tmp_path / f"x.{extension}", chirp(0.2))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(AudioError, match="no permission to read it"):
        open_audio(path)


def test_no_permission_whoever_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.wav", chirp(0.2))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr("restem.audio.reader._ForwardFile", refuse)
    with pytest.raises(AudioError, match="no permission to read it; change its permissions"):
        open_audio(path)
