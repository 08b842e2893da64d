"""What the review page draws of a stem, from the feature store: its level and its mel spectrogram."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from restem.audio.entries import Source
from restem.audio.level import power_to_db
from restem.audio.store import StemFeatures, Store

COLUMNS = 1200  # at most; a wide screen shows fewer
RANGE_DB = 70.0  # of the spectrogram, below the level that only 0.1 % of its values exceed


def spectra(store: Store, source: Source) -> dict[str, Any]:
    """The pictures of a stem as plain data; its features are computed if the store has lost them.

    peak, mean: (column,) level in dB, the loudest frame and the mean power. mel: base64 of (column, band) bytes, 0 to
    255 over `RANGE_DB`. Raises AudioError when the stem has to be decoded and cannot be.
    """
    features = store.load(source)
    if features is None:
        store.compute(source)
        features = store.require(source)
    columns = min(len(features), COLUMNS)
    edges = np.linspace(0, len(features), columns, endpoint=False).astype(int)
    counts = np.diff([*edges, len(features)])
    mel, peak = _reduced(features, edges, counts)
    mel_db = 10 * np.log10(np.maximum(mel, 1e-12))
    top = float(np.quantile(mel_db, 0.999))
    shades = np.clip((mel_db - top + RANGE_DB) / RANGE_DB * 255, 0, 255).astype(np.uint8)
    return {
        "seconds": features.seconds,
        "columns": columns,
        "bands": shades.shape[1],
        "peak": np.round(power_to_db(peak), 1).tolist(),
        "mean": np.round(power_to_db(mel.sum(axis=1)), 1).tolist(),
        "mel": base64.b64encode(shades.tobytes()).decode(),
    }


def _reduced(features: StemFeatures, edges: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean mel power (column, band) and the power of the loudest frame (column,)."""
    mel, peak = [], []
    for start, count in zip(edges.tolist(), counts.tolist(), strict=True):
        power = features.power(start, start + count)
        mel.append(power.mean(axis=0))
        peak.append(power.sum(axis=1).max())
    return np.array(mel), np.array(peak)
