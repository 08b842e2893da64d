"""The device that networks run on: its choice, and its fastest precision."""

from __future__ import annotations

import torch

from restem.errors import UsageError


def choose_device(device: str) -> str:
    """The device to use: `auto` becomes `cuda`, `mps` or `cpu`; raises UsageError for one that is not available."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device, False):
        raise UsageError(f"The device {device!r} is not available; use `device='auto'`.")
    return device


def precision(device: str) -> str:
    """Lightning's precision for a device: 16 bits where they are faster (1.5 times, on CPUs with bfloat16), else 32."""
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    knows_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16-mixed" if device == "cpu" and knows_bfloat16() else "32-true"


def use_threads(device: str, threads: int) -> None:
    """Sets torch's threads where networks run on the CPU; the last digits of their outputs depend on them."""
    if device == "cpu" and torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
