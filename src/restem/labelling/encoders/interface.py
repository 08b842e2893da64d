"""What an encoder is: a frozen network that turns a window of sound into an embedding, and the card that describes it.

An encoder was trained by somebody else, on much more sound than a dataset holds. Nothing in restem trains it further:
what is learnt is a head on its embeddings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np

from restem.errors import RestemError, UsageError

Kind = Literal["musicnn", "musicnn-vgg", "musicnn-vgg-msd", "tflite", "onnx"]
"""What computes the embeddings: one of restem's own networks, or an interpreter of a model file."""

_HIGHEST_RATE_HZ = 384_000
_LONGEST_WINDOW_S = 60.0
_LARGEST_EMBEDDING = 1 << 16


@dataclass(frozen=True)
class EncoderCard:
    """What is known about an encoder.

    name: how it is called, as in `--encoder NAME`. kind: what computes it. rate_hz, window_samples: what it hears at
    once, mono. embedding_size: numbers per window. licence: of the weights. training_audio: what it was trained on, and
    under which terms that audio stands. citation: the paper or project. good_for: one line for whoever chooses.
    embedding, tags: of a model file, the name or index of the tensor that is the embedding, and of the one that holds
    the tags' scores, where there is one. tag_names: what the tags are called, in order. sha256: of the weights; empty
    while they are not installed.
    """

    name: str
    kind: Kind
    rate_hz: int
    window_samples: int
    embedding_size: int
    licence: str
    training_audio: str = ""
    citation: str = ""
    good_for: str = ""
    embedding: str | int | None = None
    tags: str | int | None = None
    tag_names: tuple[str, ...] = ()
    sha256: str = ""

    def __post_init__(self) -> None:
        # A name becomes the name of a folder.
        plain = self.name.replace("-", "").replace("_", "").replace(".", "")
        if not (plain.isascii() and plain.isalnum() and self.name[0].isalnum() and len(self.name) <= 64):
            raise UsageError(
                f"{self.name!r} cannot be the name of an encoder: use up to 64 letters, digits, - _ and dots."
            )
        self._check("kind", self.kind in get_args(Kind), f"one of {', '.join(get_args(Kind))}")
        self._check("rate_hz", 1000 <= self.rate_hz <= _HIGHEST_RATE_HZ, f"from 1000 to {_HIGHEST_RATE_HZ}")
        longest = int(_LONGEST_WINDOW_S * self.rate_hz)
        self._check("window_samples", 1 <= self.window_samples <= longest, f"from 1 to {longest}")
        self._check("embedding_size", 1 <= self.embedding_size <= _LARGEST_EMBEDDING, f"from 1 to {_LARGEST_EMBEDDING}")

    def _check(self, field: str, holds: bool, range_: str) -> None:
        if not holds:
            raise UsageError(f"The card of {self.name}: {field} must be {range_}, not {getattr(self, field)}.")

    @property
    def window_s(self) -> float:
        return self.window_samples / self.rate_hz

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that an embedding depends on besides the sound."""
        return {key: getattr(self, key) for key in ("kind", "rate_hz", "window_samples", "embedding", "sha256")}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


_TYPES: Mapping[str, tuple[type, ...]] = {
    "name": (str,), "kind": (str,), "rate_hz": (int,), "window_samples": (int,), "embedding_size": (int,),
    "licence": (str,), "training_audio": (str,), "citation": (str,), "good_for": (str,), "embedding": (str, int),
    "tags": (str, int), "tag_names": (list, tuple), "sha256": (str,),
}  # fmt: skip
_TYPE_NAMES: Mapping[type, str] = {str: "text", int: "a whole number", list: "a list", tuple: "a list"}


def card_from(values: object, where: str) -> EncoderCard:
    """A card from what a JSON or YAML file holds; `where` names that file in errors.

    Raises RestemError when a key is unknown, missing, or of the wrong type; UsageError when a value is out of range.
    """
    if not isinstance(values, Mapping):
        raise RestemError(f"{where}: is not a card; it must be a table of keys and values.")
    unknown = sorted(str(key) for key in values if key not in _TYPES)
    if unknown:
        raise RestemError(f"{where}: unknown {_keys(unknown)}; the keys are {', '.join(_TYPES)}.")
    needed = [one.name for one in fields(EncoderCard) if one.default is MISSING]
    missing = [key for key in needed if values.get(key) is None]
    if missing:
        raise RestemError(f"{where}: lacks the {_keys(missing)}.")
    given = {key: value for key, value in values.items() if value is not None}
    for key, value in given.items():
        # True and False are whole numbers to Python.
        if not isinstance(value, _TYPES[key]) or isinstance(value, bool):
            kinds = " or ".join(dict.fromkeys(_TYPE_NAMES[one] for one in _TYPES[key]))
            raise RestemError(f"{where}: {key} must be {kinds}, not {value!r}.")
    if "tag_names" in given:
        given["tag_names"] = tuple(str(name) for name in given["tag_names"])
    return EncoderCard(**given)


def _keys(names: list[str]) -> str:
    return f"{'key' if len(names) == 1 else 'keys'} {', '.join(names)}"


class Encoder(ABC):
    """A loaded encoder. It holds no state between calls: a window's embedding depends on that window alone."""

    card: EncoderCard

    @abstractmethod
    def _run(self, windows: np.ndarray, tags: bool) -> np.ndarray:
        """windows: (batch, sample) float32, checked. Returns (batch, embedding) float32, or (batch, tag) scores."""

    def embed(self, windows: np.ndarray) -> np.ndarray:
        """The embeddings of windows of mono sound.

        windows: (batch, sample) float32 at `card.rate_hz`, `card.window_samples` long, full scale at 1. Returns (batch,
        embedding) float32. Raises UsageError for another shape, RestemError when the result is not finite.
        """
        return self._checked(windows, tags=False)

    def tag(self, windows: np.ndarray) -> np.ndarray:
        """The scores of the encoder's own tags, (batch, tag) float32, as `embed`; UsageError if it has none."""
        if not self.has_tags:
            raise UsageError(f"The encoder {self.card.name} has no tags.")
        return self._checked(windows, tags=True)

    @property
    def has_tags(self) -> bool:
        return self.card.tags is not None or bool(self.card.tag_names)

    def _checked(self, windows: np.ndarray, tags: bool) -> np.ndarray:
        wanted = self.card.window_samples
        if windows.ndim != 2 or windows.shape[1] != wanted:
            raise UsageError(f"{self.card.name} takes windows of shape (batch, {wanted}), not {windows.shape}.")
        if not len(windows):
            size = len(self.card.tag_names) if tags else self.card.embedding_size
            return np.zeros((0, size), np.float32)
        result = self._run(np.ascontiguousarray(windows, np.float32), tags)
        if not np.isfinite(result).all():
            raise RestemError(f"The encoder {self.card.name} gave numbers that are not finite.")
        return result
