"""`--method paper`: the procedure of the paper, as its abstract tells it, without what restem adds.

Koo et al., "Self-refining of Pseudo Labels for Music Source Separation with Noisy Labeled Data" (ISMIR 2023). A
classifier is trained on mixtures of all stems under their given labels, and relabels every stem. A second one is
trained on these labels; it is the final classifier, and relabels once more. What scores high enough is in a stem.
Nothing else is evidence: not the given label, not the other stems of the song, not a classifier from elsewhere. Stems
are scored by a classifier that was trained on them.

The abstract gives neither a threshold nor how segments become a stem; the two numbers below are restem's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from restem.labelling.deciding import Outcome
from restem.labelling.features import Features
from restem.labelling.judging import Judged
from restem.labelling.known_labels import KnownLabels
from restem.labelling.segments import pool_scores

# The best of a few on the songs of `benchmarks/labels.py`.
QUANTILE = 0.85
THRESHOLD = 0.7


def judged_as_in_the_paper(
    features: Features, known: KnownLabels, rounds: int, train_and_score: Callable[[int, np.ndarray], np.ndarray]
) -> Judged:
    """What is found after `rounds` of training on all stems, scoring them and relabelling them.

    train_and_score: from the number of the round and the targets (segment, class) to the logits (segment, class) of the
    classifier that was trained on them.
    """
    segments = features.segments
    found = features.given
    for number in range(1, rounds + 1):
        targets = known.over_segments(known.over_stems(found)[segments.stem])
        judged = judge_by_threshold(features, train_and_score(number, targets), known)
        found = heard(judged) & ~features.unknown[:, None]
        if not found.any():
            found = features.given  # there is nothing else to teach
    return judged


def judge_by_threshold(features: Features, logits: np.ndarray, known: KnownLabels) -> Judged:
    """Every stem gets the classes that score above `THRESHOLD`, from the logits (segment, class) of its segments.

    The probabilities are the scores, and the quality is the least of those that a given label is right. A stem that
    sounds and in which nothing scores that high is `unsure`, and keeps its given labels.
    """
    segments, given = features.segments, features.given
    active = segments.active
    over_time = np.zeros(logits.shape)
    over_time[active] = expit(logits[active])
    scores = known.over_stems(pool_scores(over_time[active], segments.stem[active], len(given), QUANTILE))
    found = scores > THRESHOLD
    sounding = segments.active_frames > 0
    unsure = sounding & ~found.any(axis=1)
    refined = np.where(unsure[:, None], given, found)
    changed = (refined != given).any(axis=1)
    verdicts = np.select([~sounding, unsure, changed], ["silent", "unsure", "changed"], "kept")
    quality = np.where(given, scores, 1.0 - scores).min(axis=1)
    return Judged(Outcome(refined, scores, quality, tuple(verdicts.tolist()), (), ()), over_time, ())


def heard(judged: Judged) -> np.ndarray:
    """(stem, class) flags of what scores above `THRESHOLD`; it is taught, so that an unsure stem teaches nothing."""
    found: np.ndarray = judged.outcome.probabilities > THRESHOLD
    return found
