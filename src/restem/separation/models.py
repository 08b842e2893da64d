"""The registry of separator models, one entry per model.

`band_split` is restem's own. The others come from the packages that maintain their architectures, which the
extra `separators` installs. Whatever the package, a network takes a mixture (batch, channel, sample) and returns
(batch, source, channel, sample).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from torch import nn

from restem.errors import RestemError, UsageError
from restem.plain_yaml import parse_yaml
from restem.weights import check_size
from restem.wording import extra_command

Parameters = Mapping[str, Any]

# Far above the sizes of any model of music.
_LARGEST, _DEEPEST = 1 << 16, 256


@dataclass(frozen=True)
class Shape:
    """The inputs and outputs of a separator: its sources, number of channels, rate, and length of training examples."""

    sources: tuple[str, ...]
    channels: int
    rate_hz: int
    segment_s: float


@dataclass(frozen=True)
class Family:
    """An entry of the registry: how to build one model.

    home: `module:class` of the network. fixed: the arguments that follow from the shape. segment_s: the default length
    of the examples it is trained on and of the pieces it is applied to. defaults: of parameters, where restem's differ
    or the network has none. heads: the name of its list with one module per source; empty where its last layers hold
    the sources one after another.
    """

    home: str
    fixed: Callable[[Shape], dict[str, Any]]
    segment_s: float
    defaults: Parameters = field(default_factory=dict)
    heads: str = ""


def _of_band_split(shape: Shape) -> dict[str, Any]:
    return {"sources": len(shape.sources), "channels": shape.channels, "rate_hz": shape.rate_hz}


def _of_demucs(shape: Shape) -> dict[str, Any]:
    return {
        "sources": list(shape.sources),
        "audio_channels": shape.channels,
        "samplerate": shape.rate_hz,
        "segment": shape.segment_s,
    }


def _of_roformer(shape: Shape) -> dict[str, Any]:
    if shape.channels > 2:
        raise UsageError("The roformers take one channel or two.")
    return {"num_stems": len(shape.sources), "stereo": shape.channels == 2}


def _of_mel_roformer(shape: Shape) -> dict[str, Any]:
    return {**_of_roformer(shape), "sample_rate": shape.rate_hz, "match_input_audio_length": True}


MODELS: Mapping[str, Family] = {
    "band_split": Family("restem.separation.band_split:BandSplit", _of_band_split, 2.0),
    "hdemucs": Family("demucs.hdemucs:HDemucs", _of_demucs, 10.0),
    "htdemucs": Family("demucs.htdemucs:HTDemucs", _of_demucs, 7.8),
    "bs_roformer": Family("bs_roformer:BSRoformer", _of_roformer, 8.0, {"dim": 256, "depth": 6}, "mask_estimators"),
    "mel_band_roformer": Family(
        "bs_roformer:MelBandRoformer", _of_mel_roformer, 8.0, {"dim": 256, "depth": 6}, "mask_estimators"
    ),
}


EARLIER_NAMES: Mapping[str, str] = {"band": "band_split"}
"""Models that had another name in earlier versions."""


def family(model: str) -> Family:
    """The registry entry of `model`; raises UsageError when there is none."""
    if model not in MODELS:
        raise UsageError(f"There is no model {model!r}; use one of {', '.join(MODELS)}.")
    return MODELS[model]


def build_network(model: str, shape: Shape, parameters: Parameters) -> nn.Module:
    """Builds a network with initial weights from torch's random generator.

    Raises UsageError for an unknown model or parameter, RestemError when the package is not installed or the network
    refuses its parameters.
    """
    kind = family(model)
    allowed = default_parameters(model)
    if unknown := set(parameters).difference(allowed):
        raise UsageError(f"{model} has no parameter {sorted(unknown)[0]!r}; it has {', '.join(sorted(allowed))}.")
    fixed = kind.fixed(shape)
    # Read back from JSON, a tuple has become a list, which the roformers refuse.
    given = {
        name: tuple(value) if isinstance(value, list) and isinstance(allowed[name], tuple) else value
        for name, value in parameters.items()
    }

    def build() -> nn.Module:
        return _network_class(model)(**fixed, **{**kind.defaults, **given})

    try:
        if any(value != allowed[name] for name, value in given.items()):
            _check_parameters(given)
            check_size(build)
        network = build()
    except Exception as error:  # the packages check their arguments with errors of their own
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise UsageError(f"{model} cannot be built with these parameters: {reason}.") from error
    return network


def _check_parameters(parameters: Parameters) -> None:
    """Raises ValueError for sizes that would take for ever even to count the weights of."""
    for name, value in parameters.items():
        for number in value if isinstance(value, tuple | list) else [value]:
            most = _DEEPEST if "depth" in name or "layers" in name else _LARGEST
            if isinstance(number, int | float) and not -most <= number <= most:
                raise ValueError(f"{name} is {number}, more than {most}")
        if isinstance(value, tuple | list) and len(value) > _DEEPEST:
            raise ValueError(f"{name} has {len(value)} values, more than {_DEEPEST}")


def default_parameters(model: str) -> dict[str, Any]:
    """The parameters of `model` that can be set, with their defaults; raises as `build_network` does."""
    kind = family(model)
    fixed = kind.fixed(Shape(("a",), 2, 44100, kind.segment_s))
    taken = inspect.signature(_network_class(model).__init__).parameters
    return {
        name: kind.defaults.get(name, parameter.default)
        for name, parameter in taken.items()
        if name != "self" and name not in fixed and _is_plain(kind.defaults.get(name, parameter.default))
    }


def parse_parameters(model: str, settings: Iterable[str]) -> dict[str, Any]:
    """Parses parameters written `key=value`, with the types of their defaults; raises UsageError for any other."""
    allowed = default_parameters(model)
    parsed: dict[str, Any] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or key not in allowed:
            problem = f"has no parameter {key!r}" if equals else f"needs key=value, not {setting!r}"
            raise UsageError(f"{model} {problem}; it has {', '.join(sorted(allowed))}.")
        try:
            value = parse_yaml(text)
        except ValueError as error:
            raise UsageError(f"{text[:100]!r} is not a value for {key}: {error}.") from error
        parsed[key] = _like(allowed[key], value, key)
    return parsed


def _like(default: Any, value: Any, key: str) -> Any:
    """`value`, if it has the type of `default`; an integer passes as a float, a list as a tuple."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, tuple | list) and isinstance(value, list):
        return tuple(value)
    if default is not None and type(value) is not type(default):
        raise UsageError(f"{key} must be like {default!r}, not {value!r}.")
    if not _is_plain(value):
        raise UsageError(f"{key} must be a number, a word or a list, not {value!r}.")
    return value


def _is_plain(value: Any) -> bool:
    """Whether a parameter can be written on a command line and in a JSON file."""
    if isinstance(value, tuple | list):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, bool | int | float | str)


def _network_class(model: str) -> type[nn.Module]:
    module, _, name = family(model).home.partition(":")
    try:
        found: type[nn.Module] = getattr(import_module(module), name)
    except ImportError as error:
        raise RestemError(
            f"The model {model} needs a package that is not installed: {extra_command('separators')}."
        ) from error
    return found
