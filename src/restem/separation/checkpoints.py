"""Weights that were trained elsewhere: what is read of them, and how safely.

    a folder            a separator of restem
    NAME                a pretrained model of the package `demucs`, such as `htdemucs`, from its cache
    *.th, *.safetensors a model of `demucs`: with its class and arguments
    any other file      weights by name, as `torch.save` leaves them: of MSST, and of networks that restem builds

Nothing that a file holds is run. Pickles are read with `torch.load(weights_only=True)`, which builds numbers, tensors
and containers, and fractions; where a package of `demucs` refers to its network's class, an empty one of that name
stands in. What needs more is refused.
"""

from __future__ import annotations

import inspect
import json
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor, nn

from restem.addresses import as_path
from restem.content import file_sha256
from restem.errors import RestemError, TaxonomyError, UsageError
from restem.separation.demucs_models import is_demucs_model, model_files
from restem.separation.models import MODELS, Shape, default_parameters
from restem.separation.separator import Separator, SeparatorConfig, load_separator

# Keys under which programs keep the weights beside other things: Demucs, Lightning, MSST.
_WRAPPERS = ("state", "state_dict", "model_state_dict", "best_state")
_PREFIXES = ("module.", "model.", "network.")
_CLASSES = {"HTDemucs": "htdemucs", "HDemucs": "hdemucs"}
# What a pickle gets where it refers to a network of `demucs`: empty classes of the same names.
_STAND_INS = [type(name, (), {"__module__": f"demucs.{name.lower()}"}) for name in (*_CLASSES, "Demucs")]
_CONVERT = (
    "import torch; d = torch.load('IN', map_location='cpu', weights_only=False); "
    "torch.save(d.get('state_dict', d.get('state', d)), 'OUT')"
)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights, and what is known about their network.

    place: where they were read. weights: by name. sha256: of what was read. config: of the network; None where the file
    holds weights alone. classes: the sources, in the order of the outputs; empty where nothing says them.
    """

    place: str
    weights: Mapping[str, Tensor]
    sha256: str
    config: SeparatorConfig | None = None
    classes: tuple[str, ...] = field(default=())


def read_checkpoint(place: Path | str, classes: Sequence[str] = ()) -> Checkpoint:
    """Reads what `place` names, see the module. classes: of weights that do not name their sources.

    Raises RestemError when it is not there, damaged, or would run code; UsageError when its classes are unknown.
    """
    path = as_path(place)
    if path.is_dir():
        separator = load_separator(path)
        weights = separator.network.state_dict()
        found = Checkpoint(str(path), weights, separator.fingerprint(), separator.config, separator.config.classes)
    elif not path.exists() and is_demucs_model(str(place)):
        files, _ = model_files(str(place))
        if len(files) > 1:
            raise UsageError(f"{place} is {len(files)} networks, and training starts from one; use the file of one.")
        found = _read_file(files[0])
    else:
        found = _read_file(path)
    if not found.classes and not classes:
        raise UsageError(
            f"{place}: does not say its classes; name them, in the order of its outputs, with `start_classes`."
        )
    if found.classes and classes and tuple(classes) != found.classes:
        raise UsageError(f"{place}: has the classes {','.join(found.classes)}; leave out `start_classes`.")
    return found if found.classes else Checkpoint(found.place, found.weights, found.sha256, None, tuple(classes))


def opened_separator(place: Path | str) -> Separator:
    """The separator at `place`: a folder, or a model of the package `demucs`, by its name or its file.

    Raises RestemError when it cannot be used.
    """
    path = as_path(place)
    if path.is_dir():
        return load_separator(path)
    named = not path.exists() and is_demucs_model(str(place))
    files, shares = model_files(str(place)) if named else ([path], None)
    if not named and not path.exists():
        return load_separator(path)  # which says what is missing
    separators = []
    for file in files:
        found = _read_file(file)
        if found.config is None:
            raise RestemError(f"{file}: holds weights alone; use them with `restem train --from`.")
        separator = found.config.build()
        _load(separator.network, found)
        separators.append(separator.eval())
    if len(separators) == 1:
        return separators[0]
    bag = Bag([one.network for one in separators], shares or [[1.0] * len(separators[0].config.classes)] * len(files))
    return Separator(separators[0].config, bag).eval()


class Bag(nn.Module):
    """Several networks for the same sources, of whose outputs the weighted mean is taken; as `demucs` has them.

    shares: (network, source) how much each counts.
    """

    def __init__(self, networks: Sequence[nn.Module], shares: Sequence[Sequence[float]]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        share = torch.tensor(shares, dtype=torch.float32)
        self.register_buffer("share", share / share.sum(dim=0))
        self.share: Tensor

    def forward(self, mixture: Tensor) -> Tensor:
        """mixture: (batch, channel, sample). Returns (batch, source, channel, sample)."""
        outputs = torch.zeros(())
        for network, share in zip(self.networks, self.share, strict=True):
            if share.any():
                outputs = outputs + share[:, None, None] * network(mixture)
        return outputs

    def valid_length(self, length: int) -> int:
        """The number of samples to which the networks need a piece extended."""
        lengths = [find(length) for one in self.networks if (find := getattr(one, "valid_length", None)) is not None]
        return max([length, *lengths])


def _load(network: nn.Module, found: Checkpoint) -> None:
    try:
        network.load_state_dict(found.weights)
    except RuntimeError as error:
        reason = (str(error).splitlines() or [""])[-1].strip().rstrip(".")
        raise RestemError(f"{found.place}: does not fit the network that it names ({reason}).") from error


def _read_file(path: Path) -> Checkpoint:
    """What a file holds; raises RestemError when it cannot be read safely."""
    if not path.is_file():
        raise RestemError(f"{path}: no such file of weights, and no folder of a separator.")
    try:
        if path.suffix == ".safetensors":
            content, described = _read_safetensors(path)
        else:
            with torch.serialization.safe_globals([*_STAND_INS, Fraction]):
                content = torch.load(path, map_location="cpu", weights_only=True)
            described = content if isinstance(content, Mapping) and "klass" in content else {}
    except pickle.UnpicklingError as error:
        raise RestemError(_refusal(path, str(error))) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise RestemError(f"{path}: cannot be read as weights ({reason}).") from error
    weights = _weights_in(content)
    if not weights:
        raise RestemError(
            f"{path}: holds no weights of a network that can be used as they are (quantized, or of another kind)."
        )
    try:
        config = _config_of_demucs(path, described) if described else None
    except (KeyError, TypeError, ValueError, UsageError, TaxonomyError) as error:
        raise RestemError(f"{path}: does not say what network it is of ({error}).") from error
    return Checkpoint(str(path), weights, file_sha256(path), config, config.classes if config else ())


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, and what the metadata say of a model of `demucs`: `klass` as a name, `args`, `kwargs`."""
    with safetensors.safe_open(str(path), framework="pt") as file:
        told = file.metadata() or {}
        if "structure" in told:
            return {}, {}  # quantized
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if "klass" not in told:
        return tensors, {}
    described = {name: _with_fractions(json.loads(told[name])) for name in ("args", "kwargs")}
    return tensors, {"klass": told["klass"], **described}


