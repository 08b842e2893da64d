"""The settings of a refinement: the options of `restem refine`, and what they leave open."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from restem.audio.mel import MelSettings
from restem.errors import UsageError
from restem.labelling.classifier import ClassifierConfig
from restem.labelling.decision_settings import DecisionSettings
from restem.labelling.mixing import MixingSettings
from restem.labelling.network import SIZES
from restem.labelling.options import Method, RefineOptions, Start
from restem.labelling.pretrained import has_pretrained
from restem.labelling.segments import HOP_S, POOL_QUANTILE
from restem.labelling.training import TrainingSettings, default_start
from restem.renaming import current_name

# Each training has a seed of its own, 1000 * seed + its number, of 32 bits.
_LARGEST_SEED = 4_000_000

METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True)
class RefineSettings(RefineOptions):
    """Everything a refinement depends on besides the dataset; kept in `run.json`.

    hop_s: from one segment to the next. pool_quantile: the score of a stem is this quantile of the scores of its active
    segments. Raises UsageError for what cannot be.
    """

    hop_s: float = HOP_S
    pool_quantile: float = POOL_QUANTILE
    mel: MelSettings = field(default_factory=MelSettings)
    mixing: MixingSettings = field(default_factory=MixingSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    decision: DecisionSettings = field(default_factory=DecisionSettings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", current_name("start", self.start, {"prior": "pretrained"}))
        if self.size not in SIZES:
            raise UsageError(f"There is no classifier of size {self.size!r}; choose one of {', '.join(SIZES)}.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(f"The seed {self.seed} cannot be used; use one from 0 to {_LARGEST_SEED}.")
        for name in ("rounds", "folds", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"`{name}` must be at least 1, not {value}.")
        if self.start == "pretrained" and not has_pretrained(self.classifier(())):
            raise UsageError(f"There is no pretrained classifier of size {self.size!r}; use `start='scratch'`.")
        if self.method not in METHODS:
            raise UsageError(f"There is no method {self.method!r}; choose one of {', '.join(METHODS)}.")
        if self.method == "paper":
            self._without_additions()

    def _without_additions(self) -> None:
        """What the method `paper` takes where nothing was chosen; so `run.json` says what was done."""
        if self.encoder not in ("auto", "none"):
            raise UsageError(f"`method='paper'` uses no encoder; leave out `encoder={self.encoder!r}`.")
        chosen = {"start": self.start or "scratch", "rounds": self.rounds or 2, "folds": 1, "encoder": "none"}
        for name, value in chosen.items():
            object.__setattr__(self, name, value)

    def start_of(self, config: ClassifierConfig) -> Start:
        """Where the training of such a classifier starts."""
        return self.start or default_start(config)

    def classifier(self, classes: tuple[str, ...], dataset: str = "", licence: str = "") -> ClassifierConfig:
        """What a classifier is like that is trained with these settings."""
        return ClassifierConfig(classes, self.mel, SIZES[self.size], self.mixing.segment_s, dataset, licence)
