"""Measures the level of a stem over time, in one pass over its samples, block by block."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from restem.audio.level import SILENCE_DB, LevelMeter, power_to_db
from restem.audio.reader import AudioInfo, open_audio


@dataclass(frozen=True, eq=False)
class StemLevels:
    """The levels of one stem, on a linear scale.

    frames: the samples of one channel that were decoded (a header may be off by a little). peak: the largest absolute
    sample. level_power: (level,) mean square of every `level_s` seconds over all channels. note: what is wrong with the
    file although it can be used, see `AudioReader.note`.
    """

    info: AudioInfo
    frames: int
    peak: float
    mean_square: float
    level_power: np.ndarray
    level_s: float
    note: str = ""

    @property
    def silent(self) -> bool:
        """Whether the stem never rises above `SILENCE_DB`."""
        return float(power_to_db(self.level_power.max())) <= SILENCE_DB


def measure(path: Path, stream: int | None = None) -> StemLevels:
    """Decodes all of a stem once; raises AudioError as `AudioReader.blocks` does."""
    with open_audio(path, stream or 0) as audio:
        meter, energy = LevelMeter(audio.info.rate_hz), 0.0
        for block in audio.blocks():
            meter.add(block)
            energy += float(np.square(block, dtype=np.float64).mean(axis=0).sum())
    level_s = meter.length / audio.info.rate_hz
    return StemLevels(audio.info, meter.samples, meter.peak, energy / meter.samples, meter.power, level_s, audio.note)
