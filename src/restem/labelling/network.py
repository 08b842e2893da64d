"""The classifier's network: a ConvNeXt on log-mel power that says which classes are present in a segment.

Liu et al., "A ConvNet for the 2020s" (CVPR 2022), with two changes for sound: a learned offset for every frequency
after the first layer, since an instrument is not the same thing an octave higher and convolutions cannot tell, and
pooling that keeps both the mean and the maximum over time, since a class may be there for a moment only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from restem.labelling.options import Size

BATCH = 128
"""Segments that are scored at once."""

# Log-mel power is taken relative to the segment's own level, down to this.
FLOOR_DB = -80.0


@dataclass(frozen=True)
class ClassifierSettings:
    """The shape of the network. patch: (band, frame) a token of the first layer covers."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    patch: tuple[int, int]
    drop_path: float = 0.0


SIZES: Mapping[Size, ClassifierSettings] = {
    "tiny": ClassifierSettings(depths=(1, 1, 2, 1), widths=(32, 64, 128, 192), patch=(4, 8)),
    "small": ClassifierSettings(depths=(2, 2, 4, 2), widths=(64, 128, 256, 384), patch=(4, 4), drop_path=0.05),
    "base": ClassifierSettings(depths=(3, 3, 9, 3), widths=(96, 192, 384, 768), patch=(4, 4), drop_path=0.1),
}


class ClassifierNetwork(nn.Module):
    """Mel power of segments in, one logit a class out.

    forward: power (batch, frame, band), any positive scale -> logits (batch, class).
    """

    def __init__(self, classes: int, bands: int, settings: ClassifierSettings) -> None:
        super().__init__()
        first, *_, last = settings.widths
        self.stem = nn.Conv2d(1, first, settings.patch, stride=settings.patch)
        self.stem_norm = nn.LayerNorm(first)
        self.frequency_offset = nn.Parameter(torch.zeros(first, bands // settings.patch[0], 1))
        total = sum(settings.depths)
        rates = iter(torch.linspace(0, settings.drop_path, total, device="cpu").tolist())
        stages: list[nn.Module] = []
        previous = first
        for depth, width in zip(settings.depths, settings.widths, strict=True):
            if stages:
                stages.append(_Downsample(previous, width))
            stages += [_Block(width, next(rates)) for _ in range(depth)]
            previous = width
        self.stages = nn.Sequential(*stages)
        self.head_norm = nn.LayerNorm(2 * last)
        self.head = nn.Linear(2 * last, classes)
        self.apply(_initialise)

    def forward(self, power: Tensor) -> Tensor:
        return self.head(self.embed(power))

    def embed(self, power: Tensor) -> Tensor:
        """What the output layer sees: (batch, frame, band) -> (batch, embedding)."""
        x = normalise_level(power).transpose(1, 2).unsqueeze(1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = _channel_norm(self.stem_norm, self.stem(x)) + self.frequency_offset
        x = self.stages(x).mean(dim=2)
        pooled = torch.cat((x.mean(dim=2), x.amax(dim=2)), dim=1)
        return self.head_norm(pooled)


def normalise_level(power: Tensor) -> Tensor:
    """Mel power (batch, frame, band) -> decibels relative to the segment's mean, floored, scaled to a range near one.

    A segment's loudness says nothing about what plays in it, so the classifier is not shown it.
    """
    mean = power.mean(dim=(1, 2), keepdim=True).clamp_min(1e-20)
    level_db = 10.0 * torch.log10(power / mean + 10.0 ** (FLOOR_DB / 10.0))
    return level_db / 20.0 + 1.0


class _Block(nn.Module):
    """Depthwise 7 x 7, layer norm, and a two-layer perceptron four times as wide, around a residual path."""

    def __init__(self, width: int, drop_path: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.project = nn.Linear(4 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = self.project(functional.gelu(self.expand(self.norm(y)))) * self.scale
        if self.training and self.drop_path > 0:
            keep = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop_path
            y = y * keep / (1.0 - self.drop_path)
        return x + y.permute(0, 3, 1, 2)


class _Downsample(nn.Module):
    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.reduce = nn.Conv2d(width, wider, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        # An odd last row or column is repeated rather than dropped.
        x = functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), mode="replicate")
        return self.reduce(_channel_norm(self.norm, x))


def _channel_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Layer norm over the channels of (batch, channel, band, frame)."""
    return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02 if isinstance(module, nn.Linear) else 0.05)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
