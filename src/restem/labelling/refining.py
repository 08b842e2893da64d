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

import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

from restem._version import __version__
from restem.audio.mel import MelSettings
from restem.audio.store import Store, default_cache
from restem.dataset.table import Dataset
from restem.devices import choose_device
from restem.errors import UsageError
from restem.executing.interface import Executor
from restem.executing.processes import Processes, available_cores
from restem.labelling.calibration import Calibration
from restem.labelling.classifier import SIZES, ClassifierConfig
from restem.labelling.deciding import Outcome, calibrate_segments, decide
from restem.labelling.decision_settings import DecisionSettings
from restem.labelling.features import Features, load_features
from restem.labelling.known_labels import KnownLabels, describe, known_labels
from restem.labelling.mixing import MixingSettings
from restem.labelling.options import RefineOptions, Start
from restem.labelling.pretrained import FOLDER as PRETRAINED_FOLDER
from restem.labelling.pretrained import has_pretrained, knows
from restem.labelling.results import labels_table, segments_table
from restem.labelling.scoring import ScoringTask, pool_scores, score_segments
from restem.labelling.segments import HOP_S, POOL_QUANTILE, Segments
from restem.labelling.training import (
    TrainingSettings,
    TrainingTask,
    default_start,
    steps_done,
    train_classifier,
)  # fmt: skip
from restem.progress import Progress, polling
from restem.renaming import current_name
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

# Each training has a seed of its own, 1000 * seed + its number, of 32 bits.
_LARGEST_SEED = 4_000_000


