"""What a refinement can be told: the options of `restem refine` and the first fields of `RefineSettings`.

Nothing is imported here, so that `restem refine --help` is there at once. Annotations are not postponed: the command
line reads them.
"""

from dataclasses import dataclass
from typing import Literal

Size = Literal["tiny", "small", "base"]
Start = Literal["pretrained", "scratch"]
Method = Literal["restem", "paper"]


@dataclass(frozen=True)
class RefineOptions:
    """The settings that have an option on the command line, with their defaults."""

    method: Method = "restem"
    """How labels are found. `paper` is the procedure of the paper's abstract alone, to compare with: two rounds from
    random weights, a threshold on the scores of each stem, no folds, no song model and no encoder."""
    size: Size = "tiny"
    """The classifier's size; `base` wants a GPU."""
    start: Start | None = None
    """Where trainings start: `pretrained`, the classifier that comes with restem (the default with size `tiny`), or
    `scratch`, random weights (the default with method `paper`)."""
    rounds: int | None = None
    """Rounds of training, scoring and relabelling; by default 1, or 3 without the pretrained classifier's scores, or 2
    with method `paper`."""
    folds: int = 3
    """Groups of songs: every stem is scored by a classifier that was trained on the other groups. 1 scores training
    stems, as the paper does; method `paper` has always 1."""
    steps: int | None = None
    """Optimiser steps of each training; by default they follow from the amount of audio."""
    seed: int = 0
    """Random seed."""
    encoder: str = "auto"
    """The pretrained audio encoder that hears what is in each stem; `restem encoders` lists them. `auto` takes one that
    is installed, `none` goes without."""
