"""The networks of musicnn, in torch: log-mel spectrograms in, embeddings and tags out.

Pons and Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging" (ISMIR 2019, late-breaking
demo). The first layer's filters have the shapes of what they are meant to find: tall and short ones for timbres, which
are pooled over frequency, and long, one band high ones for rhythms and envelopes. The other network is the usual
stack of small square filters, after VGG. Both were trained on 3 s of sound; the weights are read by `musicnn_weights`.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from restem.labelling.encoders.interface import Encoder, EncoderCard

RATE_HZ = 16000
FFT = 512
HOP = 256
BANDS = 96
FRAMES = 187
"""Frames that the networks were trained on: 3 s, without the last one."""

TAGS = 50
_TIMBRE_FILTERS = 204
_TIMBRE_BANDS = (38, 67)  # 0.4 and 0.7 of all bands
_TIMBRE_FRAMES = 7
_RHYTHM_FILTERS = 51
_RHYTHM_FRAMES = (128, 64, 32)
_MIDDLE_FILTERS = 64
_MIDDLE_FRAMES = 7
_DENSE = 200
_VGG_FILTERS = 128

Pools = tuple[tuple[tuple[int, int], tuple[int, int]], ...]
"""Of the layers of a VGG: size and stride of the pooling after each, (frame, band)."""

VGG_POOLS: Pools = (((4, 1), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (4, 4)))
# The graph that lies beside the weights trained on the Million Song Dataset pools otherwise in the first two layers.
# The published code does not, and so computes something else than what was trained.
VGG_POOLS_MSD: Pools = (((4, 1), (4, 1)), ((1, 4), (1, 4)), *VGG_POOLS[2:])

_GPU_BATCH = 64  # windows at once; on a CPU one, which stays in its caches: four take 1.5 times as long each


def log_mel(windows: Tensor) -> Tensor:
    """(batch, sample) at 16 kHz -> (batch, frame, band): log10(1 + 10000 power), `FRAMES` frames at most.

    Frames are centred on multiples of the hop, with zeros beyond the ends, as librosa does by default.
    """
    window = torch.hann_window(FFT, device=windows.device)
    spectrum = torch.stft(windows, FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    weights = torch.from_numpy(slaney_weights(RATE_HZ, FFT, BANDS)).to(windows.device)
    return torch.log10(1.0 + 10000.0 * (weights @ power)[..., :FRAMES]).transpose(1, 2)


@lru_cache(maxsize=4)
def slaney_weights(rate_hz: int, size: int, bands: int) -> np.ndarray:
    """(band, size // 2 + 1) float32: triangles of area 1 (in Hz) on the mel scale of Slaney's Auditory Toolbox (1998).

    The scale is linear up to 1 kHz (200 / 3 Hz a step) and logarithmic above (27 steps for a factor of 6.4).
    """
    knee_hz, step_hz, log_step = 1000.0, 200.0 / 3.0, np.log(6.4) / 27.0
    knee = knee_hz / step_hz
    highest = knee + np.log(rate_hz / 2.0 / knee_hz) / log_step
    mel = np.linspace(0.0, highest, bands + 2)
    edges_hz = np.where(mel < knee, mel * step_hz, knee_hz * np.exp(log_step * (mel - knee)))
    frequencies = np.arange(size // 2 + 1) * rate_hz / size
    lower, centre, upper = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (frequencies - lower) / (centre - lower), (upper - frequencies) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (upper - lower)).astype(np.float32)


class TaggingNetwork(nn.Module):
    """What both networks have: an embedding of a log-mel spectrogram, and tags on top of it."""

    embedding_size: int

    @abstractmethod
    def forward(self, mel: Tensor) -> Tensor:
        """mel: (batch, frame, band). Returns the embedding, (batch, embedding)."""

    @abstractmethod
    def tags(self, embedding: Tensor) -> Tensor:
        """(batch, embedding) -> (batch, tag) probabilities."""


class MusicnnNetwork(TaggingNetwork):
    """Filters of musical shapes, three layers over time, and maximum and mean over time.

    The embedding is what the paper calls the pooled features: the maxima of all 753 features of the first layers and
    the middle ones, then their means.
    """

    def __init__(self) -> None:
        super().__init__()
        self.input_norm = _norm2d(1)
        self.timbre = nn.ModuleList(_Filters(_TIMBRE_FILTERS, _TIMBRE_FRAMES, bands) for bands in _TIMBRE_BANDS)
        self.rhythm = nn.ModuleList(_Filters(_RHYTHM_FILTERS, frames, 1) for frames in _RHYTHM_FRAMES)
        width = len(_TIMBRE_BANDS) * _TIMBRE_FILTERS + len(_RHYTHM_FRAMES) * _RHYTHM_FILTERS
        widths = (width, _MIDDLE_FILTERS, _MIDDLE_FILTERS, _MIDDLE_FILTERS)
        self.middle = nn.ModuleList(_OverTime(into, out) for into, out in pairwise(widths))
        self.embedding_size = 2 * sum(widths)
        self.pooled_norm = _norm1d(self.embedding_size)
        self.dense = nn.Linear(self.embedding_size, _DENSE)
        self.dense_norm = _norm1d(_DENSE)
        self.output = nn.Linear(_DENSE, TAGS)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.input_norm(mel.unsqueeze(1))
        x = torch.cat([filters(x) for filters in (*self.timbre, *self.rhythm)], dim=1)
        features = [x]
        for index, layer in enumerate(self.middle):
            # The first layer changes the width; around the others there is a residual path.
            x = layer(x) if index == 0 else x + layer(x)
            features.append(x)
        over_time = torch.cat(features, dim=1)
        return torch.cat((over_time.amax(dim=2), over_time.mean(dim=2)), dim=1)

    def tags(self, embedding: Tensor) -> Tensor:
        dense = functional.relu(self.dense(self.pooled_norm(embedding)))
        return torch.sigmoid(self.output(self.dense_norm(dense)))


class _Filters(nn.Module):
    """Filters of one shape, pooled over frequency: (batch, 1, frame, band) -> (batch, filter, frame).

    Padded in time only: pooling over all positions in frequency makes padding there needless.
    """

    def __init__(self, filters: int, frames: int, bands: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, filters, (frames, bands))
        self.norm = _norm2d(filters)
        self.padding = (0, 0, (frames - 1) // 2, frames // 2)  # of an even length, one more after than before

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.convolution(functional.pad(x, self.padding)))
        return self.norm(x).amax(dim=3)


class _OverTime(nn.Module):
    """(batch, feature, frame) -> (batch, filter, frame)."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(into, out, _MIDDLE_FRAMES, padding=_MIDDLE_FRAMES // 2)
        self.norm = _norm1d(out)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(functional.relu(self.convolution(x)))


class VggNetwork(TaggingNetwork):
    """Five layers of 3 x 3 filters. The embedding is the last pooling: two times of 128 numbers each."""

    def __init__(self, pools: Pools = VGG_POOLS) -> None:
        super().__init__()
        self.pools = pools
        self.input_norm = _norm2d(1)
        widths = (1, *[_VGG_FILTERS] * len(pools))
        self.convolutions = nn.ModuleList(nn.Conv2d(into, out, 3, padding=1) for into, out in pairwise(widths))
        self.norms = nn.ModuleList(_norm2d(_VGG_FILTERS) for _ in pools)
        self.embedding_size = 2 * _VGG_FILTERS
        self.output = nn.Linear(self.embedding_size, TAGS)

    def forward(self, mel: Tensor) -> Tensor:
        x = self.input_norm(mel.unsqueeze(1))
        for convolution, norm, (size, stride) in zip(self.convolutions, self.norms, self.pools, strict=True):
            x = functional.max_pool2d(norm(functional.relu(convolution(x))), size, stride)
        return x.permute(0, 2, 3, 1).flatten(1)

    def tags(self, embedding: Tensor) -> Tensor:
        return torch.sigmoid(self.output(embedding))


def _norm2d(width: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(width, eps=_NORM_EPSILON)


def _norm1d(width: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(width, eps=_NORM_EPSILON)


_NORM_EPSILON = 1e-3  # what the networks were trained with


class MusicnnEncoder(Encoder):
    """One of the two networks with its weights, on a device."""

    def __init__(self, card: EncoderCard, network: TaggingNetwork, device: torch.device) -> None:
        self.card = card
        self.device = device
        self._batch = 1 if device.type == "cpu" else _GPU_BATCH
        self._network = network.eval().requires_grad_(False).to(device)

    def _run(self, windows: np.ndarray, tags: bool) -> np.ndarray:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(windows), self._batch):
                part = torch.from_numpy(windows[start : start + self._batch])
                embedding = self._network(log_mel(part.to(self.device)))
                parts.append((self._network.tags(embedding) if tags else embedding).cpu().numpy())
        return np.concatenate(parts)
