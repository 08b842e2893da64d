"""The default separator: small, designed to be trained and run on a CPU.

It masks a complex spectrogram, as in Luo and Yu, "Music source separation with band-split RNN" (2023): every band of
the spectrogram becomes a feature vector, a network mixes the vectors of neighbouring times and of all bands, and every
band's vectors become masks. The differences suit CPUs and small amounts of data: convolutions over time (Bai et al.,
"An empirical evaluation of generic convolutional and recurrent networks", 2018) and matrices over all bands (Tolstikhin
et al., "MLP-Mixer", 2021) instead of recurrent networks; frames that overlap by half under a sine window, since copying
spectrograms costs more than computing with them; and masks that divide the mixture's magnitude among the sources, which
train faster than complex ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

# The network's input magnitudes are raised to this power, which brings them closer to loudness.
_COMPRESSION = 0.3


class BandSplit(nn.Module):
    """A separator of `sources` sources from `channels` channels at `rate_hz`.

    n_fft, hop: of the spectrogram, in samples. bands: number of bands that its bins are split into. width: size of a
    feature vector. depth: number of blocks. frames: spectrogram frames per vector.
    Raises ValueError when these do not fit.
    """

    def __init__(
        self,
        sources: int,
        channels: int,
        rate_hz: int,
        *,
        n_fft: int = 4096,
        hop: int = 2048,
        bands: int = 48,
        width: int = 64,
        depth: int = 6,
        frames: int = 1,
    ) -> None:
        super().__init__()
        if min(bands, width, depth, frames) < 1:
            raise ValueError("bands, width, depth and frames must be at least 1")
        if not 0 < hop <= n_fft // 2:
            raise ValueError("hop must be at most half of n_fft")
        self.sources, self.n_fft, self.hop, self.frames = sources, n_fft, hop, frames
        self.register_buffer("window", torch.hann_window(n_fft).sqrt(), persistent=False)
        self.window: Tensor
        edges = band_edges(n_fft, rate_hz, bands)
        self.widths = np.diff(edges).tolist()
        # A vector encodes and masks this many magnitudes of each of its bins.
        numbers = channels * frames
        self.encode = nn.ModuleList(nn.Linear(numbers * bins, width) for bins in self.widths)
        self.blocks = nn.ModuleList(_Block(width, len(self.widths), dilation=2 ** (i % 4)) for i in range(depth))
        self.norm = nn.LayerNorm(width)
        self.decode = nn.ModuleList(nn.Linear(width, sources * numbers * bins) for bins in self.widths)
        # The initial masks are nearly equal for all sources.
        for name, weight in self.decode.named_parameters():
            if name.endswith("weight"):
                nn.init.trunc_normal_(weight, std=0.02)
            else:
                nn.init.zeros_(weight)

    def forward(self, mixture: Tensor) -> Tensor:
        """mixture: (batch, channel, sample). Returns (batch, source, channel, sample)."""
        spectrum = self._spectrum(mixture.float())
        parts = self.masks(spectrum.abs()).unsqueeze(-1) * torch.view_as_real(spectrum).unsqueeze(1)
        return self._waveform(torch.view_as_complex(parts), mixture.shape[-1])

    def masks(self, magnitude: Tensor) -> Tensor:
        """The network between the STFT and its inverse: what each source has of a spectrogram.

        magnitude: (batch, channel, frame, bin). Returns (batch, source, channel, frame, bin), of sum 1 over sources.
        """
        count = magnitude.shape[2]
        magnitude = functional.pad(magnitude, (0, 0, 0, -count % self.frames))
        tokens = self._tokens(magnitude)
        for block in self.blocks:
            tokens = block(tokens)
        return self._masks(self.norm(tokens), magnitude.shape[1])[..., :count, :]

    def _spectrum(self, mixture: Tensor) -> Tensor:
        """(batch, channel, sample) -> complex (batch, channel, frame, bin)."""
        spectrum = torch.stft(
            mixture.flatten(0, 1), self.n_fft, self.hop, window=self.window, pad_mode="constant", return_complex=True
        )
        return spectrum.transpose(1, 2).reshape(*mixture.shape[:2], -1, spectrum.shape[1])

    def _waveform(self, spectra: Tensor, samples: int) -> Tensor:
        """Complex (batch, source, channel, frame, bin) -> (batch, source, channel, sample)."""
        frames_last = spectra.flatten(0, 2).transpose(1, 2)
        waveform = torch.istft(frames_last, self.n_fft, self.hop, window=self.window, length=samples)
        return waveform.reshape(*spectra.shape[:3], samples)

    def _tokens(self, magnitude: Tensor) -> Tensor:
        """(batch, channel, frame, bin) -> (batch, band, token, width)."""
        # Relative to the example's own level, so that quiet and loud songs are treated alike.
        level = magnitude.square().mean(dim=(1, 2, 3), keepdim=True).sqrt() + 1e-8
        heard = (magnitude / level + 1e-6).pow(_COMPRESSION)
        # (batch, token, channel, frame, bin): the magnitudes of a token are adjacent.
        heard = heard.reshape(*heard.shape[:2], -1, self.frames, heard.shape[-1]).transpose(1, 2)
        parts = torch.split(heard, self.widths, dim=4)
        return torch.stack([encode(part.flatten(2)) for encode, part in zip(self.encode, parts, strict=True)], dim=1)

    def _masks(self, tokens: Tensor, channels: int) -> Tensor:
        """(batch, band, token, width) -> (batch, source, channel, frame, bin)."""
        shape = (self.sources, channels, self.frames, -1)
        parts = [
            decode(part).float().unflatten(-1, shape).permute(0, 2, 3, 1, 4, 5).flatten(3, 4)
            for decode, part in zip(self.decode, tokens.unbind(1), strict=True)
        ]
        return torch.cat(parts, dim=4).softmax(dim=1)


class _Block(nn.Module):
    """A residual block: mixes the bands, then convolves every band over time."""

    def __init__(self, width: int, bands: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.bands_norm = nn.LayerNorm(width)
        self.bands = nn.Linear(bands, bands)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(3 * width, 2 * width)
        self.project = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """x: (batch, band, token, width)."""
        x = x + self.bands(self.bands_norm(x).transpose(1, 3)).transpose(1, 3)
        around = functional.pad(self.norm(x), (0, 0, self.dilation, self.dilation))
        tokens = x.shape[2]
        near = torch.cat([around[:, :, self.dilation * i :][:, :, :tokens] for i in range(3)], dim=-1)
        return x + self.project(functional.gelu(self.expand(near)))


def band_edges(n_fft: int, rate_hz: int, bands: int) -> np.ndarray:
    """The first bin of every band, and one past the last: evenly spaced in mel, at least two bins wide.

    Raises ValueError for more bands than the bins can make.
    """
    nyquist_mel = _mel(rate_hz / 2)
    bins = n_fft // 2 + 1
    ideal = 700.0 * (np.exp(np.linspace(0, nyquist_mel, bands + 1)) - 1.0) / (rate_hz / n_fft)
    edges = np.zeros(bands + 1, np.int64)
    for band in range(1, bands + 1):
        edges[band] = max(round(float(ideal[band])), edges[band - 1] + 2)
    if edges[-2] + 2 > bins:
        raise ValueError(f"{bins} bins cannot make {bands} bands of at least two")
    edges[-1] = bins
    return edges


def _mel(frequency_hz: float) -> float:
    return float(np.log1p(frequency_hz / 700.0))
