"""The rounds: train on what the labels say, listen, relabel, train on what was found.

Koo et al., "Self-refining of Pseudo Labels for Music Source Separation with Noisy Labeled Data" (ISMIR 2023), with
three changes. Every stem is scored by a classifier that never heard its song (`folds`), since a classifier confirms
what it has memorised. The score is weighed against the given label instead of replacing it (`deciding`). And later
rounds train on what was found in each segment, not on the stem's labels as a whole.

What a run has done so far lies in `OUT/.work`: classifiers, one folder each. Killed and started again it goes on from
there; the folder is removed when the run is finished.
"""

from __future__ import annotations

import json
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from restem._version import __version__
from restem.audio.mel import MelSettings
from restem.audio.store import Store, default_cache
from restem.dataset.run import CLASSIFIER_FOLDER, DESCRIPTION_FILE, Run, open_run, write_run
from restem.dataset.table import Dataset
from restem.errors import DatasetError, RunError, UsageError
from restem.files import write_json
from restem.labelling.classifier import SIZES, ClassifierConfig
from restem.labelling.deciding import Decisions, calibrate, decide
from restem.labelling.mixing import Material, MixingSettings
from restem.labelling.results import labels_table, segments_table
from restem.labelling.scoring import ScoringTask, pool_scores, score_segments
from restem.labelling.segments import Segments, lay_segments
from restem.labelling.training import TrainingSettings, TrainingTask, steps_done, train_classifier
from restem.parallel import available_workers, map_unordered

Progress = Callable[[str, int, int], None]
"""Called with the name of a stage, how much of it is done, and how much it is in all."""

_WORK_FOLDER = ".work"
_REQUEST_FILE = "request.json"
_POLL_S = 0.5


