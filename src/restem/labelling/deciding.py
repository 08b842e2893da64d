"""From scores and given labels to refined labels, verdicts and qualities.

Three things are evidence about a stem and a class: the classifiers' score, out of fold; the given label; and the rest
of the song, for a class that none of the stems given it holds is often in another stem.

What scores mean (`calibration`) and which stems of a song hold a class (`song_model`) is not known beforehand. Both are
estimated on the dataset by expectation-maximisation (Dempster, Laird and Rubin 1977): estimate the score distributions
from the current posterior, update the posterior, repeat. It begins with believing the labels.

How often labels are wrong decides whether a score that contradicts a label is a mistake of the classifier or of the
label. On few songs both readings are possible, so all of this is done under several hypotheses, from a clean dataset to
one with half of its labels wrong, and the posteriors are averaged by how well each explains the scores (Bayesian model
averaging; Hoeting, Madigan, Raftery and Volinsky 1999). Where the scores do not tell, the result is doubt.

A label is changed only when the result is clear. What is clear depends on the dataset: of the stems that are not
`unsure`, a given share must be expected to have exactly the right label set, so where little is certain, less is
changed and more is unsure (as the Bayesian false discovery rate is held; Newton et al. 2004). Thresholds and priors are
`DecisionSettings`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logit, softmax

from restem.labelling.calibration import Calibration, calibrate, calibrate_in_parts
from restem.labelling.decision_settings import DecisionSettings
from restem.labelling.label_sets import set_probability
from restem.labelling.song_model import (
    Rates,
    initial_posterior,
    log_likelihood,
    posterior_alone,
    update_posterior,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of every stem's labels.

    refined: (stem, class) flags. probabilities: (stem, class) P(present). quality: (stem,) P(the stem holds exactly the
    given set), see `set_probability`. verdicts: `kept`, `changed` or `unsure`, one per stem. calibrations: what scores
    mean, and rates: which stems hold a class, one each per class, under the most probable hypothesis. held: P(each
    hypothesis of how often labels are right), in the order of `DecisionSettings.held`. sure_right: the expected share
    of stems with exactly the right label set among those that are not `unsure`; None where all are.
    """

    refined: np.ndarray
    probabilities: np.ndarray
    quality: np.ndarray
    verdicts: tuple[str, ...]
    calibrations: tuple[Calibration, ...]
    rates: tuple[Rates, ...]
    held: tuple[float, ...] = ()
    sure_right: float | None = None

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
        return replace(self, refined=refined, probabilities=probabilities, quality=quality, verdicts=verdicts)


def decide(
    scores: np.ndarray,
    given: np.ndarray,
    songs: Sequence[str],
    known: np.ndarray | None = None,
    settings: DecisionSettings | None = None,
    unknown: np.ndarray | None = None,
) -> Outcome:
    """Refined labels of stems that sound.

    What is not clear stays as given, and so does a stem that would be left without a label though it sounds; one
    that has none from the start is unsure. One whose given set is unknown is judged by its scores alone, and is unsure
    unless all of its classes are clear.

    Parameters
    ----------
    scores
        (stem, class) in [0, 1].
    given
        (stem, class) flags.
    songs
        The song of each stem.
    known
        (stem, class), 1 or 0 where a person listened and said so, else NaN. Such a stem is evidence about the
        classifier, about the labels, and about the other stems of its song.
    settings
        Thresholds and priors.
    unknown
        (stem,) flags of the stems whose given set is unknown; `given` has no class for them.
    """
    settings = settings or DecisionSettings()
    given = np.asarray(given, bool)
    known = np.full(given.shape, np.nan) if known is None else known
    logits = logit(np.clip(scores, settings.least_score, 1.0 - settings.least_score))
    unknown = np.zeros(len(given), bool) if unknown is None else np.asarray(unknown, bool)
    # Numbers in place of names, in the same order: they are looked up many times.
    song = np.unique(np.asarray(songs, str), return_inverse=True)[1]
    found = [_expectation_maximisation(logits, given, song, known, settings, held, unknown) for held in settings.held]
    held = softmax([one.log_likelihood for one in found] + np.log(settings.held_weights))
    likeliest = found[int(held.argmax())]
    probabilities = sum(weight * one.probabilities for weight, one in zip(held, found, strict=True))
    probabilities = np.where(np.isfinite(known), known, probabilities)
    wrong = np.where(given, 1.0 - probabilities, probabilities)
    refined = np.where(wrong >= settings.change_above, ~given, given)
    emptied = ~refined.any(axis=1) & given.any(axis=1)
    refined[emptied] = given[emptied]
    changed = (refined != given).any(axis=1)
    doubted = ((wrong >= settings.doubt_above) & (refined == given)).any(axis=1) & (unknown | ~changed)
    unsure = ~refined.any(axis=1) | emptied | doubted
    right = set_probability(probabilities, refined, settings.nothing)
    unsure |= ~_most_certain(right, right + settings.changed_ahead * changed, ~unsure, settings.sure_right)
    refined[unsure] = given[unsure]
    verdicts = np.select([unsure, changed], ["unsure", "changed"], "kept")
    quality = set_probability(probabilities, given, settings.nothing)
    return Outcome(
        refined, probabilities, quality, tuple(verdicts.tolist()), likeliest.calibrations, likeliest.rates,
        tuple(held.tolist()), float(right[~unsure].mean()) if not unsure.all() else None,
    )  # fmt: skip


