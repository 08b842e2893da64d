"""Files whose headers lie about their length, or say nothing about it: all samples are there, and all are read."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.audio.pcm import PcmStore
from restem.audio.reader import open_audio, probe
from restem.errors import AudioError
from restem.review.sound import media_type

RATE_HZ = 22050
SECONDS = 3.0


@pytest.fixture
def sound() -> np.ndarray:
    """(sample, channel): a chirp, then silence, which an encoder of variable bit rate makes small."""
    time_s = np.arange(round(SECONDS * RATE_HZ)) / RATE_HZ
    mono = 0.3 * np.sin(2 * np.pi * (200 + 150 * time_s) * time_s) * (time_s < SECONDS / 2)
    return np.stack([mono, 0.5 * mono], axis=1)


def read(path: Path) -> tuple[np.ndarray, str]:
    with open_audio(path) as audio:
        samples = audio.read()
        assert audio.info.frames == samples.shape[1]
        return samples, audio.note


def written(path: Path, sound: np.ndarray, **options: str) -> bytes:
    soundfile.write(path, sound, RATE_HZ, **options)
    return path.read_bytes()


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "AIFF"])
@pytest.mark.parametrize("riff", ["right", "zero"])
def test_a_recorder_died_before_it_wrote_the_length(
    tmp_path: Path, sound: np.ndarray, container: str, riff: str
) -> None:
    path = tmp_path / ("x.aiff" if container == "AIFF" else "x.wav")
    content = bytearray(written(path, sound, format=container))
    place = content.index(b"SSND" if container == "AIFF" else b"data") + 4
    content[place : place + 4] = bytes(4)
    if riff == "zero":
        content[4:8] = bytes(4)
    if container == "AIFF":
        place = content.index(b"COMM") + 10
        content[place : place + 4] = bytes(4)
    path.write_bytes(content)
    samples, note = read(path)
    np.testing.assert_allclose(samples, sound.T, atol=1e-4)
    assert note == "its header states no length; all that it holds is used"


@pytest.mark.parametrize("stated", [0x10000000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF])
@pytest.mark.parametrize("riff", [0, 0x24, 0xFFFFFFFF])
def test_a_length_that_was_only_a_promise(tmp_path: Path, sound: np.ndarray, stated: int, riff: int) -> None:
    path = tmp_path / "x.wav"
    content = bytearray(written(path, sound))
    place = content.index(b"data") + 4
    content[4:8], content[place : place + 4] = struct.pack("<I", riff), struct.pack("<I", stated)
    path.write_bytes(content)
    np.testing.assert_allclose(read(path)[0], sound.T, atol=1e-4)


def test_an_empty_wav_with_a_tag_behind_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    content = written(path, np.zeros((0, 2)))
    path.write_bytes(
        content + b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.16.100\0"
    )
    with pytest.raises(AudioError, match="holds no samples"):
        open_audio(path)


def test_a_flac_that_a_pipe_has_left_without_length(tmp_path: Path, sound: np.ndarray) -> None:
    path = tmp_path / "x.flac"
    content = bytearray(written(path, sound))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)
    samples, note = read(path)
    np.testing.assert_allclose(samples, sound.T, atol=1e-4)
    assert note == ""
    path.write_bytes(content[:60])
    with pytest.raises(AudioError, match="no whole frame"):
        open_audio(path)


class TestMp3:
    @pytest.fixture(params=[44100, 22050, 8000])
    def frames(self, request: pytest.FixtureRequest, tmp_path: Path, sound: np.ndarray) -> tuple[bytes, int]:
        """The frames of an MP3 of variable bit rate, without the first, which is the header; and its rate."""
        path = tmp_path / "whole.mp3"
        with soundfile.SoundFile(
            path, "w", request.param, 2, format="MP3", bitrate_mode="VARIABLE", compression_level=0.5
        ) as file:
            file.write(sound)
        content = path.read_bytes()
        first = content.index(content[:2], content.index(b"Xing") if b"Xing" in content else content.index(b"Info"))
        return content[first:], request.param

    @pytest.mark.parametrize("tags", [b"", b"ID3\x04\0\0\0\x06\x0d\x20" + bytes(100000)], ids=["bare", "tagged"])
    def test_without_a_header_nothing_is_guessed(
        self, tmp_path: Path, frames: tuple[bytes, int], sound: np.ndarray, tags: bytes
    ) -> None:
        path = tmp_path / "x.mp3"
        path.write_bytes(tags + frames[0] + (b"TAG" + bytes(125) if tags else b""))
        samples, note = read(path)
        assert note == "" and 0 <= samples.shape[1] - len(sound) < 5000
        # The same samples as with the header, but for the encoder's delay.
        with open_audio(tmp_path / "whole.mp3") as audio:
            whole = audio.read()
        late = int(np.argmax(np.correlate(samples[0, :20000], whole[0, 1000:12000], "valid"))) - 1000
        assert 0 <= late < 3000
        np.testing.assert_allclose(samples[:, late + 3000 :][:, :50000], whole[:, 3000:][:, :50000], atol=1e-4)

    @pytest.mark.usefixtures("frames")
    def test_two_files_in_one_are_read_to_the_end(self, tmp_path: Path) -> None:
        content = (tmp_path / "whole.mp3").read_bytes()
        alone, _ = read(tmp_path / "whole.mp3")
        path = tmp_path / "x.mp3"
        path.write_bytes(content + content)
        samples, note = read(path)
        assert "states less than the file holds" in note
        assert samples.shape[1] > 1.95 * alone.shape[1]


def test_a_hole_in_an_ogg_file_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "x.ogg"
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (4 * RATE_HZ, 2))
    content = written(path, noise)
    assert read(path)[0].shape[1] == len(noise)
    pages = [place for place in range(len(content)) if content[place : place + 4] == b"OggS"]
    for first in range(2, len(pages) - 1):
        for stop in range(first + 1, len(pages)):
            path.write_bytes(content[: pages[first]] + content[pages[stop] :])
            with pytest.raises(AudioError, match="has a hole after"):
                open_audio(path)
    rng = np.random.default_rng(1)
    for place in rng.integers(pages[2], len(content), 100).tolist():
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(AudioError, match=r"has a hole|is truncated"):
            open_audio(path)
    path.write_bytes(content + content)
    with pytest.raises(AudioError, match="several recordings one after the other"):
        open_audio(path)


def test_an_ogg_file_without_a_last_page(tmp_path: Path) -> None:
    """As a recorder leaves it that was stopped."""
    path = tmp_path / "x.ogg"
    content = written(path, np.random.default_rng(0).uniform(-0.1, 0.1, (4 * RATE_HZ, 2)))
    path.write_bytes(content[: content.rindex(b"OggS")])
    samples, note = read(path)
    assert "not marked" in note and samples.shape[1] > 3 * RATE_HZ


def test_a_mended_file_is_copied_for_training(tmp_path: Path, sound: np.ndarray) -> None:
    """Where it lies, other readers take it for empty."""
    path = tmp_path / "x.wav"
    content = bytearray(written(path, sound))
    place = content.index(b"data") + 4
    content[place : place + 4] = bytes(4)
    path.write_bytes(content)
    assert media_type(probe(path), None) is None  # nor is a browser to play it as it is
    store = PcmStore(tmp_path / "cache", RATE_HZ, 2)
    assert store.fill([(path, 0)]) == {}
    np.testing.assert_allclose(store.require((path, 0)).read(0, len(sound)), sound.T, atol=1e-3)
