"""Starts a training from the weights of another: the body as it is, the outputs by the names of their classes.

Networks keep their outputs in one of two ways (`models.Family.heads`): in a list with a module for each source, or in
last layers that hold the sources one after another along one axis. Which axis that is shows in networks of two and of
three sources.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from restem.errors import RestemError, UsageError
from restem.separation.checkpoints import Checkpoint
from restem.separation.models import Shape, build_network, default_parameters, family
from restem.separation.options import TrainOptions
from restem.separation.separator import Separator, SeparatorConfig
from restem.separation.train_settings import TrainSettings

# The sigmoid of this is nothing: a value residual that is not used, as in MSST's roformers, which have none.
_NEVER = -30.0


@dataclass(frozen=True)
class Taken:
    """What a network took over: for each class its class in the checkpoint, or None where it starts afresh."""

    of_class: Mapping[str, str | None]

    def __str__(self) -> str:
        taken = [name if name == old else f"{name} (from {old})" for name, old in self.of_class.items() if old]
        fresh = [name for name, old in self.of_class.items() if not old]
        outputs = [f"the outputs for {', '.join(taken)}"] if taken else []
        return f"{' and '.join(['the body', *outputs])}; fresh: {', '.join(fresh) or 'nothing'}"


def settings_of_checkpoint(settings: TrainSettings, start: Checkpoint) -> TrainSettings:
    """The settings of a training that starts from `start`: what the checkpoint says, where they leave it open.

    Raises UsageError when they contradict each other.
    """
    config = start.config
    if config is None:
        return settings
    for name in ("model", "rate_hz"):
        mine, its = getattr(settings, name), getattr(config, name)
        if mine not in (its, getattr(TrainOptions, name)):
            raise UsageError(f"{start.place}: was trained with `{name}={its}`, and cannot go on with {mine}.")
    parameters = {name: value for name, value in config.parameters.items() if name in default_parameters(config.model)}
    if changed := [name for name, value in settings.parameters.items() if parameters.get(name, value) != value]:
        raise UsageError(f"{start.place}: has {changed[0]}={parameters[changed[0]]}; leave it out of `parameters`.")
    return replace(
        settings,
        model=config.model,  # type: ignore[arg-type]
        rate_hz=config.rate_hz,
        channels=config.channels,
        segment_s=config.segment_s if settings.segment_s is None else settings.segment_s,
        parameters={**parameters, **settings.parameters},
    )


def take_weights(separator: Separator, start: Checkpoint) -> Taken:
    """Puts the weights of `start` into a new network, and says what was taken.

    Raises RestemError when the two are not of one architecture.
    """
    config, network = separator.config, separator.network
    old = {name: new for name in start.classes if (new := config.taxonomy.match(name))}
    of_class: dict[str, str | None] = {
        name: name if name in start.classes else next((one for one, new in old.items() if new == name), None)
        for name in config.classes
    }
    expected = network.state_dict()
    given = _named_as(start.weights, expected)
    axes, kind = _source_axes(config), family(config.model).heads
    used: set[str] = set()
    for name, tensor in expected.items():
        if kind and (match := re.fullmatch(rf"{kind}\.(\d+)\.(.+)", name)):
            before = of_class[config.classes[int(match[1])]]
            if before is not None:
                source = f"{kind}.{start.classes.index(before)}.{match[2]}"
                tensor.copy_(_fitting(given, source, tensor.shape, start))
        elif name in axes:
            used.add(name)
            _take_parts(tensor, given, name, axes[name], config, start, of_class)
        else:
            used.add(name)
            tensor.copy_(_fitting(given, name, tensor.shape, start))
    heads = re.compile(rf"{kind}\.\d+\." if kind else r"(?!)")
    if foreign := [name for name in given if name not in used and not heads.match(name)]:
        raise RestemError(f"{start.place}: is of another architecture than {config.model}: it also holds {foreign[0]}.")
    return Taken(of_class)


def _take_parts(
    tensor: Tensor,
    given: Mapping[str, Tensor],
    name: str,
    axis: int,
    config: SeparatorConfig,
    start: Checkpoint,
    of_class: Mapping[str, str | None],
) -> None:
    """Copies, of a weight that holds the sources one after another along `axis`, the parts of known classes."""
    size = tensor.shape[axis] // len(config.classes)
    shape = list(tensor.shape)
    shape[axis] = size * len(start.classes)
    whole = _fitting(given, name, torch.Size(shape), start)
    for place, one in enumerate(config.classes):
        before = of_class[one]
        if before is not None:
            part = whole.narrow(axis, start.classes.index(before) * size, size)
            tensor.narrow(axis, place * size, size).copy_(part)


def _fitting(given: Mapping[str, Tensor], name: str, shape: torch.Size, start: Checkpoint) -> Tensor:
    """The weight `name`; raises RestemError when there is none of this shape."""
    found = given.get(name)
    if found is None or found.shape != shape:
        has = "does not hold" if found is None else f"holds {tuple(found.shape)} for"
        raise RestemError(
            f"{start.place}: is of another architecture or size: it {has} {name}, of the shape {tuple(shape)}. "
            "Give the sizes of its network with `parameters`."
        )
    if not found.isfinite().all():
        raise RestemError(f"{start.place}: {name} holds numbers that are NaN or infinite.")
    return found


def _source_axes(config: SeparatorConfig) -> dict[str, int]:
    """Weight -> the axis along which it holds the sources one after another."""

    def shapes(sources: tuple[str, ...]) -> dict[str, torch.Size]:
        shape = Shape(sources, config.channels, config.rate_hz, config.segment_s)
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            network = build_network(config.model, shape, config.parameters)
        return {name: tensor.shape for name, tensor in network.state_dict().items()}

    two, three = shapes(("a", "b")), shapes(("a", "b", "c"))
    return {
        name: next(axis for axis, (one, other) in enumerate(zip(shape, three[name], strict=True)) if one != other)
        for name, shape in two.items()
        if three[name] != shape
    }


def _named_as(given: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a roformer of MSST under the names of the package; others are returned as they are.

    MSST's networks add to their inputs where the package's wrap each part as `branch`, number the transformers of a
    layer without the linear one if there is none, and have no value residuals.
    """
    if not any(".branch." in name for name in expected) or any(".branch." in name for name in given):
        return dict(given)
    first = min((int(name.split(".")[2]) for name in expected if re.match(r"layers\.\d+\.\d+\.", name)), default=0)

    def renamed(name: str) -> str:
        if match := re.match(r"layers\.(\d+)\.(\d+)\.(.*)", name):
            rest = re.sub(r"^(layers\.\d+\.\d+)\.", r"\1.branch.", match[3])
            return f"layers.{match[1]}.{int(match[2]) + first}.{rest}"
        return name

    weights = {renamed(name): tensor for name, tensor in given.items()}
    for name, tensor in expected.items():
        if "value_residual_mix" in name and name not in weights:
            weights[name] = torch.full_like(tensor, _NEVER if name.endswith("bias") else 0.0)
    return weights
