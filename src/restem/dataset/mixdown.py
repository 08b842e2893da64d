"""Sums sounds block by block, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restem.audio.reader import AudioInfo, open_audio
from restem.errors import AudioError

# A stretch is faded in and out over this time; abrupt edges would click.
_FADE_S = 0.01


@dataclass(frozen=True)
class Sound:
    """A stem as a term of a sum: not shifted in time, with a gain, and only within `span_s` if that is set."""

    path: Path
    stream: int | None
    info: AudioInfo
    gain: float = 1.0
    span_s: tuple[float, float] | None = None


def check_summable(sounds: Sequence[Sound]) -> None:
    """Raises AudioError when two sounds differ in rate, or in number of channels while neither is mono."""
    first = sounds[0]
    widest = max(sounds, key=lambda sound: sound.info.channels)
    for sound in sounds:
        if sound.info.rate_hz != first.info.rate_hz:
            raise AudioError(
                f"{sound.path}: has {sound.info.rate_hz} Hz, but {first.path.name}, which it is to be added to, has "
                f"{first.info.rate_hz} Hz; convert one of them."
            )
        if sound.info.channels not in (1, widest.info.channels):
            raise AudioError(
                f"{sound.path}: has {sound.info.channels} channels, but {widest.path.name}, which it is to be added "
                f"to, has {widest.info.channels}; convert one of them."
            )


def sum_blocks(sounds: Sequence[Sound], gain: float = 1.0) -> Iterator[np.ndarray]:
    """Yields the sum of `sounds`, times `gain`, as (channel, sample) float32 blocks.

    Mono is spread to the widest sound's channels, and shorter sounds end in silence. The sum is taken in double
    precision. Raises AudioError as `AudioReader.blocks` does.
    """
    channels = max(sound.info.channels for sound in sounds)
    with ExitStack() as stack:
        running = [
            (sound, stack.enter_context(open_audio(sound.path, sound.stream or 0)).blocks(0.0, _end_s(sound)))
            for sound in sounds
        ]
        position = 0
        while running:
            # Every reader yields blocks of one size until its end, so the readers stay aligned.
            total, heard = np.zeros((channels, 0)), []
            for sound, blocks in running:
                block = next(blocks, None)
                if block is None:
                    continue
                heard.append((sound, blocks))
                part = block * (gain * sound.gain * _envelope(sound, position, block.shape[1]))
                if part.shape[1] > total.shape[1]:
                    total = np.pad(total, ((0, 0), (0, part.shape[1] - total.shape[1])))
                total[:, : part.shape[1]] += part
            running = heard
            position += total.shape[1]
            if total.shape[1]:
                yield total.astype(np.float32)


def _end_s(sound: Sound) -> float | None:
    return None if sound.span_s is None else sound.span_s[1]


def _envelope(sound: Sound, position: int, frames: int) -> np.ndarray:
    """The gain over time (sample,) of `frames` samples from `position`: 1 within the sound's span, 0 outside."""
    if sound.span_s is None:
        return np.ones(1)
    start_s, end_s = sound.span_s
    time_s = (position + np.arange(frames)) / sound.info.rate_hz
    return np.clip(np.minimum(time_s - start_s, end_s - time_s) / _FADE_S, 0.0, 1.0)
