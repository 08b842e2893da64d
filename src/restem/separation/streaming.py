"""Separates a song piece by piece, in memory that does not grow with the song.

Pieces overlap and are crossfaded as in Demucs' `apply_model`: a triangular weight over each piece, and division by the
sum of the weights. The last pieces, which the song's end cuts, are extended with the audio before them. With shifts, a
song is separated several times, each time with a different delay, and the outputs are averaged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, tee

import numpy as np
import torch
from torch import Tensor

from restem.errors import RestemError, UsageError
from restem.separation.separator import Separator

# The largest random shift of a song, as in Demucs.
_LONGEST_SHIFT_S = 0.5


def check_pieces(overlap: float, shifts: int) -> None:
    """Raises UsageError for an overlap that is not in [0, 1), or a negative number of shifts."""
    if not 0.0 <= overlap < 1.0:
        raise UsageError(f"The overlap {overlap} cannot be used; use one from 0 to below 1.")
    if shifts < 0:
        raise UsageError(f"A song cannot be shifted {shifts} times; use 0 or more shifts.")


def separate_blocks(
    separator: Separator,
    blocks: Iterable[np.ndarray],
    *,
    overlap: float = 0.25,
    shifts: int = 0,
    seed: int = 0,
    device: str = "cpu",
) -> Iterator[np.ndarray]:
    """Yields `(class, channel, sample)` float32 blocks for `(channel, sample)` blocks of a mixture, of equal length.

    The mixture has the separator's rate and channels. overlap: the share of a piece that the next one repeats. shifts:
    the number of random shifts, drawn from the seed, over which the outputs are averaged; 0 for none.
    Raises UsageError as `check_pieces` does, RestemError when the separator gives NaN.
    """
    check_pieces(overlap, shifts)
    if not shifts:
        yield from _separate(separator, blocks, overlap, device)
        return
    longest = int(_LONGEST_SHIFT_S * separator.config.rate_hz)
    streams = []
    for heard, shift in zip(tee(blocks, shifts), draw_shifts(longest, shifts, seed), strict=True):
        silence = np.zeros((separator.config.channels, shift), np.float32)
        streams.append(_without(shift, _separate(separator, chain([silence], heard), overlap, device)))
    yield from _mean(streams)


def draw_shifts(longest: int, shifts: int, seed: int) -> list[int]:
    """The random shifts of a song in samples, each at most `longest`."""
    drawn = np.random.default_rng(seed).integers(0, longest + 1, shifts)
    return [int(shift) for shift in drawn]


def _without(count: int, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The `(class, channel, sample)` blocks without the first `count` samples."""
    for block in blocks:
        if block.shape[2] > count:
            yield block[:, :, count:]
        count = max(0, count - block.shape[2])


def _mean(streams: Sequence[Iterator[np.ndarray]]) -> Iterator[np.ndarray]:
    """The mean of equally long streams of `(class, channel, sample)` blocks, read in step to buffer little."""
    waiting: list[np.ndarray | None] = [None] * len(streams)
    while True:
        heads: list[np.ndarray] = []
        for stream, rest in zip(streams, waiting, strict=True):
            head = rest if rest is not None and rest.shape[2] else next(stream, None)
            if head is None:
                return
            heads.append(head)
        width = min(head.shape[2] for head in heads)
        mean: np.ndarray = np.mean([head[:, :, :width] for head in heads], axis=0)
        yield mean
        waiting = [head[:, :, width:] for head in heads]


def _separate(separator: Separator, blocks: Iterable[np.ndarray], overlap: float, device: str) -> Iterator[np.ndarray]:
    """`separate_blocks` without shifts."""
    config = separator.config
    length = int(config.rate_hz * config.segment_s)
    stride = max(1, int((1.0 - overlap) * length))
    separator = separator.to(device).eval()
    rising = torch.arange(1, length // 2 + 1)
    falling = torch.arange(length - length // 2, 0, -1)
    weight = torch.cat([rising, falling]).float()
    weight /= weight.max()

    # Input that may still be needed, starting at the sample `origin`; and weighted sums that later pieces add to.
    heard = torch.zeros(config.channels, 0)
    origin = start = 0
    pending = weights = torch.zeros(0)
    source = iter(blocks)
    ended = False
    while True:
        parts, have = [heard], origin + heard.shape[1]
        # One sample beyond the piece shows whether the song continues after it.
        while not ended and have <= start + length:
            block = next(source, None)
            if block is None:
                ended = True
            else:
                parts.append(torch.from_numpy(np.ascontiguousarray(block, np.float32)))
                have += block.shape[1]
        heard = torch.cat(parts, dim=1)
        if start >= have:
            break
        size = min(length, have - start)
        outputs = _separate_piece(separator, heard, start - origin, size, device)
        if not torch.isfinite(outputs).all():
            raise RestemError("The separator gave NaN or infinite samples; train it again, or with a lower rate.")
        if not len(weights):
            pending, weights = torch.zeros(*outputs.shape[:2], 0), torch.zeros(0)
        grown = max(size, len(weights))
        pending = torch.nn.functional.pad(pending, (0, grown - len(weights)))
        weights = torch.nn.functional.pad(weights, (0, grown - len(weights)))
        pending[..., :size] += weight[:size] * outputs
        weights[:size] += weight[:size]
        # No later piece overlaps the samples before the next one's start.
        ready = min(stride, grown)
        yield (pending[..., :ready] / weights[:ready]).numpy()
        pending, weights = pending[..., ready:], weights[ready:]
        start += stride
        # A last, short piece is extended to the left by up to half a piece.
        drop = max(0, start - length - origin)
        heard, origin = heard[:, drop:], origin + drop
    # The ends of the last pieces are pending, unless the stride was longer than the rest of the song.
    if len(weights):
        yield (pending / weights).numpy()


def _separate_piece(separator: Separator, heard: Tensor, start: int, size: int, device: str) -> Tensor:
    """The outputs for `size` samples of `heard` from `start` on, (class, channel, sample).

    A piece is extended on both sides to the length that the network needs, with samples of the song where it has any.
    """
    extra = separator.valid_length(size) - size
    first = start - extra // 2
    stop = first + size + extra
    have = heard.shape[1]
    piece = torch.nn.functional.pad(heard[:, max(0, first) : min(have, stop)], (max(0, -first), max(0, stop - have)))
    with torch.inference_mode():
        outputs: Tensor = separator(piece[None].to(device))[0].float().cpu()
    return outputs[..., extra // 2 : extra // 2 + size]
