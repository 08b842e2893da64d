"""The weights of musicnn: which tensor of its checkpoints goes where in restem's own networks.

Its layers have no names of their own there; they are numbered in the order in which they were made. TensorFlow keeps
filters as (height, width, in, out), torch as (out, in, height, width).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from restem.errors import RestemError
from restem.labelling.encoders.checkpoint import read_tensors
from restem.labelling.encoders.interface import Kind
from restem.labelling.encoders.musicnn import VGG_POOLS_MSD, MusicnnNetwork, TaggingNetwork, VggNetwork

NETWORKS: Mapping[Kind, Callable[[], TaggingNetwork]] = {
    "musicnn": MusicnnNetwork,
    "musicnn-vgg": VggNetwork,
    "musicnn-vgg-msd": partial(VggNetwork, VGG_POOLS_MSD),
}

_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}

# Layer of the network -> layer of the checkpoint.
_MUSICNN_NORMS = ("input_norm", "timbre.0.norm", "timbre.1.norm", "rhythm.0.norm", "rhythm.1.norm", "rhythm.2.norm",
                  "middle.0.norm", "middle.1.norm", "middle.2.norm", "pooled_norm", "dense_norm")  # fmt: skip
_MUSICNN_CONVOLUTIONS = ("timbre.0", "timbre.1", "rhythm.0", "rhythm.1", "rhythm.2", "middle.0", "middle.1", "middle.2")
_VGG_LAYERS = 5


def read_weights(kind: Kind, index: bytes, data: bytes) -> dict[str, Tensor]:
    """The weights of a network of this kind, by the names of its `state_dict`, from the two files of a checkpoint.

    Raises RestemError when the checkpoint is damaged or of another network.
    """
    places = _places(kind)
    tensors = read_tensors(index, data, {name for _, name in places})
    network = NETWORKS[kind]()
    expected = {name: value.shape for name, value in network.state_dict().items() if "num_batches" not in name}
    weights = {}
    for place, name in places:
        value = torch.from_numpy(_turned(kind, place, tensors[name]).copy())
        if value.shape != expected.get(place):
            raise RestemError(f"The checkpoint is of another network: {name} has the shape {tensors[name].shape}.")
        weights[place] = value
    if set(weights) != set(expected):
        raise RestemError("The checkpoint is of another network.")
    return weights


def build(kind: Kind, weights: Mapping[str, Tensor]) -> TaggingNetwork:
    """A network with these weights. Raises RestemError when they do not fit."""
    network = NETWORKS[kind]()
    try:
        # Only how many batches a network was trained on may be missing: nothing uses it.
        missing, unexpected = network.load_state_dict(dict(weights), strict=False)
    except RuntimeError as error:
        raise RestemError("The weights are of another network.") from error
    if unexpected or any(not name.endswith("num_batches_tracked") for name in missing):
        raise RestemError("The weights are of another network.")
    return network


def _places(kind: Kind) -> list[tuple[str, str]]:
    """Pairs of a name in the network's `state_dict` and a name in the checkpoint."""
    if kind == "musicnn":
        norms = list(_MUSICNN_NORMS)
        weighted = [(f"{place}.convolution", _numbered("conv2d", i)) for i, place in enumerate(_MUSICNN_CONVOLUTIONS)]
        weighted += [("dense", "dense"), ("output", "dense_1")]
    else:
        norms = ["input_norm", *(f"norms.{i}" for i in range(_VGG_LAYERS))]
        weighted = [(f"convolutions.{i}", f"{i + 1}CNN") for i in range(_VGG_LAYERS)] + [("output", "dense")]
    pairs = [
        (f"{place}.{own}", f"{_numbered('batch_normalization', number)}/{theirs}")
        for number, place in enumerate(norms)
        for own, theirs in _NORM.items()
    ]
    for place, name in weighted:
        pairs += [(f"{place}.weight", f"{name}/kernel"), (f"{place}.bias", f"{name}/bias")]
    return pairs


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _turned(kind: Kind, place: str, value: np.ndarray) -> np.ndarray:
    """A tensor of the checkpoint in the layout of the network."""
    if place.startswith("middle.") and value.ndim == 4:  # (frame, feature, 1, filter)
        return value[:, :, 0].transpose(2, 1, 0)
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if kind == "musicnn" and (place.startswith("pooled_norm") or place == "dense.weight"):
        # There, maximum and mean of each feature follow one another; here, all maxima come first.
        value = value.reshape(-1, 2, *value.shape[1:]).swapaxes(0, 1).reshape(value.shape)
    return value.T
