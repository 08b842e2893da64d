"""Measuring a stem: its level over time, from one pass over its samples in constant memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restem.audio.level import SILENCE_DB, power_to_db
from restem.audio.reader import AudioInfo, open_audio

# Short enough to find a drum hit, long enough that a bass note does not rise and fall within it.
FRAME_S = 0.1


@dataclass(frozen=True, eq=False)
class Measured:
    """The levels of one stem, linear.

    frames: the samples of one channel that were decoded (a header may be off by a little). peak: the largest absolute
    sample. frame_power: (frame,) mean square over `FRAME_S` and all channels; a last, shorter frame is its own mean.
    """

    info: AudioInfo
    frames: int
    peak: float
    mean_square: float
    frame_power: np.ndarray

    @property
    def frame_s(self) -> float:
        """The length of a frame: `FRAME_S` to the nearest sample."""
        return _frame_length(self.info) / self.info.rate_hz

    @property
    def silent(self) -> bool:
        """Whether the stem never rises above `SILENCE_DB`."""
        return float(power_to_db(self.frame_power.max())) <= SILENCE_DB


def measure(path: Path, stream: int | None = None) -> Measured:
    """Decodes all of a stem once; raises AudioError as `AudioReader.blocks` does."""
    with open_audio(path, stream or 0) as audio:
        length = _frame_length(audio.info)
        powers: list[np.ndarray] = []
        frames, peak, energy = 0, 0.0, 0.0
        # Blocks of whole frames, so that no frame is cut by a block.
        for block in audio.blocks(block_frames=length * 16):
            squares = np.square(block, dtype=np.float64).mean(axis=0)
            whole = len(squares) // length * length
            powers.append(squares[:whole].reshape(-1, length).mean(axis=1))
            if whole < len(squares):
                powers.append(squares[whole:].mean(keepdims=True))
            frames += len(squares)
            peak = max(peak, float(np.abs(block).max()))
            energy += float(squares.sum())
    return Measured(audio.info, frames, peak, energy / frames, np.concatenate(powers))


def _frame_length(info: AudioInfo) -> int:
    return max(1, round(FRAME_S * info.rate_hz))
