"""What the review page draws of a stem, from the feature store: its level and its mel spectrogram."""

from __future__ import annotations

import base64
from itertools import pairwise
from typing import Any

import numpy as np

from restem.audio.entries import Source
from restem.audio.level import power_to_db
from restem.audio.store import StemFeatures, Store

COLUMNS = 1200  # at most; a wide screen shows fewer
RANGE_DB = 70.0  # of the spectrogram, below the level that only 0.1 % of its values exceed


def spectra(store: Store, source: Source, start_s: float = 0.0, end_s: float | None = None) -> dict[str, Any]:
    """The pictures of a stem from `start_s` to `end_s` as plain data; features that the store has lost are computed.

    start_s, end_s: where the pictures begin and end, on whole frames. peak, mean: (column,) level in dB, the loudest
    frame and the mean power. mel: base64 of (column, band) bytes, 0 to 255 over `RANGE_DB`. Raises AudioError when the
    stem has to be decoded and cannot be.
    """
    features = store.load(source)
    if features is None:
        store.compute(source)
        features = store.require(source)
    whole = _reduced(features, 0, len(features))
    top = float(np.quantile(_db(whole[0]), 0.999))  # of the whole stem, so that a part of it has the same shades
    per_s = len(features) / features.seconds
    first = min(max(0, int(start_s * per_s)), len(features) - 1)
    last = len(features) if end_s is None else min(max(first + 1, int(np.ceil(end_s * per_s))), len(features))
    mel, peak = whole if last - first == len(features) else _reduced(features, first, last)
    mel_db = _db(mel)
    shades = np.clip((mel_db - top + RANGE_DB) / RANGE_DB * 255, 0, 255).astype(np.uint8)
    return {
        "start_s": first / per_s,
        "end_s": last / per_s,
        "columns": len(mel),
        "bands": shades.shape[1],
        "peak": np.round(power_to_db(peak), 1).tolist(),
        "mean": np.round(power_to_db(mel.sum(axis=1)), 1).tolist(),
        "mel": base64.b64encode(shades.tobytes()).decode(),
    }


def _reduced(features: StemFeatures, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the frames `first` to `last`: mean mel power (column, band), and power of the loudest frame (column,)."""
    edges = np.linspace(first, last, min(last - first, COLUMNS), endpoint=False).astype(int)
    mel, peak = [], []
    for start, stop in pairwise([*edges.tolist(), last]):
        power = features.power(start, stop)
        mel.append(power.mean(axis=0))
        peak.append(power.sum(axis=1).max())
    return np.array(mel), np.array(peak)


def _db(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(power, 1e-12))
