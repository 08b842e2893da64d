"""Losses for label sets: the sum of the outputs of a stem's classes is compared with the stem.

Nothing is assumed about how the sum divides among them, so a stem of `bass+drums` gives no wrong supervision; a stem
with one label is the special case. The groups of an example are disjoint and hold every class: a class that does not
sound is a group of its own with a silent target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

# Window lengths of the STFT loss in samples; frames overlap by three quarters.
_WINDOWS = (2048, 1024, 512, 256)

# An error this much smaller than the mixture counts as none: -60 dB.
_NO_ERROR = 1e-6

_SILENT = 1e-6  # the energy of what does not sound


def set_loss(
    outputs: Tensor,
    groups: Tensor,
    targets: Tensor,
    loss: str = "l1",
    quantile: float | None = None,
    rate_hz: int = 44100,
) -> Tensor:
    """The mean loss over all groups of a batch, a scalar.

    outputs: (example, class, channel, sample). groups: (example, slot, class), 1 for the classes of a group; unused
    slots are zero and are ignored. targets: (example, slot, channel, sample). loss: see `LOSSES`.
    quantile: see `kept_by_quantile`; None keeps everything. rate_hz: of the samples, for `log_wmse`.
    """
    error = sum_groups(outputs, groups) - targets
    losses = log_wmse(error, targets.sum(dim=1, keepdim=True), rate_hz) if loss == LOG_WMSE else LOSSES[loss](error)
    weights = groups.any(dim=2).to(losses.dtype)
    if quantile is not None:
        weights = weights * kept_by_quantile(losses.detach(), groups, quantile)
    return (losses * weights).sum() / weights.sum().clamp_min(1e-8)


def sum_groups(outputs: Tensor, groups: Tensor) -> Tensor:
    """The sum of the outputs of each group's classes, (example, slot, channel, sample)."""
    return torch.einsum("esc,ecnt->esnt", groups.to(outputs.dtype), outputs)


def l1(error: Tensor) -> Tensor:
    """The mean absolute error of waveforms. error: (..., channel, sample). Returns (...)."""
    return error.abs().mean(dim=(-2, -1))


def stft(error: Tensor) -> Tensor:
    """The mean absolute error of complex spectrograms of several resolutions, (...), on the scale of `l1`.

    Lu et al., "Music source separation with band-split RoPE transformer" (ICASSP 2024), section 3.1, with fewer frames.
    The STFT is linear, so the spectrogram of the error is the error of the spectrograms.
    """
    flat = error.float().flatten(0, -2)
    total = torch.zeros(flat.shape[0], device=error.device)
    for length in _WINDOWS:
        window = torch.hann_window(length, device=error.device)
        # White noise of amplitude 1 has a spectrogram of amplitude 1.
        window = window / window.square().sum().sqrt()
        spectrum = torch.stft(flat, length, length // 4, window=window, pad_mode="constant", return_complex=True)
        total = total + spectrum.abs().mean(dim=(-2, -1))
    return (total / len(_WINDOWS)).reshape(error.shape[:-1]).mean(dim=-1)


def log_wmse(error: Tensor, mixture: Tensor, rate_hz: int) -> Tensor:
    """The logarithm of the error's energy in proportion to the mixture's, both weighted as the ear does, (...).

    After the log-WMSE of Nomono (2024), with the A-weighting of IEC 61672 for its filter. Being relative to the mixture
    instead of the target, it is defined for silent targets, and quiet examples count as much as loud ones.
    error, mixture: (..., channel, sample), the latter broadcast.
    """
    weight = _a_weighting(error.shape[-1], rate_hz, error.device)

    def energy(sound: Tensor) -> Tensor:
        return (torch.fft.rfft(sound.float(), norm="ortho").abs() * weight).square().mean(dim=(-2, -1))

    return torch.log(energy(error) / (energy(mixture) + 1e-12) + _NO_ERROR)


def _a_weighting(samples: int, rate_hz: int, device: torch.device) -> Tensor:
    """The A-weighting of IEC 61672-1, equation E.6, as a factor for each bin of a Fourier transform."""
    squares = torch.fft.rfftfreq(samples, 1.0 / rate_hz, dtype=torch.float64).square()
    high = 12194.217**2
    found = high * squares.square() / ((squares + 20.598997**2) * (squares + high))
    return (found / ((squares + 107.65265**2) * (squares + 737.86223**2)).sqrt()).float().to(device)


LOG_WMSE = "log-wmse"

LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "l1": l1,
    "stft": stft,
    "l1+stft": lambda error: l1(error) + stft(error),
}
"""The losses of an error alone; `log_wmse` also takes the mixture."""


def kept_by_quantile(losses: Tensor, groups: Tensor, quantile: float) -> Tensor:
    """The weight of each group's loss when large losses are truncated, (example, slot) in [0, 1].

    For every class, the losses of the groups that hold it are compared over the batch, and those above the quantile are
    taken as signs of wrong labels. The weight of a group is the share of its classes for which it is kept. With single
    labels this is close to the truncation of the winner of SDX'23's label noise track (Fabbro et al., "The Sound
    Demixing Challenge 2023 - Music Demixing Track", TISMIR 2024, section 5); it differs in that `set_loss` averages
    over the kept losses only, and in that each quantile of a schedule holds for an equal part of the training.
    losses: (example, slot). groups: (example, slot, class).
    """
    member = groups > 0
    # (example, class): the loss of the group that holds the class.
    of_class = (losses.unsqueeze(2) * member).sum(dim=1).float()
    limit = torch.quantile(of_class, quantile, dim=0, keepdim=True)
    kept = (of_class <= limit).unsqueeze(1) & member
    return kept.sum(dim=2) / member.sum(dim=2).clamp_min(1)


def truncation_at(schedule: Sequence[float], share_done: float) -> float | None:
    """The quantile when `share_done` of the training is done: each of `schedule` for an equal part; None if empty."""
    if not schedule:
        return None
    return schedule[min(int(share_done * len(schedule)), len(schedule) - 1)]


def set_sdr(outputs: Tensor, groups: Tensor, targets: Tensor) -> Tensor:
    """The mean SDR in dB over groups that sound and are not alone, a scalar, NaN without any; shapes: `set_loss`."""
    return _mean_sdr(sum_groups(outputs, groups), targets)


def mixture_sdr(targets: Tensor) -> Tensor:
    """What `set_sdr` would be if the mixture were the estimate of every group; targets: as for `set_loss`."""
    return _mean_sdr(targets.sum(dim=1, keepdim=True), targets)


def _mean_sdr(estimates: Tensor, targets: Tensor) -> Tensor:
    """estimates: (example, slot or 1, channel, sample). targets: (example, slot, channel, sample)."""
    signal = targets.square().sum(dim=(2, 3))
    others = (targets.sum(dim=1, keepdim=True) - targets).square().sum(dim=(2, 3))
    distortion = (estimates - targets).square().sum(dim=(2, 3))
    counted = (signal > _SILENT) & (others > _SILENT)
    ratios = 10.0 * torch.log10((signal[counted] + 1e-7) / (distortion[counted] + 1e-7))
    return ratios.mean()  # NaN where there are none