def _most_certain(right: np.ndarray, rank: np.ndarray, candidates: np.ndarray, share: float) -> np.ndarray:
    """(stem,) flags of the `candidates` of highest rank: as many as can be with `share` of them expected to be right.

    right: (stem,) P(the label set of a stem is exactly right). rank, candidates: (stem,) numbers, and flags.
    """
    order = np.flatnonzero(candidates)
    order = order[np.argsort(-rank[order], kind="stable")]
    enough = np.flatnonzero(np.cumsum(right[order]) >= share * np.arange(1, len(order) + 1))
    chosen = np.zeros(len(right), bool)
    chosen[order[: enough.max(initial=-1) + 1]] = True
    return chosen


def calibrate_segments(
    logits: np.ndarray, stem: np.ndarray, probabilities: np.ndarray, settings: DecisionSettings
) -> tuple[Calibration, ...]:
    """What the logits (segment, class) of active segments mean, given what is believed about their stems.

    stem: (segment,) index into probabilities (stem, class). A stem that holds one class only holds it in every segment
    that sounds; one that does not hold it, in none. Nothing else is known of segments.
    """

    def weights(part: slice) -> tuple[np.ndarray, np.ndarray]:
        here = probabilities[stem[part]]
        others = np.stack(
            [np.delete(here, index, axis=1).max(axis=1, initial=0.0) for index in range(here.shape[1])], axis=1
        )
        return here * (1.0 - others), 1.0 - here

    return calibrate_in_parts(logits, weights, settings)


@dataclass(frozen=True, eq=False)
class _Explanation:
    """What is believed under one hypothesis: score distributions, (stem, class) P(present), and rates; and how well it
    explains the scores."""

    calibrations: tuple[Calibration, ...]
    probabilities: np.ndarray
    rates: tuple[Rates, ...]
    log_likelihood: float


def _expectation_maximisation(
    logits: np.ndarray,
    given: np.ndarray,
    song: np.ndarray,
    known: np.ndarray,
    settings: DecisionSettings,
    held: float,
    unknown: np.ndarray,
) -> _Explanation:
    """The score distributions and the posterior, each estimated in the light of the other, if labels are right `held`
    of the time."""
    is_known = np.isfinite(known)
    certain = np.where(known == 1, np.inf, 0.0)
    labelled, song = ~unknown, song[~unknown]
    given = given[labelled]
    shares = (given.sum(axis=0) + 1.0) / (len(given) + 2.0)  # one more of either, so that nothing is certain
    usual, worth = shares, settings.shares_worth
    initial = np.tile(shares, (len(unknown), 1))
    initial[labelled] = np.where(given, settings.believed_given, settings.believed_not_given)
    present = np.where(is_known, known, initial)
    posterior = initial_posterior(given, settings, held)
    calibrations: tuple[Calibration, ...] = ()
    ratios = np.ones_like(logits)
    for _ in range(settings.rounds):
        calibrations = calibrate(logits, present, 1.0 - present, settings)
        ratios = np.stack([one.ratio(column) for one, column in zip(calibrations, logits.T, strict=True)], axis=1)
        ratios = np.where(is_known, certain, ratios)
        posterior = update_posterior(ratios[labelled], given, song, posterior, settings)
        present = np.empty_like(logits)
        present[labelled] = posterior.probabilities
        present[unknown], likelihood_alone = posterior_alone(ratios[unknown], shares, settings)
        shares = (present[unknown].sum(axis=0) + worth * usual) / (unknown.sum() + worth)
    density = sum(one.log_density(column) for one, column in zip(calibrations, logits.T, strict=True))
    likelihood = log_likelihood(ratios[labelled], given, song, posterior, settings) + likelihood_alone
    return _Explanation(calibrations, present, posterior.rates, density + likelihood)