@dataclass(frozen=True)
class RefineSettings:
    """Everything a refinement depends on besides the dataset; kept in `run.json`.

    size: of the classifier, `tiny`, `small` or `base`. rounds: of training and relabelling; 2 is the paper's procedure.
    folds: groups of songs, each scored by a classifier of the others; 1 scores training stems, as the paper does.
    hop_s: from one segment to the next. pool_quantile: of the active segments' scores, the score of the stem.
    """

    size: str = "tiny"
    rounds: int = 2
    folds: int = 3
    seed: int = 0
    hop_s: float = 1.0
    pool_quantile: float = 0.8
    mel: MelSettings = field(default_factory=MelSettings)
    mixing: MixingSettings = field(default_factory=MixingSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise UsageError(f"There is no classifier of size {self.size!r}; choose one of {', '.join(SIZES)}.")
        if self.rounds < 1 or self.folds < 1 or self.training.steps < 1:
            raise UsageError("rounds, folds and steps must be at least 1.")


def refine_labels(
    dataset: Dataset,
    out: Path | str,
    settings: RefineSettings | None = None,
    *,
    cache: Path | str | None = None,
    device: str = "auto",
    workers: int | None = None,
    licence: str = "",
    progress: Progress | None = None,
) -> Run:
    """Refines the labels of `dataset` and leaves the run in `out`, all but the report.

    cache: the folder of the feature store. device: `auto`, `cpu`, `cuda` or `mps`. workers: processes, by default the
    cores available. licence: of the data, kept with the classifier. A finished run of the same request is read back.
    Raises RunError when `out` holds something else, DatasetError when no stem can be used, UsageError for settings.
    """
    out = Path(out)
    settings = settings or RefineSettings()
    device = choose_device(device)
    request = {
        "settings": asdict(settings),
        "dataset": {"fingerprint": dataset.fingerprint(), "root": str(dataset.root.resolve())},
        "licence": licence,
    }
    if (finished := _finished_run(out, request)) is not None:
        return finished
    store = Store(Path(cache) if cache is not None else default_cache(), settings.mel)
    refinement = _Refinement(dataset, out, settings, store, device, workers or available_workers(), licence)
    return refinement.run(request, progress or _silent)


class _Refinement:
    """One run of `refine_labels`: what its stages share."""

    def __init__(
        self,
        dataset: Dataset,
        out: Path,
        settings: RefineSettings,
        store: Store,
        device: str,
        workers: int,
        licence: str,
    ) -> None:
        self.dataset = dataset
        self.out = out
        self.settings = settings
        self.store = store
        self.device = device
        self.workers = workers
        self.stage_seconds: dict[str, float] = {}
        self.config = ClassifierConfig(
            classes=dataset.taxonomy.classes,
            mel=settings.mel,
            network=SIZES[settings.size],
            segment_s=settings.mixing.segment_s,
            dataset=dataset.fingerprint(),
            licence=licence,
        )
        self.length = max(1, round(settings.mixing.segment_s / settings.mel.hop_s))

    def run(self, request: dict[str, Any], progress: Progress) -> Run:
        work = self.out / _WORK_FOLDER
        sources = [(self.dataset.file(stem), stem.stream or 0) for stem in self.dataset.stems]
        with self._stage("features"):
            failures = self.store.fill(sources, self.workers, lambda done, total: progress("features", done, total))
        heard = [index for index in range(len(sources)) if index not in failures]
        if not heard:
            raise DatasetError(f"{self.dataset.root}: no stem can be decoded; the first: {failures[0]}")
        self.sources = tuple(sources[index] for index in heard)
        features = [self.store.require(source) for source in self.sources]
        self.segments = lay_segments(
            features, self.length, max(1, round(self.settings.hop_s / self.settings.mel.hop_s))
        )
        if not self.segments.active.any():
            raise DatasetError(f"{self.dataset.root}: every stem is silent.")
        stems = [self.dataset.stems[index] for index in heard]
        given = np.array([self.dataset.taxonomy.to_flags(stem.given) for stem in stems])
        fold = assign_folds([stem.song for stem in stems], self.settings.folds, self.settings.seed)

        targets = given[self.segments.stem].astype(np.float32)
        for number in range(1, self.settings.rounds + 1):
            last = number == self.settings.rounds
            final = self.out / CLASSIFIER_FOLDER if last else None
            scores, decisions = self._round(work / f"round{number}", number, targets, given, fold, final, progress)
            targets = segment_targets(self.segments, scores, decisions)

        seconds = [features[index].seconds for index in range(len(features))]
        labels = labels_table(self.dataset, heard, decisions, self.segments, seconds, self.settings.mel.hop_s)
        segments = segments_table(self.dataset, heard, scores, self.segments, seconds, self.settings.mel.hop_s)
        reasons = {self.dataset.stems[index].name: reason for index, reason in sorted(failures.items())}
        run = write_run(self.out, self.dataset.taxonomy, labels, segments, self._description(request, reasons))
        shutil.rmtree(work, ignore_errors=True)
        return run

    def _round(
        self,
        folder: Path,
        number: int,
        targets: np.ndarray,
        given: np.ndarray,
        fold: np.ndarray,
        final: Path | None,
        progress: Progress,
    ) -> tuple[np.ndarray, Decisions]:
        """Trains a classifier a fold on the other folds (and the final one on all), scores every stem, decides.

        targets: (segment, class). given: (stem, class). Returns segment scores (segment, class), and decisions.
        """
        folds = range(int(fold.max()) + 1)
        tasks = []
        for index in folds:
            inside = fold == index
            outside = ~inside if len(folds) > 1 else inside
            tasks.append(
                self._training(folder / f"fold{index}", targets, outside, inside if len(folds) > 1 else None, 1 + index)
            )
        if final is not None:
            tasks.append(self._training(final, targets, np.ones(len(fold), bool), None, 0))
        name = f"round {number} of {self.settings.rounds}: training"
        with self._stage(name):
            self._train(tasks, lambda done, total: progress(name, done, total))

        name = f"round {number} of {self.settings.rounds}: listening"
        scores = np.zeros((len(self.segments.stem), len(self.config.classes)), np.float32)
        mine = [self.segments.of_stems(fold == index) for index in folds]
        with self._stage(name):
            jobs = [self._scoring(folder / f"fold{index}", mine[index]) for index in folds]
            progress(name, 0, len(jobs))
            for done, (index, found) in enumerate(map_unordered(score_segments, jobs, self._processes), 1):
                scores[mine[index]] = found
                progress(name, done, len(jobs))
        active = self.segments.active
        pooled = pool_scores(scores[active], self.segments.stem[active], len(fold), self.settings.pool_quantile)
        sounding = self.segments.active_frames > 0
        self.calibrations = calibrate(pooled[sounding], given[sounding])
        return scores, decide(pooled, given, self.calibrations)

    @property
    def _processes(self) -> int:
        """A GPU is not shared between trainings; the cores are."""
        return self.workers if self.device == "cpu" else 1

    @property
    def _threads(self) -> int:
        """Threads of one training on the CPU: a function of the machine and the folds, never of `workers`.

        One thread each for parallel trainings is both faster than all threads for one, and not slowed by other programs
        on the same cores.
        """
        return max(1, available_workers() // max(2, self.settings.folds))

    def _training(
        self, folder: Path, targets: np.ndarray, stems: np.ndarray, held_out: np.ndarray | None, seed: int
    ) -> TrainingTask:
        whole = Material(self.sources, self.segments.gains, self.segments.stem, self.segments.start, targets)
        active = replace(
            whole,
            stem=whole.stem[self.segments.active],
            start=whole.start[self.segments.active],
            targets=targets[self.segments.active],
        )
        return TrainingTask(
            folder=folder,
            store=self.store,
            material=active.of_stems(stems),
            held_out=active.of_stems(held_out) if held_out is not None else None,
            mixing=self.settings.mixing,
            training=self.settings.training,
            config=self.config,
            seed=1000 * self.settings.seed + seed,
            accelerator=self.device,
            threads=self._threads,
        )

    def _scoring(self, folder: Path, segments: np.ndarray) -> ScoringTask:
        return ScoringTask(
            folder, self.store, self.sources, self.segments.stem[segments], self.segments.start[segments], self.length,
            self.device, self._threads,
        )  # fmt: skip

    def _train(self, tasks: Sequence[TrainingTask], progress: Callable[[int, int], None]) -> None:
        total = sum(task.training.steps for task in tasks)
        with _polling(lambda: progress(sum(map(steps_done, tasks)), total)):
            for _ in map_unordered(train_classifier, tasks, self._processes):
                pass

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.stage_seconds[name] = round(time.monotonic() - start, 2)

    def _description(self, request: dict[str, Any], failures: dict[str, str]) -> dict[str, Any]:
        taxonomy = self.dataset.taxonomy
        packages = ("torch", "lightning", "numpy", "scipy", "polars", "soundfile")
        return {
            **request,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": self.settings.seed,
            "device": self.device,
            "dataset": {
                **request["dataset"],
                "layout": self.dataset.layout,
                "classes": list(taxonomy.classes),
                "aliases": dict(taxonomy.aliases),
                "songs": len(self.dataset.songs),
                "stems": len(self.dataset),
            },
            "versions": {
                "restem": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in packages},
            },
            "stages": self.stage_seconds,
            "calibration": {
                name: asdict(calibration) for name, calibration in zip(taxonomy.classes, self.calibrations, strict=True)
            },
            "failures": failures,
        }


def segment_targets(segments: Segments, scores: np.ndarray, decisions: Decisions) -> np.ndarray:
    """What the next round is taught: (segment, class) in [0, 1], from segment scores and the decisions about stems.

    A class is taught with the probability that the stem holds it; where a stem holds several, a segment is taught those
    that were found in it, and always the clearest.
    """
    stem = decisions.probabilities[segments.stem]
    several = (stem >= 0.5).sum(axis=1) > 1
    clearest = np.where(stem >= 0.5, scores, -1.0).argmax(axis=1)
    found = scores >= 0.5
    found[np.arange(len(found)), clearest] = True
    targets: np.ndarray = np.where(several[:, None], stem * found, stem)
    return targets.astype(np.float32)


def assign_folds(songs: Sequence[str], folds: int, seed: int) -> np.ndarray:
    """The fold of every stem, (stem,): all stems of a song in one, folds of equal numbers of songs."""
    names = list(dict.fromkeys(songs))
    order = np.random.default_rng([seed, 0xF01D]).permutation(len(names))
    fold_of = {names[which]: position % min(folds, len(names)) for position, which in enumerate(order)}
    return np.array([fold_of[song] for song in songs])


def choose_device(device: str) -> str:
    """`cpu`, `cuda` or `mps` for what the user asked; raises UsageError for one that is not there."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there[name])
    if not there.get(device, False):
        raise UsageError(f"The device {device!r} is not available; use --device auto.")
    return device


def _finished_run(out: Path, request: dict[str, Any]) -> Run | None:
    """The run in `out` if it is the finished one of `request`; None when there is work to do.

    Raises RunError when `out` holds another run, or anything else.
    """
    request_path = out / _WORK_FOLDER / _REQUEST_FILE
    same = json.loads(json.dumps(request))
    if (out / DESCRIPTION_FILE).exists():
        run = open_run(out)
        if all(_within(run.description.get(key), value) for key, value in same.items()):
            return run
        raise RunError(f"{out}: holds a run of another dataset or other settings; choose another --out, or delete it.")
    if request_path.exists():
        try:
            begun = json.loads(request_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            begun = None
        if begun != same:
            raise RunError(
                f"{out}: an unfinished run of another dataset or other settings is here; choose another --out, "
                "or delete it."
            )
        return None
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(f"{out}: is not empty and holds no run; choose another --out.")
    write_json(request_path, request)
    return None


def _within(found: Any, asked: Any) -> bool:
    """Whether `found` says the same as `asked`, and perhaps more."""
    if isinstance(asked, dict):
        return isinstance(found, dict) and all(_within(found.get(key), value) for key, value in asked.items())
    return bool(found == asked)


@contextmanager
def _polling(report: Callable[[], None]) -> Iterator[None]:
    """Calls `report` now and then while the body runs, and once at its end."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_POLL_S):
            report()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
    report()


def _silent(_stage: str, _done: int, _total: int) -> None:
    """No progress."""
