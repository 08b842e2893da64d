"""Applying a classifier to a sound: the probability of each class, over time and in the whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from scipy.special import expit

from restem.audio.mel import MelSettings, mel_power
from restem.audio.reader import first_unusable, open_audio
from restem.audio.store import StemFeatures, gather_power, to_bfloat16
from restem.errors import UsageError
from restem.labelling.network import BATCH, ClassifierNetwork
from restem.labelling.segments import HOP_S, POOL_QUANTILE, lay_segments, pool_scores


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a classifier says about a sound.

    classes: the names, in the order of the arrays. start_s, end_s: (segment,) seconds. segments: (segment, class) the
    probability of each class, 0 where the sound rests. whole: (class,) a high quantile over the segments that sound,
    0 for a silent sound.
    """

    classes: tuple[str, ...]
    start_s: np.ndarray
    end_s: np.ndarray
    segments: np.ndarray
    whole: np.ndarray

    def __repr__(self) -> str:
        found = ", ".join(f"{name} {value:.2f}" for name, value in zip(self.classes, self.whole, strict=True))
        return f"Prediction({found}; {len(self.start_s)} segments)"

    @property
    def table(self) -> pl.DataFrame:
        """One row per segment: start_s, end_s, and a column per class."""
        columns = {name: self.segments[:, index] for index, name in enumerate(self.classes)}
        return pl.DataFrame({"start_s": self.start_s, "end_s": self.end_s, **columns})


def predict(
    network: ClassifierNetwork,
    classes: tuple[str, ...],
    mel: MelSettings,
    segment_s: float,
    sound: Path | str | np.ndarray,
    rate_hz: int | None = None,
) -> Prediction:
    """See `Classifier.predict`. classes, mel, segment_s: what the network was trained for."""
    features = _features(mel, sound, rate_hz)
    length = mel.frames_in(segment_s)
    laid = lay_segments([features], length, mel.frames_in(HOP_S))
    logits = np.zeros((len(laid.start), len(classes)), np.float32)
    active = np.flatnonzero(laid.active)
    device = next(network.parameters()).device
    for first in range(0, len(active), BATCH):
        some = active[first : first + BATCH]
        power = gather_power([features.rows], laid.stem[some], laid.start[some], length)
        with torch.inference_mode():
            logits[some] = network(torch.from_numpy(power).to(device)).float().cpu().numpy()
    scores = np.where(laid.active[:, None], expit(logits), 0.0)
    whole = pool_scores(scores[active], laid.stem[active], 1, POOL_QUANTILE)[0]
    end_s = np.minimum(laid.stop * mel.hop_s, features.seconds)
    return Prediction(classes, laid.start * mel.hop_s, end_s, scores, whole)


def _features(mel: MelSettings, sound: Path | str | np.ndarray, rate_hz: int | None) -> StemFeatures:
    if isinstance(sound, np.ndarray):
        samples = np.atleast_2d(sound).astype(np.float32, copy=False)
        if rate_hz is None or rate_hz <= 0:
            raise UsageError("Samples need their rate: give `rate_hz`.")
        if samples.ndim != 2 or not samples.size or first_unusable(samples) is not None:
            raise UsageError("Samples must be finite, at most 1e10, and of the shape (channel, sample) or (sample,).")
        return _mel_features(mel, [samples], rate_hz, samples.shape[1] / rate_hz, samples.shape[0])
    with open_audio(sound) as audio:
        info = audio.info
        return _mel_features(mel, audio.blocks(), info.rate_hz, info.seconds, info.channels)


def _mel_features(
    mel: MelSettings, blocks: Iterable[np.ndarray], rate_hz: int, seconds: float, channels: int
) -> StemFeatures:
    rows = [to_bfloat16(power) for power in mel_power(blocks, rate_hz, mel)]
    return StemFeatures(np.concatenate(rows), seconds, rate_hz, channels)
