"""Heads: one linear classifier per class on the embeddings of an encoder.

A head is fitted by weighted logistic regression with an L2 penalty, and may be taught probabilities in place of labels.
The penalty is that of the field's usual C: 1/2 |w|^2 + C * sum(weighted cross-entropy), on standardised inputs.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors
from safetensors import safe_open
from safetensors.numpy import save
from scipy.optimize import minimize
from scipy.special import expit

from restem.audio.stored import Rows
from restem.errors import RestemError
from restem.files import written_aside

PENALTY = 0.001
"""C of the heads."""

_LARGEST_STEPS = 100
_ARRAYS = ("mean", "scale", "weights", "bias")
# Of rows that are turned into numbers of full precision at once.
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Heads:
    """A linear classifier per class.

    classes: their names. mean, scale: (input,) of the inputs that they were fitted to. weights: (input, class) for
    standardised inputs. bias: (class,). encoder: the sha256 of the encoder's weights. penalty: C of those relearnt.
    """

    classes: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    encoder: str = ""
    penalty: float = PENALTY

    @property
    def digest(self) -> str:
        """What tells these heads from others, in 16 hexadecimal digits."""
        found = hashlib.sha256(json.dumps(self.classes).encode())
        for name in _ARRAYS:
            found.update(np.ascontiguousarray(getattr(self, name), np.float32).tobytes())
        return found.hexdigest()[:16]

    @property
    def size(self) -> int:
        """How many inputs they have."""
        return len(self.weights)

    def logits(self, inputs: Rows) -> np.ndarray:
        """(any, input) -> (any, class) float32."""
        found = np.zeros((len(inputs), len(self.classes)), np.float32)
        weights = self.weights.astype(np.float32)
        for first in range(0, len(inputs), _CHUNK):
            some = slice(first, first + _CHUNK)
            found[some] = self.standardised(inputs[some]) @ weights + self.bias
        return found

    def standardised(self, inputs: np.ndarray) -> np.ndarray:
        """(any, input) float32, of mean 0 and variance 1 over what the heads were fitted to."""
        return (inputs.astype(np.float32) - self.mean.astype(np.float32)) / self.scale.astype(np.float32)

    def of(self, classes: Sequence[str]) -> Heads:
        """Those of some classes, in this order."""
        columns = [self.classes.index(name) for name in classes]
        return replace(self, classes=tuple(classes), weights=self.weights[:, columns], bias=self.bias[columns])

    def relearnt(self, classes: Sequence[str], inputs: np.ndarray, targets: np.ndarray) -> Heads:
        """Heads for `classes`, fitted to other targets; what inputs are standardised by stays.

        inputs: (any, input). targets: (any, class) in [0, 1].
        """
        weights, bias = _fit(self.standardised(inputs), targets, self.penalty)
        return replace(self, classes=tuple(classes), weights=weights, bias=bias)


def head_inputs(embeddings: np.ndarray) -> np.ndarray:
    """What heads see of segments: (segment, window, embedding) -> (segment, input) float16.

    The mean and the maximum over the windows of a segment, or its only one; large numbers are compressed.
    """
    small = np.asarray(embeddings, np.float32)
    small = np.sign(small) * np.log1p(np.abs(small))
    if small.shape[1] == 1:
        return small[:, 0].astype(np.float16)
    return np.concatenate([small.mean(axis=1), small.max(axis=1)], axis=1).astype(np.float16)


def fit_heads(classes: Sequence[str], inputs: np.ndarray, targets: np.ndarray, encoder: str = "") -> Heads:
    """Heads from scratch. inputs: (any, input). targets: (any, class) in [0, 1]. encoder: see `Heads`."""
    values = inputs.astype(np.float32)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    # An input that hardly varies must not be blown up.
    scale = scale + 1e-3 * float(values.std()) + 1e-6
    weights, bias = _fit((values - mean) / scale, targets, PENALTY)
    return Heads(tuple(classes), mean, scale, weights, bias, encoder)


def _fit(inputs: np.ndarray, targets: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (input, class) and bias (class,), by L-BFGS; inputs: (any, input) standardised, float32."""
    size, classes = inputs.shape[1], targets.shape[1]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = flat[:-classes].reshape(size, classes), flat[-classes:]
        logits = (inputs @ weights.astype(np.float32)).astype(np.float64) + bias
        entropy = (np.logaddexp(0.0, logits) - targets * logits).sum()
        slope = penalty * (expit(logits) - targets)
        gradient = inputs.T @ slope.astype(np.float32) + weights
        value = penalty * entropy + 0.5 * (weights**2).sum()
        return float(value), np.concatenate([gradient.ravel(), slope.sum(axis=0)])

    start = np.zeros(size * classes + classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _LARGEST_STEPS}).x
    return found[:-classes].reshape(size, classes), found[-classes:]


def save_heads(path: Path, heads: Heads) -> None:
    """Writes heads atomically as safetensors, in half precision."""
    arrays = {name: np.ascontiguousarray(getattr(heads, name), np.float16) for name in _ARRAYS}
    described = {"classes": json.dumps(heads.classes), "encoder": heads.encoder}
    with written_aside(path) as aside:
        aside.write_bytes(save(arrays, metadata=described))


def load_heads(path: Path) -> Heads:
    """Heads from a file. Raises RestemError when it is missing, damaged, or its arrays do not fit together."""
    try:
        with safe_open(path, framework="numpy") as file:
            described = file.metadata() or {}
            arrays = {name: file.get_tensor(name).astype(np.float32) for name in _ARRAYS}
        classes = tuple(str(name) for name in json.loads(described["classes"]))
        size, columns = arrays["weights"].shape
        shapes = {name: array.shape for name, array in arrays.items()}
        expected = {"mean": (size,), "scale": (size,), "weights": (size, columns), "bias": (len(classes),)}
        if shapes != expected or columns != len(classes) or not all(np.isfinite(one).all() for one in arrays.values()):
            raise ValueError("arrays do not fit together")
        if not (arrays["scale"] > 0).all():
            raise ValueError("a scale is not positive")
    except FileNotFoundError as error:
        raise RestemError(f"{path}: there are no heads.") from error
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise RestemError(f"{path}: the heads are damaged; delete the file.") from error
    return Heads(classes, encoder=described.get("encoder", ""), **arrays)
