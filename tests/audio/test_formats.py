"""Formats and names of audio files that people have, and single channels."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from restem.audio.pcm import PcmStore
from restem.audio.reader import open_audio
from restem.dataset.layouts import open_dataset
from restem.dataset.table import Stem, split_stem_name
from restem.errors import AudioError

RATE_HZ = 22050


def sound(channels: int = 2) -> np.ndarray:
    """(channel, sample): another tone in each channel, 16-bit values."""
    time_s = np.arange(RATE_HZ // 4) / RATE_HZ
    tones = np.stack([0.3 * np.sin(2 * np.pi * 220 * (n + 1) * time_s) for n in range(channels)])
    return np.round(tones * 32767).astype(np.float32) / 32768


@pytest.mark.parametrize(
    ("name", "container"),
    [("x.caf", "CAF"), ("x.w64", "W64"), ("x.aifc", "AIFF"), ("x.au", "AU"), ("x.snd", "AU"), ("x.AIF", "AIFF")],
)
def test_formats_of_libsndfile(tmp_path: Path, name: str, container: str) -> None:
    path = tmp_path / "Song" / name.replace("x", "bass")
    path.parent.mkdir()
    soundfile.write(path, sound().T, RATE_HZ, format=container, subtype="PCM_16")
    stem = open_dataset(tmp_path).stems[0]
    with open_audio(tmp_path / stem.path) as audio:
        np.testing.assert_array_equal(audio.read(), sound())


def encode(path: Path, codec: str, container: str, samples: np.ndarray) -> None:
    planes = np.ascontiguousarray(samples)
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=RATE_HZ, layout="stereo", format="fltp")
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout="stereo")
        frame.sample_rate = RATE_HZ
        queue = av.AudioFifo()
        queue.write(frame)
        while part := queue.read(1024, partial=True):
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))


def test_wavpack_is_read_exactly(tmp_path: Path) -> None:
    encode(tmp_path / "x.wv", "wavpack", "wv", sound())
    with open_audio(tmp_path / "x.wv") as audio:
        np.testing.assert_array_equal(audio.read(), sound())
        np.testing.assert_array_equal(audio.read(0.1, 0.2), sound()[:, round(0.1 * RATE_HZ) : round(0.2 * RATE_HZ)])


def test_an_m4a_that_is_called_mp3(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    encode(tmp_path / "x.mp3", "aac", "ipod", sound())
    with open_audio(tmp_path / "x.mp3") as audio:
        found = audio.read()
    spectrum = np.abs(np.fft.rfft(found[1, : RATE_HZ // 5]))
    assert np.argmax(spectrum) * 5 == 440
    assert capfd.readouterr().err == ""


def test_a_channel_of_a_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", sound(3).T, RATE_HZ, subtype="PCM_16")
    for number in range(3):
        with open_audio(tmp_path / "x.wav", -1 - number) as audio:
            assert audio.info.channels == 1
            np.testing.assert_array_equal(audio.read(0.05), sound(3)[number : number + 1, round(0.05 * RATE_HZ) :])
    with pytest.raises(AudioError, match="has 3 channels"):
        open_audio(tmp_path / "x.wav", -4)


def test_a_channel_in_the_store_of_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", sound().T, RATE_HZ, subtype="PCM_16")
    store = PcmStore(tmp_path / "cache", RATE_HZ, 1)
    for number in range(2):
        source = (tmp_path / "x.wav", -1 - number)
        store.compute(source)
        np.testing.assert_allclose(store.require(source).read(0, 5512)[0], sound()[number], atol=1e-4)


def test_names_of_channels() -> None:
    for stream, name in ((-1, "a.wav:L"), (-2, "a.wav:R"), (-3, "a.wav:3"), (2, "a.mp4#2"), (None, "a.wav")):
        path = name[: name.rindex(".") + 4]
        assert Stem("s", path, frozenset(), stream).name == name
        assert split_stem_name(name) == (path, stream)
    assert split_stem_name("Song: L") == ("Song: L", None)


def test_audio_that_is_not_read_is_told_with_the_remedy(tmp_path: Path, tree) -> None:
    tree(tmp_path, ["A/vocals.wav", "A/bass.aac", "A/drums.wma"])
    reasons = {item.path: item.reason for item in open_dataset(tmp_path).skipped}
    assert reasons["A/bass.aac"] == "audio that is not read (.aac); convert it to WAV, FLAC or M4A"
    assert "convert it" in reasons["A/drums.wma"]
