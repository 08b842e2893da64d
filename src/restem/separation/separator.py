"""A separator: a network with its configuration, and the folder it is saved in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn
from torch.nn import functional

from restem._version import __version__
from restem.addresses import Address, as_path
from restem.audio.reader import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from restem.dataset.targets import REST
from restem.errors import RestemError, TaxonomyError, UsageError
from restem.fetching import fetched_folder
from restem.files import read_json, write_json, written_aside
from restem.renaming import current_name
from restem.separation.models import EARLIER_NAMES, Shape, build_network
from restem.taxonomy import Taxonomy
from restem.weights import load_weights

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"

# Longer pieces are a mistake or a damaged file: none fits into memory.
_LONGEST = 1 << 28

_DAMAGES = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, safetensors.SafetensorError, UsageError,
    TaxonomyError,
)  # fmt: skip


@dataclass(frozen=True)
class SeparatorConfig:
    """What is needed to use a separator besides its weights; saved as `config.json` beside `model.safetensors`.

    model, parameters: see `separation.models`. classes: the sources, in the order of the outputs. aliases: alternative
    names of the classes. segment_s: the length of the examples it was trained on, and of the pieces it processes.
    dataset: the fingerprint of the training data. licence: of the training data, if it was given.
    Raises UsageError for a rate, length or number of channels out of range, TaxonomyError for unusable classes.
    """

    model: str
    classes: tuple[str, ...]
    aliases: Mapping[str, str] = field(default_factory=dict, repr=False)
    channels: int = 2
    rate_hz: int = 44100
    segment_s: float = 2.0
    parameters: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = ""
    licence: str = ""
    restem: str = __version__

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", current_name("model", self.model, EARLIER_NAMES))
        if not (isinstance(self.rate_hz, int) and LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ):
            raise UsageError(f"A separator cannot have a rate of {self.rate_hz!r} Hz.")
        if self.channels not in (1, 2):
            raise UsageError("Separators have one channel or two.")
        if not (isinstance(self.segment_s, int | float) and 1.0 <= self.segment_s * self.rate_hz < _LONGEST):
            raise UsageError(f"A separator cannot take songs apart in pieces of {self.segment_s!r} s.")
        # Class names become file names, so they are checked here.
        self.taxonomy  # noqa: B018

    @cached_property
    def taxonomy(self) -> Taxonomy:
        """The classes and their aliases."""
        return Taxonomy(self.classes, self.aliases)

    @property
    def targets(self) -> tuple[str, ...]:
        """The classes that it takes apart from the rest; none for a separator without an output for the rest."""
        return tuple(name for name in self.classes if name != REST) if REST in self.classes else ()

    def build(self) -> Separator:
        """Builds a separator with initial weights from torch's random generator; raises as `build_network` does."""
        shape = Shape(self.classes, self.channels, self.rate_hz, self.segment_s)
        return Separator(self, build_network(self.model, shape, self.parameters))


class Separator(nn.Module):
    """A network with one way of calling it, whichever package it comes from.

    Attributes
    ----------
    config
        Everything but the weights: model, classes, rate, licence.
    network
        A mixture (batch, channel, sample) in, (batch, class, channel, sample) out.
    """

    def __init__(self, config: SeparatorConfig, network: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.network = network

    def forward(self, mixture: Tensor) -> Tensor:
        """mixture: (batch, channel, sample). Returns (batch, class, channel, sample), of the same length."""
        outputs: Tensor = self.network(mixture)
        if len(self.config.classes) == 1 and outputs.dim() == 3:
            outputs = outputs.unsqueeze(1)
        # Networks whose output ends with the last whole spectrogram frame return too few samples.
        return functional.pad(outputs, (0, mixture.shape[-1] - outputs.shape[-1]))

    def valid_length(self, length: int) -> int:
        """The number of samples to which the network needs a piece of `length` samples extended."""
        find = getattr(self.network, "valid_length", None)
        return int(find(length)) if find is not None else length

    def fingerprint(self) -> str:
        """A hash of the configuration and the weights."""
        digest = hashlib.sha256(json.dumps(asdict(self.config), sort_keys=True).encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def save_separator(folder: Path, config: SeparatorConfig, network: Mapping[str, Tensor]) -> None:
    """Writes `config.json` and then the weights of the network, `model.safetensors`, to `folder`, each atomically."""
    write_json(folder / CONFIG_FILE, asdict(config))
    # Clones, since tensors that share memory, as the roformers have, cannot be saved.
    weights = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in network.items()}
    with written_aside(folder / WEIGHTS_FILE) as aside:
        # save_file would make a file that nobody else may read.
        aside.write_bytes(safetensors.torch.save(weights))


def load_separator(folder: Path | str) -> Separator:
    """Loads a separator.

    Parameters
    ----------
    folder
        What `train` left: `config.json` and `model.safetensors`.

    Returns
    -------
    Separator
        The separator, ready to separate, on the CPU.

    Raises
    ------
    RestemError
        When a file is missing or damaged, when the two do not belong together, or when the package of its network is
        not installed.

    Examples
    --------
    >>> restem.load_separator("separator").config.classes
    ('vocals', 'drums', 'bass', 'other')
    """
    folder = as_path(folder)
    if isinstance(folder, Address):
        needed = f"holds no finished separator ({WEIGHTS_FILE} is missing); run `restem train`"
        folder = fetched_folder(folder, WEIGHTS_FILE, needed)
    if not folder.is_dir():
        raise RestemError(f"{folder}: no such model folder; make one with `restem train`.")
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).exists():
            raise RestemError(f"{folder}: holds no finished separator ({name} is missing); run `restem train`.")
    try:
        content = read_json(folder / CONFIG_FILE)
        if unknown := set(content).difference(part.name for part in fields(SeparatorConfig)):
            raise ValueError(f"unknown key {sorted(unknown)[0]!r}")
        # Not the user's word but the file's, so without a notice.
        model = EARLIER_NAMES.get(content["model"], content["model"])
        config = SeparatorConfig(**{**content, "model": model, "classes": tuple(content["classes"])})
        separator = config.build()
        load_weights(separator.network, folder / WEIGHTS_FILE)
    except _DAMAGES as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise RestemError(f"{folder}: the separator is damaged or of another version ({reason}).") from error
    return separator.eval()
