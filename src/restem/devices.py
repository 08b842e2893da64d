"""Where networks run: the choice of a device, the precision it is fast in, and what a CPU needs to be fast."""

from __future__ import annotations

import ctypes
import sys

import torch

from restem.errors import UsageError

# Of glibc's mallopt: when freed memory goes back to the system, and how many blocks are mapped one by one.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def choose_device(device: str) -> str:
    """`cpu`, `cuda` or `mps` for what the user asked; raises UsageError for one that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device, False):
        raise UsageError(f"The device {device!r} is not available; use `device='auto'`.")
    return device


def precision(device: str) -> str:
    """Half the bits where the hardware multiplies them faster: measured 1.5 times on CPUs that know bfloat16."""
    if device == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    knows_bfloat16 = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16-mixed" if device == "cpu" and knows_bfloat16() else "32-true"


def keep_freed_memory() -> None:
    """Lets this process keep the memory of freed tensors for the next ones, as GPUs do.

    glibc gives every large block back to the system, which then clears its pages again for the next step: a step of
    the separator `band_split` on a CPU took 1.4 to 1.8 times as long.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_MMAP_MAX, 0)
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
