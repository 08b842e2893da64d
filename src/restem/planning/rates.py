"""Rates of this machine, measured in a few seconds on a little of the work itself; nothing is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from restem.audio.entries import EntryStore, Source
from restem.audio.reader import probe
from restem.dry_running import STARTED
from restem.errors import AudioError
from restem.separation.separator import Separator
from restem.separation.songs import separate_audio

_MOST_LENGTHS = 500  # stems whose length is read; others are taken to be as long as these are on average
_MOST_TRIED = 3  # stems on which a rate is measured
_LONG_ENOUGH_S = 1.0  # a measurement that took so long is not repeated
_PIECES = 4  # of a separator, on which its rate is measured


def spread(items: Sequence[int], most: int) -> list[int]:
    """At most `most` of the items, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[round(place)] for place in np.linspace(0, len(items) - 1, most)]


def lengths(sources: Sequence[Source]) -> np.ndarray:
    """(source,) seconds of audio; 0 for a file that cannot be read. Of many sources, some are read."""
    found = np.full(len(sources), np.nan)
    for index in spread(range(len(sources)), _MOST_LENGTHS):
        try:
            found[index] = probe(*sources[index]).seconds
        except AudioError:
            found[index] = 0.0
    return np.where(np.isnan(found), np.nanmean(found) if len(sources) else 0.0, found)


@dataclass(frozen=True)
class Rate:
    """What a second of audio takes. seconds: of work. bytes: that are made."""

    seconds: float
    bytes: float = 0.0

    def text(self, what: str) -> str:
        """`decoding 120 s of audio a second`."""
        return f"{what} {1.0 / self.seconds:,.3g} s of audio a second" if self.seconds else f"{what} nothing"


def rate_of(work: Callable[[int], float], items: Sequence[int], seconds: np.ndarray) -> Rate:
    """The rate of `work` on some of `items`, indices into `seconds` (item,). work: returns the bytes it makes.

    What cannot be decoded is passed over.
    """
    took = heard = made = 0.0
    for index in spread(items, _MOST_TRIED):
        with suppress(AudioError):
            start = time.perf_counter()
            made += work(index)
            took += time.perf_counter() - start
            heard += float(seconds[index])
        if took > _LONG_ENOUGH_S:
            break
    return Rate(took / heard, made / heard) if heard else Rate(0.0)


def store_rate(store: EntryStore, sources: Sequence[Source], missing: Sequence[int], seconds: np.ndarray) -> Rate:
    """The rate at which entries of a store are computed."""
    return rate_of(lambda index: store.try_out(sources[index]), missing, seconds)


def time_of(work: Callable[[], object]) -> float:
    """How long a call takes, in seconds; the first one, which is slower, does not count."""
    work()
    times: list[float] = []
    while len(times) < 3 and sum(times) < _LONG_ENOUGH_S:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def step_times(network: nn.Module, inputs: Tensor, device: str) -> tuple[float, float]:
    """How long an optimiser step and a pass without one take on the batch `inputs`, in seconds."""
    network, inputs = network.to(device), inputs.to(device)
    optimizer = torch.optim.AdamW(network.parameters())

    def learn() -> None:
        optimizer.zero_grad()
        network(inputs).float().square().mean().backward()
        optimizer.step()
        _await(device)

    def infer() -> None:
        with torch.inference_mode():
            network(inputs)
        _await(device)

    return time_of(learn), time_of(infer)


def _await(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def separation_rate(separator: Separator, overlap: float, shifts: int, device: str) -> Rate:
    """The rate of a separator, on a few pieces of noise. device: one that is there, not `auto`."""
    config = separator.config
    seconds = _PIECES * config.segment_s
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (config.channels, round(seconds * config.rate_hz)))

    def separate() -> None:
        separate_audio(separator, noise, config.rate_hz, overlap=overlap, shifts=shifts, device=device)

    return Rate(time_of(separate) / seconds)


def starting_s(workers: int) -> float:
    """How long a command, and then its worker processes, take to start, in seconds: as long as this one has taken."""
    return (time.monotonic() - STARTED) * (2 if workers > 1 else 1)


def in_parallel(seconds: Iterable[float], workers: int) -> float:
    """How long pieces of work take in so many processes: no less than the longest of them."""
    pieces = list(seconds)
    return max(sum(pieces) / max(1, workers), max(pieces, default=0.0))
