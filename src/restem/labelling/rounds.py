"""The rounds: train on what the labels say, score every stem, relabel, train on what was found.

Koo et al., "Self-refining of Pseudo Labels for Music Source Separation with Noisy Labeled Data" (ISMIR 2023), with
changes. Trainings start from a pretrained classifier that comes with restem; one round of them is enough. Every stem
is scored out of fold: by a classifier that was not trained on its song, since a classifier confirms what it has
memorised. The logits of these classifiers, of the pretrained one and of heads on what that one sees are averaged, and
weighed against the given label and the rest of the song instead of replacing it (`deciding`). Where an encoder is
installed, heads on its embeddings say what is in a stem (`head_evidence`), and the classifiers when. Later rounds, and
the final classifier, are trained on what was found in each segment.

What was trained so far lies in `OUT/.work`, one folder a classifier, and is not trained again.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from restem.audio.stored import ArrayFile
from restem.errors import DatasetError
from restem.executing.interface import Executor, Item, Result
from restem.files import folder_written_aside
from restem.labelling.classifier import ClassifierConfig
from restem.labelling.computing import Computing
from restem.labelling.encoders.store import EmbeddingStore
from restem.labelling.features import Features
from restem.labelling.head_evidence import ROUNDS, HeadEvidence, encoder_evidence
from restem.labelling.heads import Heads
from restem.labelling.judging import Judged, judge, segment_targets, stem_scores
from restem.labelling.known_labels import KnownLabels
from restem.labelling.network import BATCH
from restem.labelling.paper import judged_as_in_the_paper
from restem.labelling.pretrained import FOLDER as PRETRAINED_FOLDER
from restem.labelling.pretrained import knows, pretrained_heads
from restem.labelling.scoring import ScoringTask, embed_segments, score_segments
from restem.labelling.settings import RefineSettings
from restem.labelling.training import (
    TrainingTask,
    steps_done,
    train_classifier,
)  # fmt: skip
from restem.progress import Progress, polling
from restem.progress import stage as begin_stage
from restem.runs.run import CLASSIFIER_FOLDER

# Without the evidence of the pretrained classifier, every round finds much more than the one before
# (`docs/benchmarks.md`).
ROUNDS_FROM_DATA = 3

WORK_FOLDER = ".work"
_EMBEDDINGS_FILE = "embeddings"

# Of a task of scoring: the segments of about 256 stems of a minute. Whole batches, so that what is in a batch, and with
# it the last digits of its scores, does not depend on how the work is divided.
_SEGMENTS_AT_ONCE = 120 * BATCH

_SUBSET = 0x57E5  # tells the drawing of stems from others of the same seed


class Refinement:
    """The trainings of one refinement, and what is found with them."""

    def __init__(
        self,
        features: Features,
        out: Path,
        settings: RefineSettings,
        computing: Computing,
        executor: Executor,
        config: ClassifierConfig,
        duplicates: Mapping[str, str] | None = None,
        unfit: Collection[str] = (),
    ) -> None:
        """duplicates, unfit: see `refine_labels`. Raises DatasetError when no stem is left to learn from."""
        self.features = features
        self.out = out
        self.settings = settings
        self.computing = computing
        self.executor = executor
        self.config = config
        stems, unfit = features.dataset.stems, frozenset(unfit)
        self.fit = np.array([stems[index].name not in unfit for index in features.indices])
        trainable = features.trainable & self.fit
        if not trainable.any():
            raise DatasetError(f"{features.dataset.root}: the audit leaves no stem to learn from.")
        groups = [(duplicates or {}).get(song, song) for song in features.songs]
        self.fold = assign_folds(groups, trainable, settings.folds, settings.seed)
        self.folds = range(int(self.fold.max()) + 1)
        # It was trained on none of the songs.
        self.uses_pretrained = settings.start_of(config) == "pretrained" and knows(config.classes)
        self.rounds = settings.rounds or (1 if self.uses_pretrained else ROUNDS_FROM_DATA)

    def encoder_heads(self, embeddings: EmbeddingStore, heads: Heads) -> HeadEvidence:
        """What an encoder hears, from its embeddings; alone where its heads know the classes, for then it errs less."""
        classes, quantile = self.config.classes, self.settings.pool_quantile
        known = heads if knows(classes) else heads.of(())
        return encoder_evidence(
            embeddings, self.features.sources, known, classes, self.fold, quantile,
            alone=knows(classes), seed=self.settings.seed, aside=self.out / WORK_FOLDER / _EMBEDDINGS_FILE,
        )  # fmt: skip

    def classifier_heads(self, timed: Timed) -> HeadEvidence | None:
        """Heads on what the pretrained classifier sees; None where it says nothing about the classes."""
        if not self.uses_pretrained:
            return None
        classes, quantile, segments = self.config.classes, self.settings.pool_quantile, self.features.segments
        stem, heads = segments.stem[segments.active], pretrained_heads(classes)
        # In a file: they are half a gigabyte for 10,000 stems of a minute.
        embeddings = ArrayFile(self.out / WORK_FOLDER / _EMBEDDINGS_FILE, np.float16, (len(stem), heads.size))
        place = np.cumsum(segments.active) - 1
        self._apply(
            "pretrained: embedding", embed_segments, [PRETRAINED_FOLDER for _ in self.folds], timed,
            lambda which, found: embeddings.put(place[which], found),
        )  # fmt: skip
        return HeadEvidence(embeddings.array, stem, heads, classes, self.fold, quantile, False, self.settings.seed)

    def judged_in_rounds(self, heads: HeadEvidence | None, known: KnownLabels, timed: Timed) -> Judged:
        """What is found after all rounds.

        The scores of all classifiers are evidence; their mean errs less than each. They are out of fold, as long as
        there are two songs to be divided into folds. Where nothing but the dataset is evidence, from random weights and
        without heads, only the last round counts: what was trained on the given labels repeats their mistakes.
        """
        logits = [self.score_with_pretrained(timed)] if self.uses_pretrained else []
        from_data_only = not logits and heads is None
        alone = heads is not None and heads.alone
        # What heads say alone does not depend on the classifiers, and is known before any is trained.
        scores = self.scores(heads, logits, known) if alone else None
        judged = self.judged(scores, logits, known) if scores is not None else None
        for number in range(1, self.rounds + 1):
            latest = self.round(number, self.targets(judged, known), timed)
            logits = [latest] if from_data_only else [*logits, latest]
            scores = self.scores(heads, logits, known) if scores is None or not alone else scores
            judged = self.judged(scores, logits, known)
        assert judged is not None  # there is one round at least
        return judged

    def judged_as_in_the_paper(self, known: KnownLabels, timed: Timed) -> Judged:
        """What `paper` finds; the classifier of the last round becomes the final one."""
        judged = judged_as_in_the_paper(
            self.features, known, self.rounds, lambda number, targets: self.round(number, targets, timed)
        )
        final = self.out / CLASSIFIER_FOLDER
        if not final.exists():
            with folder_written_aside(final) as aside:
                shutil.copytree(self.folder_of_round(self.rounds, 0), aside, dirs_exist_ok=True)
        return judged

    def scores(self, heads: HeadEvidence | None, logits: Sequence[np.ndarray], known: KnownLabels) -> np.ndarray:
        """(stem, class) what the classifiers and the heads say, which learn from what is believed in view of it.

        logits: of each classifier, (segment, class); of none, where heads are alone.
        """
        classifiers = stem_scores(self.features, np.mean(logits, axis=0), self.settings) if logits else None
        if heads is None:
            assert classifiers is not None
            return classifiers
        scores = heads.scores(None, classifiers)
        for _ in range(ROUNDS):
            found = self.judged(scores, logits, known).outcome.probabilities
            scores = heads.scores(np.where(self.teaching(known)[:, None], found, np.nan), classifiers)
        return scores

    def judged(self, scores: np.ndarray, logits: Sequence[np.ndarray], known: KnownLabels) -> Judged:
        """What is decided about stems, from their scores (stem, class), and about segments, from `logits`."""
        shape = (len(self.features.segments.stem), len(self.config.classes))
        mean = np.mean(logits, axis=0) if logits else np.zeros(shape)
        return judge(self.features, scores, mean, self.settings, known)

    def targets(self, judged: Judged | None, known: KnownLabels) -> np.ndarray:
        """What a classifier is taught, (segment, class): what was found, or the given labels as long as nothing was."""
        segments = self.features.segments
        if judged is not None:
            found = segment_targets(segments, judged.over_time, judged.outcome)
            found *= self.teaching(known)[segments.stem, None]
            found = known.over_segments(found)
            # Where nothing at all is clear there is nothing else to teach.
            if ((found >= 0.5).any(axis=1) & segments.active & self.fit[segments.stem]).any():
                return found
        return known.over_segments(known.over_stems(self.features.given).astype(np.float32)[segments.stem])

    def teaching(self, known: KnownLabels) -> np.ndarray:
        """(stem,) flags of the stems to learn from: neither unfit, nor with unknown labels that nobody listened to."""
        return self.fit & (~self.features.unknown | np.isfinite(known.stems).any(axis=1))

    def score_with_pretrained(self, timed: Timed) -> np.ndarray:
        """The pretrained classifier's logits (segment, class), 0 where a stem is not active."""
        return self._score("pretrained: scoring", [PRETRAINED_FOLDER for _ in self.folds], timed)

    def round(self, number: int, targets: np.ndarray, timed: Timed) -> np.ndarray:
        """Trains a classifier for every fold on the other folds, and scores the fold with it.

        targets: (segment, class). Returns logits (segment, class), 0 where a stem is not active.
        """
        folders = [self.folder_of_round(number, index) for index in self.folds]
        name = f"round {number} of {self.rounds}"
        tasks = [self._training(folder, targets, index) for index, folder in enumerate(folders)]
        self._train(f"{name}: training", tasks, timed)
        return self._score(f"{name}: scoring", folders, timed)

    def folder_of_round(self, number: int, fold: int) -> Path:
        """Where the classifier of a round and a fold is."""
        return self.out / WORK_FOLDER / f"round{number}" / f"fold{fold}"

    def train_final(self, targets: np.ndarray, timed: Timed) -> None:
        """Trains the classifier that is kept, on all songs."""
        self._train("final classifier", [self._training(self.out / CLASSIFIER_FOLDER, targets, None)], timed)

    def _train(self, stage: str, tasks: list[TrainingTask], timed: Timed) -> None:
        with timed(stage) as progress:
            total = sum(task.steps for task in tasks)
            with polling(lambda: progress(sum(map(steps_done, tasks)), total)):
                for _ in self._map(train_classifier, tasks):
                    pass

    def _score(self, stage: str, folders: list[Path], timed: Timed) -> np.ndarray:
        """Logits (segment, class). Each fold is scored by the classifier in its folder."""
        logits = np.zeros((len(self.features.segments.stem), len(self.config.classes)), np.float32)
        self._apply(stage, score_segments, folders, timed, logits.__setitem__)
        return logits

    def _apply(
        self,
        stage: str,
        apply: Callable[[ScoringTask], np.ndarray],
        folders: list[Path],
        timed: Timed,
        keep: Callable[[np.ndarray, np.ndarray], None],
    ) -> None:
        """Applies a classifier to the active segments, each fold with the one in its folder.

        keep: called with the indices of some segments, and what `apply` made of them.
        """
        segments = self.features.segments
        with timed(stage) as progress:
            parts = [
                (folder, mine[first : first + _SEGMENTS_AT_ONCE])
                for folder, mine in zip(folders, map(segments.of_stems, self._folds_apart()), strict=True)
                for first in range(0, len(mine), _SEGMENTS_AT_ONCE)
            ]
            jobs = [self._scoring(folder, mine) for folder, mine in parts]
            progress(0, len(jobs))
            for done, (index, found) in enumerate(self._map(apply, jobs), start=1):
                keep(parts[index][1], found)
                progress(done, len(jobs))

    def _folds_apart(self) -> list[np.ndarray]:
        """For every fold, (stem,) flags of the stems in it."""
        return [self.fold == index for index in self.folds]

    def _map(self, function: Callable[[Item], Result], tasks: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """Applies a function that runs a network to tasks."""
        return self.executor.map_unordered(function, tasks, cpus=self.computing.cpus, gpus=self.computing.gpus)

    def _training(self, folder: Path, targets: np.ndarray, fold: int | None) -> TrainingTask:
        """The training for a fold, which stays unheard; for None, the one on all songs."""
        # What nothing is to learn from has no class, and is never drawn.
        pool, held_out = self.features.segment_pool(targets * self.fit[self.features.segments.stem, None]), None
        if fold is not None and len(self.folds) > 1:
            inside = pool.of_stems(self.fold == fold)
            held_out = inside if (inside.targets >= 0.5).any() else None
            pool = pool.of_stems(self.fold != fold)
        settings, start = self.settings, self.settings.start_of(self.config)
        seed = 1000 * settings.seed + (0 if fold is None else 1 + fold)
        most = settings.training.most_stems
        pool = pool.at_most(most, [seed, _SUBSET])
        held_out = held_out.at_most(most, [seed, _SUBSET]) if held_out is not None else None
        return TrainingTask(
            folder=folder,
            pool=pool,
            held_out=held_out,
            mixing=settings.mixing,
            training=settings.training,
            config=self.config,
            start=start,
            steps=settings.steps or settings.training.steps_for(len(pool.stem), settings.mixing, start),
            seed=seed,
            accelerator=self.computing.device,
            precision=self.computing.precision,
            threads=self.computing.threads,
        )

    def _scoring(self, folder: Path, segments: np.ndarray) -> ScoringTask:
        laid = self.features.segments
        which, stem = np.unique(laid.stem[segments], return_inverse=True)
        return ScoringTask(
            folder=folder,
            stems=self.features.stems.of(which),
            stem=stem.astype(np.int32),
            start=laid.start[segments],
            length=self.features.length,
            classes=self.config.classes,
            accelerator=self.computing.device,
            threads=self.computing.threads,
        )


class Timed:
    """Measures stages, and names them to whoever shows progress."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[Callable[[int, int], None]]:
        """Gives the body a function to call with how much is done, and how much it is in all."""
        start = time.monotonic()
        yield begin_stage(self.progress, stage)
        self.seconds[stage] = round(time.monotonic() - start, 2)


def assign_folds(songs: Sequence[str], trainable: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of every stem, (stem,): all stems of a song in one, folds of equal numbers of songs.

    trainable: (stem,) flags, the stems to train on. There are no more folds than songs that have one, so that there is
    something to train on outside of each fold; songs without any are in fold 0.
    """
    names = list(dict.fromkeys(song for song, trains in zip(songs, trainable, strict=True) if trains))
    order = np.random.default_rng([seed, 0xF01D]).permutation(len(names))
    fold_of = {names[which]: position % min(folds, len(names)) for position, which in enumerate(order)}
    return np.array([fold_of.get(song, 0) for song in songs])
