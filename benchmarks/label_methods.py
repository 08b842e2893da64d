"""The methods of `labels.py`: what each says about the stems of a situation.

    given      the labels as they are
    single     one classifier, trained on all songs and asked about them
    paper      what `restem refine --method paper` finds: the same, and a second one trained on the labels of the first
    cleanlab   out-of-fold scores to `find_multilabel_issues_per_class`, issues turned over; its label quality scores
    ccom       a separator trained with loss truncation; a stem is right if what the separator makes of it for its own
               class is 20 dB above all else (the rule of the winner of the Sound Demixing Challenge 2023)
    restem     what `restem refine --encoder none` decides
    +musicnn   the same with an encoder, where it is installed; and what cleanlab makes of the same encoder's heads
    scratch    the same with --start scratch
    truth      restem with classifiers that were trained on true labels

All classifiers have the same features, trainings of the same size and the same start. Of the plain methods a stem's
labels are those that its score, the 0.85 quantile over segments, exceeds 0.7 for, and its quality is the least
probability that one of its given labels is right (`labelling/paper.py`). `ccom` changes no label: it leaves stems out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from scipy.special import expit

from label_situations import FULL, Noisy, Scale
from restem.audio.store import Store
from restem.executing.processes import Processes
from restem.labelling import judging
from restem.labelling.computing import Computing
from restem.labelling.encoders.registry import installed
from restem.labelling.encoders.store import EmbeddingStore
from restem.labelling.features import Features, load_features
from restem.labelling.head_evidence import HeadEvidence
from restem.labelling.judging import judge, segment_targets, stem_scores
from restem.labelling.known_labels import known_labels
from restem.labelling.paper import QUANTILE as PLAIN_QUANTILE
from restem.labelling.paper import heard, judge_by_threshold
from restem.labelling.rounds import Refinement, Timed
from restem.labelling.segments import pool_scores
from restem.labelling.settings import RefineSettings
from restem.pretraining.heads import encoder_with_heads
from restem.runs.run import CLASSIFIER_FOLDER
from restem.separation.separator import load_separator
from restem.separation.songs import separate_mixture
from restem.separation.train import train
from restem.separation.train_settings import TrainSettings
from restem.verdicts import SURE

CCOM_MARGIN_DB = 20.0
OVERLAP = 0.25
ENCODER = "musicnn"


@dataclass(frozen=True)
class Judged:
    """What a method says about the stems that could be decoded. refined: (stem, class). quality, sure: (stem,).

    probabilities: (stem, class), segments: (segment, class) scores, and final: the folder of a classifier that was
    trained on what was found, where the method has them.
    """

    refined: np.ndarray
    quality: np.ndarray
    sure: np.ndarray
    probabilities: np.ndarray | None = None
    segments: np.ndarray | None = None
    final: Path | None = None


class Situation:
    """One noisy dataset, and the trainings that methods share; they are kept in the folder `work`."""

    def __init__(self, noisy: Noisy, seed: int, work: Path, workers: int, scale: Scale = FULL) -> None:
        self.noisy, self.work, self.workers, self.seed, self.scale = noisy, work, workers, seed, scale
        self.executor = Processes(workers)
        self.dataset = noisy.dataset
        self.timed = Timed(None)
        self.store = Store(work.parent / "features")
        self.settings = RefineSettings(seed=seed, steps=scale.classifier_steps, training=scale.training)
        self.config = self.settings.classifier(self.dataset.taxonomy.classes)
        self.features: Features = load_features(
            self.dataset, self.store, self.settings.mixing.segment_s, self.settings.hop_s, self.executor
        )
        self.true = noisy.flags()[list(self.features.indices)]
        self.given = self.features.given
        self.sounding = self.features.segments.active_frames > 0

    def refinement(self, name: str, **changes: Any) -> Refinement:
        """The trainings of a refinement, in a folder of their own."""
        settings = replace(self.settings, **changes)
        computing = Computing.decided("cpu", settings.folds, self.executor)
        return Refinement(self.features, self.work / name, settings, computing, self.executor, self.config)

    @cached_property
    def pretrained(self) -> list[np.ndarray]:
        refinement = self.refinement("restem")
        return [refinement.score_with_pretrained(self.timed)] if refinement.uses_pretrained else []

    @cached_property
    def out_of_fold(self) -> np.ndarray:
        """Logits of classifiers that were trained on the given labels of other songs."""
        return self.refinement("restem").round(1, self.of_stems(self.given), self.timed)

    @cached_property
    def encoder_heads(self) -> HeadEvidence:
        encoder = encoder_with_heads(ENCODER, self.executor)
        assert encoder is not None
        store = EmbeddingStore(self.work.parent / "features", encoder.card, encoders=encoder.folder)
        store.fill(list(self.features.sources), self.executor)
        return self.refinement("restem").encoder_heads(store, encoder.heads)

    @cached_property
    def alone(self) -> np.ndarray:
        """Logits of one classifier that was trained on the given labels of all songs."""
        return self.as_in_the_paper.round(1, self.of_stems(self.given), self.timed)

    @property
    def as_in_the_paper(self) -> Refinement:
        """`restem refine --method paper`, but with the start of the others."""
        return self.refinement("paper", method="paper", start=self.settings.start_of(self.config))

    def of_stems(self, flags: np.ndarray) -> np.ndarray:
        return flags[self.features.segments.stem]

    def pooled(self, logits: np.ndarray) -> np.ndarray:
        segments = self.features.segments
        scores = expit(logits[segments.active])
        return pool_scores(scores, segments.stem[segments.active], len(self.given), PLAIN_QUANTILE)

    def plain(self, found: judging.Judged, final: Path) -> Judged:
        """Whatever exceeds the threshold, also if that is nothing, and the least probability of a given label."""
        sure = np.ones(len(self.given), bool)
        return Judged(heard(found), found.outcome.quality, sure, found.outcome.probabilities, final=final)

    def decided(
        self, evidence: list[np.ndarray], features: Features | None = None, **changes: Any
    ) -> tuple[Judged, np.ndarray]:
        """The decision of restem from the logits of all classifiers, and what it would teach; changes: of settings."""
        settings, features = replace(self.settings, **changes), features or self.features
        logits = np.mean(evidence, axis=0)
        scores = stem_scores(features, logits, settings)
        found = judge(features, scores, logits, settings, known_labels(features, None))
        return as_judged(found), segment_targets(self.features.segments, found.over_time, found.outcome)

    def with_final(self, judged: Judged, name: str, targets: np.ndarray) -> Judged:
        """With the final classifier, where there are mixtures to measure it on."""
        if self.noisy.held_out is None:
            return judged
        refinement = self.refinement(name)
        refinement.train_final(targets, self.timed)
        return replace(judged, final=refinement.out / CLASSIFIER_FOLDER)


def as_judged(found: judging.Judged) -> Judged:
    """What the decision of restem says, as a method."""
    outcome = found.outcome
    return Judged(
        outcome.refined, outcome.quality, np.isin(outcome.verdicts, SURE), outcome.probabilities, found.over_time
    )


def given(situation: Situation) -> Judged:
    return Judged(situation.given, np.zeros(len(situation.given)), np.ones(len(situation.given), bool))


def single(situation: Situation) -> Judged:
    found = judge_by_threshold(situation.features, situation.alone, known_labels(situation.features, None))
    return situation.plain(found, situation.as_in_the_paper.folder_of_round(1, 0))


def paper(situation: Situation) -> Judged:
    refinement = situation.as_in_the_paper
    found = refinement.judged_as_in_the_paper(known_labels(situation.features, None), situation.timed)
    return situation.plain(found, refinement.out / CLASSIFIER_FOLDER)


def cleanlab(situation: Situation) -> Judged:
    return _cleanlab(situation, situation.pooled(situation.out_of_fold))


def cleanlab_with_encoder(situation: Situation) -> Judged:
    """Scores of heads that were fitted to the given labels of other songs."""
    heads = situation.encoder_heads
    alone = replace(heads, heads=heads.heads.of(()), quantile=PLAIN_QUANTILE)  # without the pretrained ones
    return _cleanlab(situation, alone.scores(situation.given.astype(float), None))


def _cleanlab(situation: Situation, scores: np.ndarray) -> Judged:
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
    from cleanlab.multilabel_classification.rank import get_label_quality_scores

    labels = [np.flatnonzero(flags).tolist() for flags in situation.given]
    issues = np.asarray(find_multilabel_issues_per_class(labels, scores))
    refined = situation.given ^ issues
    return Judged(refined, get_label_quality_scores(labels, scores), np.ones(len(scores), bool), scores)


def ccom(situation: Situation) -> Judged:
    settings = TrainSettings(
        steps=situation.scale.separator_steps, truncate=(0.7, 0.5, 0.3), validation=0.0, seed=situation.seed
    )
    folder = situation.work / "ccom"
    train(situation.dataset, folder, settings, cache=situation.work / "pcm", device="cpu", workers=situation.workers)
    separator = load_separator(folder)
    margins = []
    for flags, index in zip(situation.given, situation.features.indices, strict=True):
        sound, rate_hz = soundfile.read(situation.dataset.file(situation.dataset.stems[index]), dtype="float32")
        stem = np.atleast_2d(sound.T)
        estimates = separate_mixture(separator, iter([stem]), rate_hz, len(stem), OVERLAP, "cpu")
        power = sum((block**2).sum(axis=(1, 2)) for block in estimates)
        level_db = 10.0 * np.log10(power + 1e-9)
        margins.append(level_db[flags].max(initial=-np.inf) - level_db[~flags].max(initial=-np.inf))
    margin = np.array(margins)
    return Judged(situation.given, expit((margin - CCOM_MARGIN_DB) / 10.0), margin >= CCOM_MARGIN_DB)


def refined(situation: Situation) -> Judged:
    refinement, known = situation.refinement("restem"), known_labels(situation.features, None)
    found = refinement.judged_in_rounds(refinement.classifier_heads(situation.timed), known, situation.timed)
    return situation.with_final(as_judged(found), "restem", refinement.targets(found, known))


def with_encoder(situation: Situation) -> Judged:
    refinement, known = situation.refinement(f"restem+{ENCODER}"), known_labels(situation.features, None)
    found = refinement.judged_in_rounds(situation.encoder_heads, known, situation.timed)
    return situation.with_final(as_judged(found), f"restem+{ENCODER}", refinement.targets(found, known))


def scratch(situation: Situation) -> Judged:
    refinement = situation.refinement("scratch", start="scratch")
    return as_judged(refinement.judged_in_rounds(None, known_labels(situation.features, None), situation.timed))


def truth(situation: Situation) -> Judged:
    true = situation.of_stems(situation.true)
    taught = situation.refinement("truth").round(1, true, situation.timed)
    judged, _ = situation.decided([*situation.pretrained, taught])
    return situation.with_final(judged, "truth", true)


METHODS: dict[str, Callable[[Situation], Judged]] = {
    "given": given, "single": single, "paper": paper, "cleanlab": cleanlab, "ccom": ccom, "restem": refined,
    f"restem+{ENCODER}": with_encoder, f"cleanlab+{ENCODER}": cleanlab_with_encoder, "scratch": scratch, "truth": truth,
}  # fmt: skip

# Methods that need what is not installed are left out.
NEED_ENCODER = tuple(name for name in METHODS if name.endswith(f"+{ENCODER}"))


def usable_methods() -> list[str]:
    return [name for name in METHODS if name not in NEED_ENCODER or ENCODER in installed()]
