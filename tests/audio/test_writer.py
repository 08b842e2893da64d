from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.audio import writer
from restem.audio.reader import open_audio
from restem.audio.writer import SUBTYPES, write_audio, write_blocks
from restem.errors import AudioError, RestemError

RATE_HZ = 22050


def noise(channels: int = 2, frames: int = 5000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.9, 0.9, (channels, frames)).astype(np.float32)


@pytest.mark.parametrize("extension", [".wav", ".flac"])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_lossless_to_24_bits(tmp_path: Path, extension: str, channels: int) -> None:
    path = tmp_path / f"a/b/x{extension}"
    write_audio(path, noise(channels), RATE_HZ)
    assert soundfile.info(path).subtype == "PCM_24"
    with open_audio(path) as audio:
        np.testing.assert_allclose(audio.read(), noise(channels), atol=2.0**-22)


def test_float_is_exact_and_may_exceed_full_scale(tmp_path: Path) -> None:
    write_audio(tmp_path / "x.wav", 3 * noise(), RATE_HZ, "FLOAT")
    with open_audio(tmp_path / "x.wav") as audio:
        np.testing.assert_array_equal(audio.read(), 3 * noise())


@pytest.mark.parametrize("extension", SUBTYPES)
def test_every_format_is_read_back(tmp_path: Path, extension: str) -> None:
    write_audio(tmp_path / f"x{extension}", noise(), RATE_HZ)
    with open_audio(tmp_path / f"x{extension}") as audio:
        assert audio.read().shape == (2, 5000)


def test_blocks_are_one_file(tmp_path: Path) -> None:
    write_blocks(tmp_path / "x.flac", np.array_split(noise(), 7, axis=1), RATE_HZ, 2)
    write_audio(tmp_path / "y.flac", noise(), RATE_HZ)
    assert (tmp_path / "x.flac").read_bytes() == (tmp_path / "y.flac").read_bytes()


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    write_audio(path, noise(), RATE_HZ)
    before = path.read_bytes()

    def blocks() -> Iterator[np.ndarray]:
        yield noise()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_blocks(path, blocks(), RATE_HZ, 2)
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["x.wav"]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"cannot write \.m4a files; use one of \.wav"):
        write_audio(tmp_path / "x.m4a", noise(), RATE_HZ)
    with pytest.raises(AudioError, match="cannot write no files"):
        write_audio(tmp_path / "x", noise(), RATE_HZ)
    with pytest.raises(AudioError, match="FLAC files cannot hold FLOAT"):
        write_audio(tmp_path / "x.flac", noise(), RATE_HZ, "FLOAT")
    with pytest.raises(AudioError, match=r"x\.flac: cannot be written"):
        write_audio(tmp_path / "x.flac", noise(9), RATE_HZ)
    (tmp_path / "file").touch()
    with pytest.raises(RestemError, match=r"x\.wav: cannot be written"):
        write_audio(tmp_path / "file" / "x.wav", noise(), RATE_HZ)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    # In place of the writer's own temporary file, a device on which nothing fits.
    monkeypatch.setattr(writer, "written_aside", lambda _: nullcontext(full))
    with pytest.raises(RestemError, match=r"x\.wav: cannot be written"):
        write_audio(tmp_path / "x.wav", noise(2, 1 << 20), RATE_HZ)


@pytest.mark.parametrize("extension", ["mp3", "ogg"])
def test_far_above_full_scale(tmp_path: Path, run_python: Callable, extension: str) -> None:
    """In a process of its own, because the encoder of MP3 ends it over such samples."""
    program = """
import sys, numpy
from pathlib import Path
from restem.audio.writer import write_audio
rng = numpy.random.default_rng(0)
write_audio(Path(sys.argv[1]), 2.0**31 * rng.uniform(-1, 1, (1, 48000)).astype(numpy.float32), 24000)
"""
    done = run_python(program, tmp_path / f"x.{extension}")
    assert done.returncode == 0, done.stderr
    with open_audio(tmp_path / f"x.{extension}") as audio:
        assert 0.5 < np.abs(audio.read()).max() < 4.0
