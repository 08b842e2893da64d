"""Splits a stem with several labels into one stem per class, which sum to it.

A separator's outputs for a stem estimate how much of each class is in it, but they need not sum to it, and some of it
goes to classes that the stem does not have. Only their ratios are used: each bin of the stem's spectrogram is divided
among the classes of its label set in proportion to the magnitudes of the separator's outputs. This is the generalised
Wiener filter with exponent one (Liutkus and Badeau, "Generalized Wiener filtering with fractional power spectrograms",
ICASSP 2015), and its parts sum to the stem.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from restem.audio.pcm import to_channels
from restem.audio.reader import open_audio
from restem.audio.resample import resample_blocks
from restem.audio.writer import open_writer
from restem.devices import use_threads
from restem.errors import RestemError
from restem.runs.export import Split
from restem.separation.separator import Separator, load_separator
from restem.separation.streaming import separate_blocks
from restem.taxonomy import Taxonomy

_N_FFT = 2048


class Splitter(Separator):
    """A separator that divides the whole mixture among some of its classes, `classes`, in the order of its outputs."""

    def __init__(self, separator: Separator, classes: tuple[str, ...]) -> None:
        super().__init__(separator.config, separator.network)
        self.separator = separator
        self.classes = classes
        self._index = [separator.config.classes.index(name) for name in classes]

    def forward(self, mixture: Tensor) -> Tensor:
        """mixture: (batch, channel, sample). Returns (batch, class, channel, sample), whose sum is the mixture."""
        outputs = self.separator(mixture)[:, self._index]
        return divide_by_magnitude(mixture, outputs)


def make_split(folder: Path, taxonomy: Taxonomy, device: str = "cpu") -> Split:
    """A function that splits stems with the separator in `folder`, for `restem.runs.export`.

    Estimates are written at the separator's rate and with its channels. Raises RestemError when the separator cannot be
    used, or lacks a class of the taxonomy.
    """
    separator = load_separator(folder)
    config = separator.config
    if missing := [name for name in taxonomy.classes if name not in config.classes]:
        raise RestemError(
            f"{folder}: was trained on {','.join(config.classes)}, and cannot split {missing[0]}; "
            "train one on the classes of the run."
        )

    threads = torch.get_num_threads()

    def split(path: Path, stream: int, targets: Mapping[str, Path]) -> None:
        use_threads(device, threads)
        splitter = Splitter(separator, tuple(targets))
        with open_audio(path, stream) as audio, ExitStack() as files:
            heard = (to_channels(block, config.channels) for block in audio.blocks())
            mixture = resample_blocks(heard, audio.info.rate_hz, config.rate_hz, config.channels)
            # 32-bit float holds parts that are louder than their sum without clipping.
            writers = [
                files.enter_context(open_writer(target, config.rate_hz, config.channels, "FLOAT"))
                for target in targets.values()
            ]
            for block in separate_blocks(splitter, mixture, device=device):
                for write, part in zip(writers, block, strict=True):
                    write(part)

    return split


def divide_by_magnitude(mixture: Tensor, estimates: Tensor) -> Tensor:
    """Divides the mixture among sources in proportion to the magnitudes of their estimates.

    mixture: (batch, channel, sample). estimates: (batch, source, channel, sample). Returns the shape of the latter.
    """
    window = torch.hann_window(_N_FFT, device=mixture.device).sqrt()

    def spectrum(sound: Tensor) -> Tensor:
        flat = sound.flatten(0, -2)
        return torch.stft(flat, _N_FFT, _N_FFT // 2, window=window, pad_mode="constant", return_complex=True).reshape(
            *sound.shape[:-1], _N_FFT // 2 + 1, -1
        )

    magnitude = spectrum(estimates).abs() + 1e-8
    parts = magnitude / magnitude.sum(dim=1, keepdim=True) * spectrum(mixture).unsqueeze(1)
    shared = torch.istft(parts.flatten(0, 2), _N_FFT, _N_FFT // 2, window=window, length=mixture.shape[-1])
    return shared.reshape(estimates.shape)
