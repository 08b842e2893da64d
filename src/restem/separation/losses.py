"""Losses for label sets: the sum of the outputs of a stem's classes is compared with the stem.

Nothing is assumed about how the sum divides among them, so a stem of `bass+drums` teaches nothing wrong; a stem with
one label is the special case. The groups of an example are disjoint and hold every class: a class of which nothing
sounds is a group of its own with a silent target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

# Window lengths of the STFT loss in samples; frames overlap by three quarters.
_WINDOWS = (2048, 1024, 512, 256)


def set_loss(
    outputs: Tensor, groups: Tensor, targets: Tensor, loss: str = "l1", quantile: float | None = None
) -> Tensor:
    """The mean loss over all groups of a batch, a scalar.

    outputs: (example, class, channel, sample). groups: (example, slot, class), 1 for the classes of a group; unused
    slots are zero and count for nothing. targets: (example, slot, channel, sample). loss: see `LOSSES`.
    quantile: see `kept_by_quantile`; None keeps everything.
    """
    losses = LOSSES[loss](sum_groups(outputs, groups) - targets)
    weights = groups.any(dim=2).to(losses.dtype)
    if quantile is not None:
        weights = weights * kept_by_quantile(losses.detach(), groups, quantile)
    return (losses * weights).sum() / weights.sum().clamp_min(1e-8)


def sum_groups(outputs: Tensor, groups: Tensor) -> Tensor:
    """The sum of the outputs of each group's classes, (example, slot, channel, sample)."""
    return torch.einsum("esc,ecnt->esnt", groups.to(outputs.dtype), outputs)


def l1(error: Tensor) -> Tensor:
    """The mean absolute error in time. error: (..., channel, sample). Returns (...)."""
    return error.abs().mean(dim=(-2, -1))


def stft(error: Tensor) -> Tensor:
    """The mean absolute error of complex spectrograms of several resolutions, (...), on the scale of `l1`.

    Lu et al., "Music source separation with band-split RoPE transformer" (ICASSP 2024), section 3.1, with fewer frames.
    The spectrogram is linear, so that of the error is the error of the spectrograms.
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


LOSSES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "l1": l1,
    "stft": stft,
    "l1+stft": lambda error: l1(error) + stft(error),
}


def kept_by_quantile(losses: Tensor, groups: Tensor, quantile: float) -> Tensor:
    """How much of each group's loss counts when large losses are cut off, (example, slot) in [0, 1].

    For every class, the losses of the groups that hold it are compared over the batch, and those above the quantile are
    taken for wrong labels. A group counts by the share of its classes for which it is kept.

    The idea is that of the winner of SDX'23's label noise track (Fabbro et al., "The Sound Demixing Challenge 2023 -
    Music Demixing Track", TISMIR 2024, section 5). With single labels this is close to it, but not the same: here each
    quantile of a schedule holds for an equal part of the training, thirds with three of them (`truncation_at`), and the
    sum of the losses is divided by what is kept of them (`set_loss`).

    losses: (example, slot). groups: (example, slot, class).
    """
    member = groups > 0
    # (example, class): the loss of the group that holds the class.
    of_class = (losses.unsqueeze(2) * member).sum(dim=1).float()
    limit = torch.quantile(of_class, quantile, dim=0, keepdim=True)
    kept = (of_class <= limit).unsqueeze(1) & member
    return kept.sum(dim=2) / member.sum(dim=2).clamp_min(1)


def truncation_at(schedule: Sequence[float], share_done: float) -> float | None:
    """The quantile at a share of the training: each of `schedule` for an equal part of it; None for no truncation."""
    if not schedule:
        return None
    return schedule[min(int(share_done * len(schedule)), len(schedule) - 1)]


def set_sdr(outputs: Tensor, groups: Tensor, targets: Tensor) -> Tensor:
    """The mean signal-to-distortion ratio in dB over the groups whose target sounds, a scalar; shapes as `set_loss`."""
    signal = targets.square().sum(dim=(2, 3))
    distortion = (sum_groups(outputs, groups) - targets).square().sum(dim=(2, 3))
    sounding = signal > 1e-6
    ratios = 10.0 * torch.log10((signal[sounding] + 1e-7) / (distortion[sounding] + 1e-7))
    return ratios.mean() if len(ratios) else torch.zeros((), device=outputs.device)
