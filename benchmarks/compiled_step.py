"""What `torch.compile` would gain: the processor time of a training step of `band_split` with and without it.

    python benchmarks/compiled_step.py

A step is forward, backward and optimiser, on 8 examples of 2 s, on one thread of a CPU. Only the network between the
STFT and its inverse is compiled, since complex numbers are not. Both sides take turns; the least of their steps counts.
There are no figures in a file: a compiler's version decides.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from common import parse, time_in_turn
from restem.separation.band_split import BandSplit

RATE_HZ = 44100
SECONDS = 2.0
QUICK = {"n_fft": 512, "hop": 256, "bands": 8, "width": 4, "depth": 1}


def step_of(compiled: bool, batch: int, parameters: dict[str, int]) -> Callable[[], None]:
    """A training step, to be called again and again."""
    torch.manual_seed(0)
    separator = BandSplit(4, 2, RATE_HZ, **parameters)
    if compiled:
        separator.masks = torch.compile(separator.masks)  # type: ignore[method-assign]
    optimizer = torch.optim.AdamW(separator.parameters())
    mixtures = 0.1 * torch.randn(batch, 2, round(SECONDS * RATE_HZ))
    sources = mixtures[:, None] * torch.rand(batch, 4, 1, 1)

    def step() -> None:
        optimizer.zero_grad()
        (separator(mixtures) - sources).abs().mean().backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5, help="after the first one, which compiles")
    options = parse(parser, batch=1, steps=1)
    torch.set_num_threads(1)
    parameters = QUICK if options.quick else {}
    sides = {name: step_of(name == "compiled", options.batch, parameters) for name in ("as it is", "compiled")}
    seconds = time_in_turn(sides, 1 + options.steps).processor
    for name, (first, *others) in seconds.items():
        print(f"{name}: first step {first:.1f} s, the least of the others {min(others):.3f} s")
    print(f"compiled / as it is: {min(seconds['compiled'][1:]) / min(seconds['as it is'][1:]):.2f}")


if __name__ == "__main__":
    main()
