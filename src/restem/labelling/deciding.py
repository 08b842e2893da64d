"""From scores and given labels to refined labels, verdicts and qualities.

Three things speak about a stem x class: the classifier's score, from a classifier that never heard the song; the given
label; and the rest of the song, for a class that none of its stems claims often lies in one that claims another.

What scores mean (`calibration`) and how often labels are wrong (`placing`) is not known. Both follow from the dataset
itself: from the truth as it is believed to be follows the meaning of the scores, from that, with the labels and the
songs, a better belief, and so on in turns (expectation-maximisation; Dempster, Laird and Rubin 1977). It begins with
believing the labels. A classifier that tells nothing apart ends with scores that mean nothing, and labels that stand.

A label is changed only when the result is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from restem.labelling.calibration import Calibration, calibrate
from restem.labelling.song_model import Placed, Rates, place, unplaced

# A label is changed when it is wrong with at least this probability, and doubted from the second on.
CHANGE_ABOVE = 0.6
DOUBT_ABOVE = 0.3

# P(present) to begin with, where the class is given and where it is not.
_GIVEN, _NOT_GIVEN = 0.95, 0.03

# How often a logit is about something else, before any is seen, and how many logits that is worth.
_LAPSE = 0.02
_LAPSE_WORTH = 100.0

_ROUNDS = 15
_SCORE_CLIP = 1e-5


@dataclass(frozen=True)
class Outcome:
    """What became of every stem's labels.

    refined: (stem, class) flags. probabilities: (stem, class) P(present). quality: (stem,) P(given label set right).
    verdicts: `kept`, `changed` or `unsure`, a stem each. calibrations: what scores mean, and rates: where classes are,
    one a class each.
    """

    refined: np.ndarray
    probabilities: np.ndarray
    quality: np.ndarray
    verdicts: tuple[str, ...]
    calibrations: tuple[Calibration, ...]
    rates: tuple[Rates, ...]

    def among(self, sounding: np.ndarray) -> Outcome:
        """The same about all stems, of which those that the flags `sounding` (stem,) mark were decided about.

        The others hold nothing.
        """
        refined = np.zeros((len(sounding), self.refined.shape[1]), bool)
        probabilities = np.zeros(refined.shape)
        quality = np.zeros(len(sounding))
        refined[sounding], probabilities[sounding], quality[sounding] = self.refined, self.probabilities, self.quality
        decided = iter(self.verdicts)
        verdicts = tuple(next(decided) if sounds else "silent" for sounds in sounding)
        return Outcome(refined, probabilities, quality, verdicts, self.calibrations, self.rates)


def decide(scores: np.ndarray, given: np.ndarray, songs: Sequence[str], known: np.ndarray | None = None) -> Outcome:
    """Refined labels of stems that sound.

    scores: (stem, class) in [0, 1]. given: flags of the same shape. songs: the song of each stem.
    known: (stem, class), 1 or 0 where somebody listened and said so, else NaN. Such a stem speaks about the classifier,
    about the labels, and about the other stems of its song.
    What is not clear stays as given, and so does a stem that would be left without a label though it sounds; one
    that has none from the start is unsure.
    """
    given = np.asarray(given, bool)
    calibrations, placed = _believe(_to_logits(scores), given, songs, known)
    wrong = np.where(given, 1.0 - placed.probabilities, placed.probabilities)
    refined = np.where(wrong >= CHANGE_ABOVE, ~given, given)
    emptied = ~refined.any(axis=1) & given.any(axis=1)
    refined[emptied] = given[emptied]
    changed = (refined != given).any(axis=1)
    doubted = ~refined.any(axis=1) | emptied | ((wrong >= DOUBT_ABOVE) & (refined == given)).any(axis=1)
    verdicts = np.select([changed, doubted], ["changed", "unsure"], "kept")
    quality = placed.agreement(given)
    return Outcome(refined, placed.probabilities, quality, tuple(verdicts.tolist()), calibrations, placed.rates)


def _to_logits(scores: np.ndarray) -> np.ndarray:
    """The logits of scores, finite."""
    logits: np.ndarray = logit(np.clip(scores, _SCORE_CLIP, 1.0 - _SCORE_CLIP))
    return logits


def calibrate_segments(logits: np.ndarray, stem: np.ndarray, probabilities: np.ndarray) -> tuple[Calibration, ...]:
    """What the logits (segment, class) of active segments mean, by what is believed about stems.

    stem: (segment,) index into probabilities (stem, class). A stem that holds one class only holds it in every segment
    that sounds; one that does not hold it, in none. Nothing else is known of segments.
    """
    here = probabilities[stem]
    others = np.stack(
        [np.delete(here, index, axis=1).max(axis=1, initial=0.0) for index in range(here.shape[1])], axis=1
    )
    return calibrate(logits, here * (1.0 - others), 1.0 - here)


def _believe(
    logits: np.ndarray, given: np.ndarray, songs: Sequence[str], known: np.ndarray | None
) -> tuple[tuple[Calibration, ...], Placed]:
    """The meaning of the logits and where the classes are, each in the light of the other."""
    known = np.full(logits.shape, np.nan) if known is None else known
    told = np.isfinite(known)
    certain = np.where(known == 1, np.inf, 0.0)
    believed = np.where(told, known, np.where(given, _GIVEN, _NOT_GIVEN))
    lapsed_there = lapsed_elsewhere = np.zeros_like(logits)
    lapse, placed = _LAPSE, unplaced(given)
    calibrations: tuple[Calibration, ...] = ()
    for _ in range(_ROUNDS):
        holding = believed * (1.0 - lapsed_there) + (1.0 - believed) * lapsed_elsewhere
        calibrations = calibrate(logits, holding, 1.0 - holding, lapse)
        columns = list(zip(calibrations, logits.T, strict=True))
        ratios = np.stack([one.ratio(column) for one, column in columns], axis=1)
        placed = place(np.where(told, certain, ratios), given, songs, placed)
        believed = placed.probabilities
        lapsed_there, lapsed_elsewhere = (
            np.stack(pair, axis=1) for pair in zip(*(one.lapsed(column) for one, column in columns), strict=True)
        )
        lapses = (believed * lapsed_there + (1.0 - believed) * lapsed_elsewhere).sum()
        lapse = float((lapses + _LAPSE_WORTH * _LAPSE) / (logits.size + _LAPSE_WORTH))
    return calibrations, placed