@dataclass(frozen=True)
class RefineSettings(RefineOptions):
    """Everything a refinement depends on besides the dataset; kept in `run.json`.

    hop_s: from one segment to the next. pool_quantile: the score of a stem is this quantile of the scores of its active
    segments. Raises UsageError for what cannot be.
    """

    hop_s: float = HOP_S
    pool_quantile: float = POOL_QUANTILE
    mel: MelSettings = field(default_factory=MelSettings)
    mixing: MixingSettings = field(default_factory=MixingSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    decision: DecisionSettings = field(default_factory=DecisionSettings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", current_name("start", self.start, {"prior": "pretrained"}))
        if self.size not in SIZES:
            raise UsageError(f"There is no classifier of size {self.size!r}; choose one of {', '.join(SIZES)}.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise UsageError(f"The seed {self.seed} cannot be used; use one from 0 to {_LARGEST_SEED}.")
        for name in ("rounds", "folds", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"`{name}` must be at least 1, not {value}.")
        if self.start == "pretrained" and not has_pretrained(self.classifier(())):
            raise UsageError(f"There is no pretrained classifier of size {self.size!r}; use `start='scratch'`.")

    def start_of(self, config: ClassifierConfig) -> Start:
        """Where the training of such a classifier starts."""
        return self.start or default_start(config)

    def classifier(self, classes: tuple[str, ...], dataset: str = "", licence: str = "") -> ClassifierConfig:
        """What a classifier is like that is trained with these settings."""
        return ClassifierConfig(classes, self.mel, SIZES[self.size], self.mixing.segment_s, dataset, licence)


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
        record.content.pop("finished")
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
    # No classifier features the songs it scores, so all of them are witnesses; their mean errs less than each.
    evidence = [refinement.score_with_pretrained(timed)] if refinement.uses_pretrained else []
    for number in range(1, refinement.rounds + 1):
        evidence.append(refinement.round(number, targets, timed))
        judged = judge(features, np.mean(evidence, axis=0), settings, known)
        targets = known.over_segments(segment_targets(features.segments, judged.over_time, judged.outcome))
    refinement.train_final(targets, timed)

    labels = decided_labels(labels_table(features, judged.outcome), known.decided, dataset.taxonomy)
    segments = decided_segments(segments_table(features, judged.over_time), known.decided, dataset.taxonomy)
    failures = {dataset.stems[index].name: reason for index, reason in sorted(features.failures.items())}
    description = _description(request, dataset, device, timed.seconds, judged, failures)
    description["out_of_fold"] = len(refinement.folds) > 1
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
        self.fold = assign_folds(features.songs, features.teaching, settings.folds, settings.seed)
        self.folds = range(int(self.fold.max()) + 1)
        # It was trained on none of the songs.
        self.uses_pretrained = settings.start_of(config) == "pretrained" and knows(config.classes)
        self.rounds = settings.rounds or (1 if self.uses_pretrained else 2)

    def score_with_pretrained(self, timed: Timed) -> np.ndarray:
        """The pretrained classifier's logits (segment, class), 0 where a stem is not active."""
        return self._score("pretrained: scoring", [PRETRAINED_FOLDER for _ in self.folds], timed)

    def round(self, number: int, targets: np.ndarray, timed: Timed) -> np.ndarray:
        """Trains a classifier for every fold on the other folds, and listens.

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


def _description(
    request: dict[str, Any],
    dataset: Dataset,
    device: str,
    stages: dict[str, float],
    judged: Judged,
    failures: dict[str, str],
) -> dict[str, Any]:
    """What `run.json` holds."""
    taxonomy = dataset.taxonomy
    packages = ("torch", "lightning", "numpy", "scipy", "polars", "soundfile")
    return {
        **request,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": request["settings"]["seed"],
        "device": device,
        "dataset": {
            **request["dataset"],
            "layout": dataset.layout,
            "classes": list(taxonomy.classes),
            "aliases": dict(taxonomy.aliases),
            "songs": len(dataset.songs),
            "stems": len(dataset),
        },
        "versions": {
            "restem": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in packages},
        },
        "stages": stages,
        "calibration": {
            name: {"stems": asdict(stems), "segments": asdict(segments), "rates": asdict(rates)}
            for name, stems, segments, rates in zip(
                taxonomy.classes,
                judged.outcome.calibrations,
                judged.calibrations,
                judged.outcome.rates,
                strict=True,
            )
        },
        "failures": failures,
    }


@dataclass(frozen=True, eq=False)
class Judged:
    """What was found in stems, and over_time: (segment, class) P(present), 0 where a stem is not active.

    calibrations: what the logits of segments mean, one a class.
    """

    outcome: Outcome
    over_time: np.ndarray
    calibrations: tuple[Calibration, ...]


def judge(features: Features, logits: np.ndarray, settings: RefineSettings, known: KnownLabels) -> Judged:
    """Decides about every stem from the logits (segment, class) of its segments; silent stems take no part in it.

    The probabilities of what is known are 1 and 0.
    """
    segments = features.segments
    active = segments.active
    stem = segments.stem[active]
    pooled = pool_scores(expit(logits[active]), stem, len(features.indices), settings.pool_quantile)
    sounding = segments.active_frames > 0
    songs = [song for song, sounds in zip(features.songs, sounding, strict=True) if sounds]
    outcome = decide(pooled[sounding], features.given[sounding], songs, known.stems[sounding], settings.decision)
    outcome = outcome.among(sounding)
    outcome = replace(outcome, probabilities=known.over_stems(outcome.probabilities))
    calibrations = calibrate_segments(logits[active], stem, outcome.probabilities, settings.decision)
    over_time = np.zeros(logits.shape)
    for index, one in enumerate(calibrations):
        over_time[active, index] = one.probability(logits[active, index])
    return Judged(outcome, over_time, calibrations)


def segment_targets(segments: Segments, scores: np.ndarray, outcome: Outcome) -> np.ndarray:
    """What the next round is taught: (segment, class) in [0, 1], from segment scores and the outcome about stems.

    A class is taught with the probability that the stem holds it; where a stem holds several, a segment is taught those
    that were found in it, and always the clearest.
    """
    stem = outcome.probabilities[segments.stem]
    several = (stem >= 0.5).sum(axis=1) > 1
    clearest = np.where(stem >= 0.5, scores, -1.0).argmax(axis=1)
    found = scores >= 0.5
    found[np.arange(len(found)), clearest] = True
    targets: np.ndarray = np.where(several[:, None], stem * found, stem)
    return targets.astype(np.float32)


def assign_folds(songs: Sequence[str], teaching: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of every stem, (stem,): all stems of a song in one, folds of equal numbers of songs.

    teaching: (stem,) flags, the stems that something can be learned from. There are no more folds than songs that have
    one, so that the songs outside of each fold teach something; songs without any are in fold 0.
    """
    names = list(dict.fromkeys(song for song, teaches in zip(songs, teaching, strict=True) if teaches))
    order = np.random.default_rng([seed, 0xF01D]).permutation(len(names))
    fold_of = {names[which]: position % min(folds, len(names)) for position, which in enumerate(order)}
    return np.array([fold_of.get(song, 0) for song in songs])
