"""What the training of a separator can be told: the options of `restem train`, the first fields of `TrainSettings`.

Nothing heavy is imported here, so that `restem train --help` is there at once. Annotations are not postponed: the
command line reads them.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Model = Literal["band_split", "hdemucs", "htdemucs", "bs_roformer", "mel_band_roformer"]
Loss = Literal["l1", "stft", "l1+stft", "log-wmse"]
Recipe = Literal["cpu", "gpu-24", "gpu-80"]


@dataclass(frozen=True)
class TrainOptions:
    """The settings that have an option on the command line, with their defaults."""

    model: Model = "band_split"
    """The network; all but `band_split` need the extra `separators`."""
    recipe: Recipe | None = None
    """Sizes, batch and learning rate for a CPU, or a GPU with 24 or 80 GB; options that are given count more."""
    steps: int = 10_000
    """Optimiser steps."""
    max_time: timedelta | None = None
    """How long to train at most, such as 90s, 30m or 1h30m; the learning rate's schedule fits it."""
    batch: int = 8
    """Examples in a batch."""
    accumulate: int = 1
    """Batches in an optimiser step."""
    segment_s: float | None = None
    """Length of an example in seconds; by default the model's."""
    learning_rate: float = 2e-3
    """Largest learning rate: it rises to this and falls to zero."""
    loss: Loss = "l1"
    """Difference of waveforms, of spectrograms of several resolutions, or both; or the energy of the error in
    proportion to the mixture's, as the ear weighs it."""
    target: tuple[str, ...] = ()
    """Take this class apart from the rest, instead of all classes; may be repeated. What is known as `instrumental` or
    the like belongs to the rest."""
    truncate: tuple[float, ...] = ()
    """Ignore each batch's largest losses, those above this quantile: 0.7, or 0.7,0.5,0.3 for a third of the training
    each."""
    coherent: float = 0.0
    """Share of examples whose stems come from one song at one time."""
    validation: float = 0.1
    """Share of the songs that is kept aside to validate on."""
    unsure: bool = False
    """Also learn from the unsure stems of a run."""
    weigh: bool = False
    """Learn from each stem of a run as often as its labels are likely to be right, from the unsure ones as well."""
    rate_hz: int = 44100
    """The separator's sampling rate in Hz."""
    seed: int = 0
    """Random seed."""
