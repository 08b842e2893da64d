"""Writes audio files block by block and atomically: a file appears under its name only when it is complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from restem.errors import AudioError, RestemError
from restem.files import written_aside

# Lossless where the format allows; 24 bits keep what a sum of 16-bit stems needs.
SUBTYPES = {".wav": "PCM_24", ".flac": "PCM_24", ".ogg": "VORBIS", ".mp3": "MPEG_LAYER_III"}

_SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM: the disk, not the sound


def write_audio(path: Path, samples: np.ndarray, rate_hz: int, subtype: str | None = None) -> None:
    """Writes `samples` (channel, sample) as the format of `path`'s extension; raises AudioError as `write_blocks`."""
    write_blocks(path, [samples], rate_hz, samples.shape[0], subtype)


def write_blocks(
    path: Path, blocks: Iterable[np.ndarray], rate_hz: int, channels: int, subtype: str | None = None
) -> None:
    """Writes `(channel, sample)` blocks one after another to `path`, in constant memory; see `open_writer`."""
    with open_writer(path, rate_hz, channels, subtype) as write:
        for block in blocks:
            write(block)


@contextmanager
def open_writer(
    path: Path, rate_hz: int, channels: int, subtype: str | None = None
) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that appends a `(channel, sample)` block to `path`; the file appears when the body has ended.

    subtype: a libsndfile encoding (`PCM_16`, `FLOAT`, ...); by default that of `SUBTYPES`. But for `FLOAT`, what is
    louder than full scale is cut.
    Raises AudioError for an extension, encoding or number of channels that cannot be written, RestemError when the disk
    is full or the folder cannot be written to.
    """
    extension = path.suffix.lower()
    if extension not in SUBTYPES:
        raise AudioError(f"{path}: cannot write {extension or 'no'} files; use one of {' '.join(SUBTYPES)}.")
    container = extension[1:].upper()
    subtype = subtype or SUBTYPES[extension]
    if not soundfile.check_format(container, subtype):
        raise AudioError(f"{path}: {container} files cannot hold {subtype}.")
    try:
        with (
            written_aside(path) as aside,
            soundfile.SoundFile(str(aside), "w", rate_hz, channels, format=container, subtype=subtype) as file,
        ):
            # LAME ends the process, by an assertion, over samples far above full scale.
            most = 1.0 if extension in (".mp3", ".ogg") else np.inf
            yield lambda block: file.write(np.ascontiguousarray(block.T).clip(-most, most))
    except soundfile.LibsndfileError as error:
        if error.code == _SYSTEM_ERROR:  # it does not say which
            raise RestemError(f"{path}: cannot be written; is the disk full, or the file too large for it?") from error
        reason = error.error_string.removeprefix("Error : ").rstrip(".")
        raise AudioError(f"{path}: cannot be written ({reason}).") from error
    except OSError as error:
        raise RestemError(f"{path}: cannot be written ({error.strerror or error}).") from error
