"""The settings of a training: the options of `restem train`, and what they leave open."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, get_args

from restem.audio.reader import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from restem.errors import UsageError
from restem.renaming import current_name
from restem.separation.models import EARLIER_NAMES, family
from restem.separation.options import Loss, Recipe, TrainOptions
from restem.separation.remixing import RemixSettings

_LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class TrainSettings(TrainOptions):
    """How a separator is trained.

    parameters: of the model, see `separation.models`. The learning rate rises to `learning_rate` and falls to zero, by
    the share of the steps or of `max_time` that is done, whichever is larger. truncate: the quantiles above which
    losses are ignored, each for an equal part of the training, see `losses.kept_by_quantile`; none by default.
    validation: the share of the songs that is kept aside to watch the loss and the SDR on, every `epoch_steps`;
    after `patience` times without a better loss training stops. gain_db: see `remixing.RemixSettings`.
    averaged_share: the weights kept are an exponential average over about this share of the steps.
    Raises UsageError for what cannot be.
    """

    parameters: Mapping[str, Any] = field(default_factory=dict)
    channels: int = 2
    weight_decay: float = 0.01
    gain_db: float = RemixSettings.gain_db
    validation_examples: int = 48
    epoch_steps: int = 100
    patience: int = 20
    averaged_share: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", current_name("model", self.model, EARLIER_NAMES))
        if isinstance(self.target, str):
            object.__setattr__(self, "target", (self.target,))
        if self.loss not in get_args(Loss):
            raise UsageError(f"There is no loss {self.loss!r}; use one of {', '.join(get_args(Loss))}.")
        if self.recipe is not None and self.recipe not in get_args(Recipe):
            raise UsageError(f"There is no recipe {self.recipe!r}; use one of {', '.join(get_args(Recipe))}.")
        if not all(0.0 < quantile <= 1.0 for quantile in self.truncate):
            raise UsageError("`truncate` holds quantiles above 0 and at most 1, as 0.7,0.5,0.3.")
        if not 0.0 <= self.coherent <= 1.0:
            raise UsageError(f"`coherent` is a share, from 0 to 1, not {self.coherent}.")
        if not 0.0 <= self.validation < 1.0:
            raise UsageError(f"`validation` is a share, from 0 to below 1, not {self.validation}.")
        for name in ("steps", "batch", "accumulate", "epoch_steps", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(f"`{name}` must be at least 1, not {getattr(self, name)}.")
        if not LOWEST_RATE_HZ <= self.rate_hz <= HIGHEST_RATE_HZ:
            raise UsageError(f"`rate_hz` must be from {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ}, not {self.rate_hz}.")
        if self.channels not in (1, 2):
            raise UsageError("Separators have one channel or two.")
        if self.max_time is not None and not isinstance(self.max_time, timedelta):
            raise UsageError(f"`max_time` must be a timedelta, as timedelta(hours=2), not {self.max_time!r}.")
        positive = {"segment_s": self.segment_s, "learning_rate": self.learning_rate, "max_time": self.max_seconds}
        for name, value in positive.items():
            if value is not None and not 0.0 < value < math.inf:
                raise UsageError(f"`{name}` must be above 0, not {value}.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(f"The seed {self.seed} cannot be used; use one from 0 to {_LARGEST_SEED}.")

    @property
    def example_s(self) -> float:
        """The length of an example in seconds."""
        return family(self.model).segment_s if self.segment_s is None else self.segment_s

    @property
    def max_seconds(self) -> float | None:
        """`max_time` in seconds."""
        return None if self.max_time is None else self.max_time.total_seconds()

    def as_dict(self) -> dict[str, Any]:
        """The settings as JSON values; `max_time` in seconds."""
        return {**asdict(self), "max_time": self.max_seconds}
