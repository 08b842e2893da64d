"""What `training.json` says about how far a training has come, and how well it goes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from restem.files import read_json

TRAINING_FILE = "training.json"

FIGURES = ("mean_loss", "validation_loss", "validation_sdr", "mixture_sdr")
"""What is logged after every epoch. The last three are of the songs kept aside, and missing where there are none."""


def training_figures(out: Path) -> dict[str, Any]:
    """`training.json` without the request: stems, seconds per class, steps, and the `FIGURES` of the last epoch."""
    record = read_json(out / TRAINING_FILE)
    return {name: value for name, value in record.items() if name not in ("settings", "dataset")}


def figures_text(figures: Mapping[str, Any]) -> str:
    """Loss and SDR in a line. figures: `FIGURES`, or any part of them."""
    parts = []
    if "mean_loss" in figures:
        parts.append(f"loss {figures['mean_loss']:.4g}")
    if "validation_loss" in figures:
        parts.append(f"{'' if parts else 'loss '}on songs kept aside {figures['validation_loss']:.4g}")
    if "validation_sdr" in figures and "mixture_sdr" in figures:
        gain = figures["validation_sdr"] - figures["mixture_sdr"]
        parts.append(f"SDR {figures['validation_sdr']:.2f} dB ({gain:+.2f} dB over the mixture's)")
    return ", ".join(parts)
