"""Settings that fit a machine: `--recipe cpu`, or a GPU with 24 or 80 GB. They do not change between versions.

Each says what it was measured on. Those for GPUs are sizes of published trainings, scaled by memory, and have not been
run: batches may have to be smaller.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from restem.separation.train_settings import TrainSettings

LOGGER = logging.getLogger("restem.separation.train")  # what `restem train` shows


@dataclass(frozen=True)
class Recipe:
    """settings: fields of `TrainSettings`. measured: on what; empty where it has not been. sizes: of the network."""

    settings: Mapping[str, Any]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    measured: str = ""


def _batches(batch: int, accumulate: int, segment_s: float, learning_rate: float) -> dict[str, Any]:
    return {"batch": batch, "accumulate": accumulate, "segment_s": segment_s, "learning_rate": learning_rate}


RECIPES: Mapping[str, Mapping[str, Recipe]] = {
    "cpu": {
        "band_split": Recipe(
            _batches(8, 1, 2.0, 2e-3), measured="two cores, 30 rendered songs, 400 steps: benchmarks/separation.json"
        ),
        "hdemucs": Recipe(_batches(4, 1, 4.0, 1e-3), {"channels": 12}),
        "htdemucs": Recipe(_batches(4, 1, 4.0, 1e-3), {"channels": 12}),
        "bs_roformer": Recipe(_batches(2, 2, 2.0, 5e-4), {"dim": 64, "depth": 2}),
        "mel_band_roformer": Recipe(_batches(2, 2, 2.0, 5e-4), {"dim": 64, "depth": 2}),
    },
    "gpu-24": {
        "band_split": Recipe(_batches(16, 1, 4.0, 1e-3), {"width": 128, "depth": 8}),
        "hdemucs": Recipe(_batches(4, 8, 10.0, 3e-4)),
        "htdemucs": Recipe(_batches(4, 8, 7.8, 3e-4)),
        "bs_roformer": Recipe(_batches(2, 8, 8.0, 5e-4)),
        "mel_band_roformer": Recipe(_batches(2, 8, 8.0, 5e-4)),
    },
    "gpu-80": {
        "band_split": Recipe(_batches(64, 1, 4.0, 1e-3), {"width": 128, "depth": 8}),
        "hdemucs": Recipe(_batches(16, 2, 10.0, 3e-4)),
        "htdemucs": Recipe(_batches(16, 2, 7.8, 3e-4)),
        "bs_roformer": Recipe(_batches(4, 4, 8.0, 5e-4), {"dim": 384, "depth": 12}),
        "mel_band_roformer": Recipe(_batches(4, 4, 8.0, 5e-4), {"dim": 384, "depth": 6}),
    },
}


def with_recipe(settings: TrainSettings, sizes: bool = True) -> TrainSettings:
    """The settings with those of their recipe wherever they are the defaults.

    sizes: whether the recipe also says how large the network is; not where it goes on from weights.
    """
    if settings.recipe is None:
        return settings
    recipe = RECIPES[settings.recipe][settings.model]
    LOGGER.info(
        "recipe %s for %s: %s", settings.recipe, settings.model,
        f"measured on {recipe.measured}" if recipe.measured else "not measured",
    )  # fmt: skip
    defaults = {one.name: one.default for one in fields(settings) if one.default is not MISSING}
    changes = {name: value for name, value in recipe.settings.items() if getattr(settings, name) == defaults[name]}
    parameters = {**(recipe.sizes if sizes else {}), **settings.parameters}
    return replace(settings, **changes, parameters=parameters)