def _with_fractions(value: Any) -> Any:
    """JSON, in which `demucs` writes a fraction as an object."""
    if isinstance(value, dict):
        if value.get("_type") == "fraction":
            return Fraction(value["numerator"], value["denominator"])
        return {key: _with_fractions(item) for key, item in value.items()}
    return [_with_fractions(item) for item in value] if isinstance(value, list) else value


def _weights_in(content: Any) -> dict[str, Tensor]:
    """The tensors by name in what a file holds, however they are wrapped; none where there is something else."""
    for _ in _WRAPPERS:
        inner = next(
            (
                content[key]
                for key in _WRAPPERS
                if isinstance(content, Mapping) and isinstance(content.get(key), Mapping)
            ),
            None,
        )
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping) or not content or not all(isinstance(one, Tensor) for one in content.values()):
        return {}
    weights = {str(name): tensor.float() if tensor.is_floating_point() else tensor for name, tensor in content.items()}
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights


def _config_of_demucs(path: Path, described: Mapping[str, Any]) -> SeparatorConfig:
    """The configuration of a network that `demucs` packed."""
    klass = described["klass"]
    name = klass.rpartition(".")[2] if isinstance(klass, str) else getattr(klass, "__name__", "")
    if name not in _CLASSES:
        raise RestemError(f"{path}: is a {name or 'network'} of demucs; restem has {' and '.join(_CLASSES)}.")
    model = _CLASSES[name]
    allowed = default_parameters(model)
    home = getattr(import_module(MODELS[model].home.partition(":")[0]), name)
    taken = inspect.signature(home.__init__).parameters
    positional = dict(zip(list(taken)[1:], described["args"], strict=False))
    given = {**positional, **{key: value for key, value in described["kwargs"].items() if key in taken}}
    shape = Shape(
        tuple(given["sources"]), int(given.get("audio_channels", 2)), int(given.get("samplerate", 44100)),
        float(given.get("segment", taken["segment"].default)),
    )  # fmt: skip
    parameters = {key: value for key, value in given.items() if key in allowed}
    return SeparatorConfig(
        model=model, classes=shape.sources, channels=shape.channels, rate_hz=shape.rate_hz, segment_s=shape.segment_s,
        parameters={**allowed, **parameters},
    )  # fmt: skip


def _refusal(path: Path, reason: str) -> str:
    """Why a pickle is not read, and how it can be converted."""
    code = re.search(r"(?:GLOBAL|class) (\w+(?:\.\w+)+)", reason)
    what = f" ({code[1]})" if code else ""
    return (
        f"{path}: reading it would run code{what}, so it is refused. If you trust where it comes from, convert it:\n"
        f'python -c "{_CONVERT}"'
    )
