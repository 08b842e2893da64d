"""The rounds: train on what the labels say, score every stem, relabel, train on what was found.

Koo et al., "Self-refining of Pseudo Labels for Music Source Separation with Noisy Labeled Data" (ISMIR 2023), with
changes. Trainings start from a pretrained classifier that comes with restem; one round of them is enough. Every stem
is scored out of fold: by a classifier that was not trained on its song, since a classifier confirms what it has
memorised. The logits of these classifiers and of the pretrained one are averaged, and weighed against the given label
and the rest of the song instead of replacing it (`deciding`). Later rounds, and the final classifier, are trained on
what was found in each segment.

What a run has done so far lies in `OUT/.work`: classifiers, one folder each. Killed and started again it goes on from
there; the folder is removed when the run is finished.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from restem.audio.store import Store, default_cache
from restem.dataset.table import Dataset
from restem.devices import choose_device
from restem.executing.interface import Executor
from restem.executing.processes import Processes, available_cores
from restem.labelling.classifier import ClassifierConfig
from restem.labelling.features import Features, load_features
from restem.labelling.judging import judge, segment_targets
from restem.labelling.known_labels import describe, known_labels
from restem.labelling.pretrained import FOLDER as PRETRAINED_FOLDER
from restem.labelling.pretrained import knows
from restem.labelling.results import describe_run, labels_table, segments_table
from restem.labelling.scoring import ScoringTask, score_segments
from restem.labelling.settings import RefineSettings
from restem.labelling.training import (
    TrainingTask,
    steps_done,
    train_classifier,
)  # fmt: skip
from restem.progress import Progress, polling
from restem.resuming import WorkRecord
from restem.runs.decided import Decided, decided_labels, decided_segments
from restem.runs.run import (
    CLASSIFIER_FOLDER,
    DESCRIPTION_FILE,
    LABELS_FILE,
    SEGMENTS_FILE,
    Run,
    open_run,
    write_run,
)  # fmt: skip

WORK_FOLDER = ".work"
_REQUEST_FILE = "request.json"


def refine_labels(
    dataset: Dataset,
    out: Path | str,
    settings: RefineSettings | None = None,
    *,
    cache: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    licence: str = "",
    decided: Mapping[str, Decided] | None = None,
    progress: Progress | None = None,
) -> Run:
    """Refines the labels of `dataset` and leaves the run in `out`, all but the report.

    cache: the folder of the feature store. device: `auto`, `cpu`, `cuda` or `mps`. workers: processes, by default the
    cores available. licence: of the data, kept with the classifier. decided: what people said about stems, by name; it
    is certain. A finished run of the same request is read back.
    Raises RunError when `out` holds something else, DatasetError when no stem can be used, something was decided about
    one that is not there, or a folder to be written lies in the dataset, UsageError for settings.
    """
    out = Path(out)
    settings = settings or RefineSettings()
    device = choose_device(device)
    cache = Path(cache) if cache is not None else default_cache()
    dataset.check_outside(out, cache)
    request: dict[str, Any] = {
        "settings": asdict(settings),
        "dataset": {"fingerprint": dataset.fingerprint(), "root": str(dataset.root.resolve())},
        "licence": licence,
        "decisions": describe(decided, dataset),
    }
    record = WorkRecord(out, DESCRIPTION_FILE, request, "run", unfinished=f"{WORK_FOLDER}/{_REQUEST_FILE}")
    if record.begin():
        if all((out / name).exists() for name in (LABELS_FILE, SEGMENTS_FILE)):
            return open_run(out)
        (out / DESCRIPTION_FILE).unlink()  # a table was lost since: the run is made again
        record.content["finished"] = False
    record.note()
    store = Store(cache, settings.mel)
    executor = Processes.of(workers)
    timed = Timed(progress)
    with timed("features") as report:
        features = load_features(dataset, store, settings.mixing.segment_s, settings.hop_s, executor, report)
    config = settings.classifier(dataset.taxonomy.classes, request["dataset"]["fingerprint"], licence)
    refinement = Refinement(features, out, settings, device, executor, config)
    known = known_labels(features, decided)
    targets = known.over_segments(known.over_stems(features.given)[features.segments.stem])
    # The scores of all classifiers are evidence; their mean errs less than each. Out of fold, as long as there are two
    # songs to be divided into folds.
    evidence = [refinement.score_with_pretrained(timed)] if refinement.uses_pretrained else []
    for number in range(1, refinement.rounds + 1):
        evidence.append(refinement.round(number, targets, timed))
        judged = judge(features, np.mean(evidence, axis=0), settings, known)
        targets = known.over_segments(segment_targets(features.segments, judged.over_time, judged.outcome))
    refinement.train_final(targets, timed)

    labels = decided_labels(labels_table(features, judged.outcome), known.decided, dataset.taxonomy)
    segments = decided_segments(segments_table(features, judged.over_time), known.decided, dataset.taxonomy)
    out_of_fold = len(refinement.folds) > 1
    description = describe_run(request, dataset, device, timed.seconds, judged, features, out_of_fold)
    run = write_run(out, dataset.taxonomy, labels, segments, description)
    shutil.rmtree(out / WORK_FOLDER, ignore_errors=True)
    return run


class Refinement:
    """One run of `refine_labels`: what its stages share."""

    def __init__(
        self,
        features: Features,
        out: Path,
        settings: RefineSettings,
        device: str,
        executor: Executor,
        config: ClassifierConfig,
    ) -> None:
        self.features = features
        self.out = out
        self.settings = settings
        self.device = device
        self.executor = executor
        self.gpus = 0 if device == "cpu" else 1  # that one training uses
        self.config = config
        self.fold = assign_folds(features.songs, features.trainable, settings.folds, settings.seed)
        self.folds = range(int(self.fold.max()) + 1)
        # It was trained on none of the songs.
        self.uses_pretrained = settings.start_of(config) == "pretrained" and knows(config.classes)
        self.rounds = settings.rounds or (1 if self.uses_pretrained else 2)

    def score_with_pretrained(self, timed: Timed) -> np.ndarray:
        """The pretrained classifier's logits (segment, class), 0 where a stem is not active."""
        return self._score("pretrained: scoring", [PRETRAINED_FOLDER for _ in self.folds], timed)

    def round(self, number: int, targets: np.ndarray, timed: Timed) -> np.ndarray:
        """Trains a classifier for every fold on the other folds, and scores the fold with it.

        targets: (segment, class). Returns logits (segment, class), 0 where a stem is not active.
        """
        folders = [self.out / WORK_FOLDER / f"round{number}" / f"fold{index}" for index in self.folds]
        name = f"round {number} of {self.rounds}"
        tasks = [self._training(folder, targets, index) for index, folder in enumerate(folders)]
        self._train(f"{name}: training", tasks, timed)
        return self._score(f"{name}: scoring", folders, timed)

    def train_final(self, targets: np.ndarray, timed: Timed) -> None:
        """Trains the classifier that is kept, on all songs."""
        self._train("final classifier", [self._training(self.out / CLASSIFIER_FOLDER, targets, None)], timed)

    def _train(self, stage: str, tasks: list[TrainingTask], timed: Timed) -> None:
        with timed(stage) as progress:
            total = sum(task.steps for task in tasks)
            with polling(lambda: progress(sum(map(steps_done, tasks)), total)):
                for _ in self.executor.map_unordered(train_classifier, tasks, gpus=self.gpus):
                    pass

    def _score(self, stage: str, folders: list[Path], timed: Timed) -> np.ndarray:
        """Each fold is scored by the classifier in its folder."""
        segments = self.features.segments
        logits = np.zeros((len(segments.stem), len(self.config.classes)), np.float32)
        with timed(stage) as progress:
            mine = [segments.of_stems(self.fold == index) for index in self.folds]
            jobs = [self._scoring(folder, mine[index]) for index, folder in enumerate(folders)]
            progress(0, len(jobs))
            for done, (index, found) in enumerate(self.executor.map_unordered(score_segments, jobs, gpus=self.gpus), 1):
                logits[mine[index]] = found
                progress(done, len(jobs))
        return logits

    def _training(self, folder: Path, targets: np.ndarray, fold: int | None) -> TrainingTask:
        """The training for a fold, which stays unheard; for None, the one on all songs."""
        pool, held_out = self.features.segment_pool(targets), None
        if fold is not None and len(self.folds) > 1:
            inside = pool.of_stems(self.fold == fold)
            held_out = inside if (inside.targets >= 0.5).any() else None
            pool = pool.of_stems(self.fold != fold)
        settings, start = self.settings, self.settings.start_of(self.config)
        return TrainingTask(
            folder=folder,
            store=self.features.store,
            pool=pool,
            held_out=held_out,
            mixing=settings.mixing,
            training=settings.training,
            config=self.config,
            start=start,
            steps=settings.steps or settings.training.steps_for(pool, settings.mixing, start),
            seed=1000 * settings.seed + (0 if fold is None else 1 + fold),
            accelerator=self.device,
            threads=self._threads,
        )

    def _scoring(self, folder: Path, segments: np.ndarray) -> ScoringTask:
        laid = self.features.segments
        return ScoringTask(
            folder=folder,
            store=self.features.store,
            sources=self.features.sources,
            stem=laid.stem[segments],
            start=laid.start[segments],
            length=self.features.length,
            classes=self.config.classes,
            accelerator=self.device,
            threads=self._threads,
        )

    @property
    def _threads(self) -> int:
        """Threads of one training on the CPU: a function of the machine and the folds, never of `workers`.

        One thread each for parallel trainings is both faster than all threads for one, and not slowed by other programs
        on the same cores.
        """
        return max(1, available_cores() // max(2, self.settings.folds))


class Timed:
    """Measures stages, and names them to whoever shows progress."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[Callable[[int, int], None]]:
        """Gives the body a function to call with how much is done, and how much it is in all."""
        start = time.monotonic()
        yield lambda done, total: self.progress(stage, done, total) if self.progress is not None else None
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
