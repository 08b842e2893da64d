"""The sound of a stem in object storage for a browser: the bytes that it asks for, where it can play them as they are.

A listener hears a few seconds of a stem, so it is not fetched whole. What follows on what was asked for is read along,
so that a stem takes few requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import soundfile

from restem.addresses import Address, told_of
from restem.audio.reader import AudioInfo
from restem.review.sound import media_type

# Of these a header tells all. The length of an MP3 is counted in its frames, and MP4 is not libsndfile's.
_CONTAINERS = ("WAV", "WAVEX", "FLAC", "OGG")
_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class RangedSound:
    """An object that browsers play. kind: its media type. size: in bytes."""

    address: Address
    kind: str
    size: int

    @classmethod
    def of(cls, address: Address, stream: int | None) -> RangedSound | None:
        """The sound at an address; None where it has to be decoded from a copy. stream: see `media_type`.

        Raises RestemError and FileNotFoundError where it cannot be read.
        """
        with told_of(address), address.ranges() as file:
            try:
                with soundfile.SoundFile(file) as sound:
                    info = AudioInfo(sound.samplerate, sound.channels, sound.frames, sound.format, sound.subtype)
            except soundfile.LibsndfileError:
                return None
            kind = media_type(info, stream) if info.container in _CONTAINERS else None
            return cls(address, kind, address.stored().size) if kind else None

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, in blocks."""
        with told_of(self.address), self.address.ranges() as file:
            file.seek(start)
            while start < stop and (block := file.read(min(_BLOCK_BYTES, stop - start))):
                start += len(block)
                yield block
