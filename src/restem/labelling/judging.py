"""From the logits of segments to what is believed of stems and segments, and to the targets of the next training."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from restem.labelling.calibration import Calibration, parts_of
from restem.labelling.deciding import Outcome, calibrate_segments, decide
from restem.labelling.features import Features
from restem.labelling.known_labels import KnownLabels
from restem.labelling.segments import Segments, pool_scores
from restem.labelling.settings import RefineSettings


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found.

    outcome: for stems. over_time: (segment, class) P(present), 0 where a stem is not active. calibrations: what the
    logits of segments mean, one per class.
    """

    outcome: Outcome
    over_time: np.ndarray
    calibrations: tuple[Calibration, ...]


def stem_scores(features: Features, logits: np.ndarray, settings: RefineSettings) -> np.ndarray:
    """(stem, class) scores of stems, from the logits (segment, class) of their segments."""
    active = features.segments.active
    stem = features.segments.stem[active]
    return pool_scores(expit(logits[active]), stem, len(features.indices), settings.pool_quantile)


def judge(
    features: Features, scores: np.ndarray, logits: np.ndarray, settings: RefineSettings, known: KnownLabels
) -> Judged:
    """Decides about every stem from its scores (stem, class), silent stems left out, and about its segments.

    logits: (segment, class), what the classifiers say of segments. Known labels have probabilities of 1 and 0.
    """
    segments = features.segments
    active = segments.active
    stem = segments.stem[active]
    sounding = segments.active_frames > 0
    songs = [song for song, sounds in zip(features.songs, sounding, strict=True) if sounds]
    outcome = decide(
        scores[sounding], features.given[sounding], songs, known.stems[sounding], settings.decision,
        features.unknown[sounding],
    )  # fmt: skip
    outcome = outcome.among(sounding)
    outcome = replace(outcome, probabilities=known.over_stems(outcome.probabilities))
    calibrations = calibrate_segments(logits[active], stem, outcome.probabilities, settings.decision)
    over_time = np.zeros(logits.shape)
    for index, one in enumerate(calibrations):
        over_time[active, index] = one.probability(logits[active, index])
    return Judged(outcome, over_time, calibrations)


def segment_targets(segments: Segments, scores: np.ndarray, outcome: Outcome) -> np.ndarray:
    """The targets of the next training: (segment, class) in [0, 1], from segment scores and the outcome for stems.

    The target of a class is the probability that the stem holds it; where a stem holds several, a segment has only
    those that were found in it, and always the clearest.
    """
    targets: np.ndarray = np.zeros(scores.shape, np.float32)
    for part in parts_of(len(scores)):
        stem = outcome.probabilities[segments.stem[part]]
        several = (stem >= 0.5).sum(axis=1) > 1
        clearest = np.where(stem >= 0.5, scores[part], -1.0).argmax(axis=1)
        found = scores[part] >= 0.5
        found[np.arange(len(found)), clearest] = True
        targets[part] = np.where(several[:, None], stem * found, stem)
    return targets
