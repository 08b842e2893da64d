"""Resampling of a stream of audio blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import soxr


def resample_blocks(blocks: Iterable[np.ndarray], rate_hz: int, wanted_hz: int, channels: int) -> Iterator[np.ndarray]:
    """Yields `(channel, sample)` blocks at `wanted_hz` from blocks at `rate_hz`, in constant memory.

    n samples become round(n * wanted_hz / rate_hz), however they are split into blocks. The filter is soxr's
    high-quality linear-phase one (100 dB), with its delay removed.
    """
    if rate_hz == wanted_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_hz, wanted_hz, channels, dtype="float32")
    taken = given = 0
    for block in blocks:
        taken += block.shape[1]
        part = stream.resample_chunk(np.ascontiguousarray(block.T)).T
        given += part.shape[1]
        if part.shape[1]:
            yield part
    rest = stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).T
    missing = round(taken * wanted_hz / rate_hz) - given
    if missing > 0:
        part = np.zeros((channels, missing), np.float32)
        part[:, : rest.shape[1]] = rest[:, :missing]
        yield part
