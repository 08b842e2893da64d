"""The weights of networks: built only if they fit into memory, loaded only if they are what was trained.

A configuration may be damaged or made by somebody else. A depth of a thousand million would be built for ever, and
weights that are NaN, or integers in place of real numbers, would load, and answer nonsense.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

# 4 GB, ten times as many as the largest models for music have.
MOST_WEIGHTS = 1_000_000_000


def check_size(build: Callable[[], nn.Module]) -> None:
    """Raises ValueError when the network that `build` makes would have more than `MOST_WEIGHTS` numbers.

    It is built without memory for its weights, and without drawing random numbers.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        network = build()
    count = sum(one.numel() for one in (*network.parameters(), *network.buffers()))
    if count > MOST_WEIGHTS:
        raise ValueError(f"the network would have {count:,} weights")


def load_weights(network: nn.Module, file: Path) -> None:
    """Loads the weights of `network` from a safetensors file.

    Raises OSError and SafetensorError when the file cannot be read; ValueError or RuntimeError when a weight is
    missing, or of another shape or type, or not a finite number.
    """
    weights = safetensors.torch.load_file(file)
    for name, expected in network.state_dict().items():
        found = weights.get(name)
        if found is None:
            continue  # load_state_dict names all that are missing
        if found.dtype.is_floating_point != expected.dtype.is_floating_point or found.dtype.is_complex:
            raise ValueError(f"{name} holds {found.dtype}".replace("torch.", ""))
        if found.dtype.is_floating_point and not found.to(expected.dtype).isfinite().all():
            raise ValueError(f"{name} holds numbers that are NaN or infinite")
    network.load_state_dict(weights)
