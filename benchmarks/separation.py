"""What refining is worth to a separator: the same model and budget, trained on the same songs under different labels.

    python benchmarks/separation.py                                  # hours on 2 idle cores; it goes on where it was
    python benchmarks/separation.py --noise clean regroup-0.1 regroup-0.3 --labels given refined true --seeds 1 --plain
    python benchmarks/separation.py --full                           # a larger model, for a GPU

Of 40 rendered songs, 10 are only measured on. The stems of the other 30 are made noisy: a source moves into the stem
of another class with a probability (`regroup-0.3`), or a stem is given another class (`swap-0.3`). Separators are
trained on what that leaves:

    given      the noisy stems under the labels they were given
    refined    the same stems under what `restem refine` found
    by clean   the same stems under what is found where clean stems of other songs taught the classifiers
    true       the same stems under their true label sets, several classes in many of them
    clean      the stems as they were before anything was mixed up; the noise `clean` has no other true labels
    split      refined, after what has several labels was taken apart by the separator trained on `refined`

with all losses counted and, at `regroup-0.3`, with the largest ones of each batch ignored (`--truncate 0.7,0.5,0.3`).
At the other noises, only `given`, `refined` and `true` are compared: how much labels cost, by how many are wrong. The
seeds are those of the corruption, the refinement and the training. Intervals are over songs, each the mean over seeds.
Rows that are in `separation.json` are not computed again.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import polars as pl

import restem
import separation_figures as figures
from common import HERE, keep_row, parse, read_rows, song_folders, split_songs
from restem.audio.store import Store
from restem.dataset.noise import Kind
from restem.dataset.table import Dataset
from restem.demo.reference import with_true_labels
from restem.devices import choose_device
from restem.evaluation.separation import read_evaluation
from restem.executing.processes import Processes
from restem.labelling.computing import Computing
from restem.labelling.features import Features, load_features
from restem.labelling.rounds import Refinement, Timed
from restem.labelling.settings import RefineSettings
from restem.runs.run import DESCRIPTION_FILE
from restem.separation.train_settings import TrainSettings

TRUNCATED = (0.7, 0.5, 0.3)
JSON = HERE / "separation.json"

# Chosen by the time they take on two cores; all labels have the same.
SMALL = TrainSettings(steps=400, validation=0.0)
FULL = TrainSettings(parameters={"width": 128, "depth": 8}, steps=20_000, batch=16, segment_s=4.0, validation=0.0)
QUICK = TrainSettings(
    parameters={"n_fft": 2048, "hop": 1024, "bands": 8, "width": 4, "depth": 1}, steps=2, batch=2, validation=0.0
)
QUICK_REFINE_STEPS = 2


@dataclass(frozen=True)
class Job:
    """One training and its measurement. refine_steps: of each training of a refinement; None for the default."""

    work: Path
    noise: str
    labels: str
    settings: TrainSettings
    refine_steps: int | None = None

    @property
    def truncated(self) -> bool:
        return bool(self.settings.truncate)

    @property
    def seed(self) -> int:
        return self.settings.seed

    @property
    def noisy(self) -> Path:
        """The dataset, noisy or not."""
        return self.work / ("clean" if self.noise == "clean" else f"noisy-{self.noise}-{self.seed}")

    @property
    def run(self) -> Path:
        """The refinement of the dataset."""
        taught = "by-clean" if self.labels == "by clean" else "run"
        return self.work / f"{taught}-{self.noise}-{self.seed}"

    @property
    def folder(self) -> Path:
        """The separator."""
        cut = "-truncated" if self.truncated else ""
        name = f"{self.noise}-{self.labels.replace(' ', '-')}{cut}-{self.settings.steps}-{self.seed}"
        return self.work / "separators" / name

    @property
    def key(self) -> tuple[int, str, str, bool, int]:
        return self.settings.steps, self.noise, self.labels, self.truncated, self.seed


def key_of(row: dict[str, Any]) -> tuple[int, str, str, bool, int]:
    return row["steps"], row["noise"], row["labels"], row["truncated"], row["seed"]


def prepare(job: Job, workers: int | None) -> None:
    """Makes the noisy copy of the songs that a job needs, and its refinement."""
    if not job.noisy.exists():
        kind, _, rate = job.noise.rpartition("-")
        assert kind in get_args(Kind), kind
        clean = restem.open_dataset(job.work / "clean")
        restem.corrupt(clean, job.noisy, kind=cast(Kind, kind), rate=float(rate), seed=job.seed, workers=workers)
    if job.labels in ("refined", "by clean", "split"):
        noisy = restem.open_dataset(job.noisy)
        if job.labels == "by clean" and not (job.run / DESCRIPTION_FILE).exists():
            teach_with_clean_stems(job, noisy, workers)
        restem.refine(
            noisy, job.run, steps=job.refine_steps, seed=job.seed, cache=job.work / "cache", workers=workers
        )  # fmt: skip


def teach_with_clean_stems(job: Job, noisy: Dataset, workers: int | None) -> None:
    """Trains the classifiers of a refinement on clean stems; `refine` finds them, and scores the noisy stems with them.

    The classifier that scores a song is trained on others, as in every refinement.
    """
    settings, executor = RefineSettings(steps=job.refine_steps, seed=job.seed), Processes.of(workers)
    store = Store(job.work / "cache", settings.mel)
    computing = Computing.decided(choose_device("auto"), settings.folds, executor)
    config = settings.classifier(noisy.taxonomy.classes)

    def heard(dataset: Dataset) -> Features:
        return load_features(dataset, store, settings.mixing.segment_s, settings.hop_s, executor)

    features = heard(restem.open_dataset(job.work / "clean"))
    teacher = Refinement(features, job.run, settings, computing, executor, config)
    pupil = Refinement(heard(noisy), job.run, settings, computing, executor, config)
    folds = [dict(zip(one.features.songs, one.fold.tolist(), strict=True)) for one in (teacher, pupil)]
    assert folds[0] == folds[1], "a song would be scored by a classifier that was trained on it"
    teacher.round(1, features.given[features.segments.stem].astype(np.float32), Timed(None))


def training_data(job: Job) -> Dataset | restem.Run:
    """What the separator of a job is trained on."""
    if job.labels in ("refined", "by clean"):
        return restem.open_run(job.run)
    if job.labels == "split":
        folder = job.work / f"split-{job.noise}-{job.settings.steps}-{job.seed}"
        if not folder.exists():
            splitter = replace(job, labels="refined")
            carry_out(splitter)
            restem.export(job.run, folder, layout="songs", split=splitter.folder)
        return restem.open_dataset(folder)
    dataset = restem.open_dataset(job.noisy)
    return with_true_labels(dataset, dataset.root / "truth.csv") if job.labels == "true" else dataset


def carry_out(job: Job) -> dict[str, Any]:
    """Trains and measures; the row of a job."""
    wall, processor = time.perf_counter(), time.process_time()
    separator = restem.train(training_data(job), job.folder, job.settings, cache=job.work / "cache", workers=1)
    result = job.folder.with_name(f"{job.folder.name}-result")
    restem.evaluate(restem.open_dataset(job.work / "unheard"), model=separator, out=result)
    table = read_evaluation(result).select("song", "class", pl.col("sdr", "mixture_sdr").round(4))
    return {
        "steps": job.settings.steps, "noise": job.noise, "labels": job.labels, "truncated": job.truncated,
        "seed": job.seed, "model": job.settings.model, "wall_s": round(time.perf_counter() - wall, 1),
        "processor_s": round(time.process_time() - processor, 1), "songs": table.to_dicts(),
    }  # fmt: skip


def wanted(arguments: argparse.Namespace, settings: TrainSettings, refine_steps: int | None) -> list[Job]:
    """The jobs that were asked for: those of the dose for all noises, all others at one noise."""

    def job(noise: str, labels: str, truncated: bool, seed: int) -> Job:
        mine = replace(settings, seed=seed, truncate=TRUNCATED if truncated else ())
        return Job(arguments.work, noise, labels, mine, refine_steps)

    jobs = []
    for seed in arguments.seeds:
        for noise in arguments.noise:
            # With clean stems, the given labels are the true ones.
            some = {figures.CLEAN: ("clean", "refined"), figures.MAIN: figures.ALL}.get(noise, figures.DOSE)
            jobs += [job(noise, labels, False, seed) for labels in some if labels in (*arguments.labels, "clean")]
            if noise in (figures.MAIN, figures.CLEAN) and not arguments.plain:
                jobs += [job(noise, labels, True, seed) for labels in some if labels in figures.TRUNCATED_TOO]
    # Splitting needs a separator, which is among the others.
    return sorted(jobs, key=lambda one: one.labels == "split")


def carry_out_all(jobs: Iterable[Job], table: Path, workers: int | None) -> None:
    """Carries out the jobs that have no row yet, side by side, one thread each where there is no GPU to share."""
    there = set(map(key_of, read_rows(table)))
    missing = [job for job in jobs if job.key not in there]
    for job in missing:
        prepare(job, workers)
    executor, gpus = Processes.of(workers), 0 if choose_device("auto") == "cpu" else 1
    for last in (False, True):
        part = [job for job in missing if (job.labels == "split") == last]
        for done, (_, row) in enumerate(executor.map_unordered(carry_out, part, gpus=gpus), 1):
            keep_row(table, row, key_of)
            print(f"{done} of {len(part)}: {row['noise']}, {row['labels']}, seed {row['seed']}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--noise", nargs="+", default=list(figures.NOISES), help="clean, regroup-RATE or swap-RATE")
    parser.add_argument("--labels", nargs="+", choices=figures.ALL, default=list(figures.ALL))
    parser.add_argument("--plain", action="store_true", help="only trainings with all losses")
    parser.add_argument("--songs", type=int, default=40, help="a quarter of them is measured on")
    parser.add_argument("--steps", type=int, help="of each training")
    parser.add_argument("--workers", type=int, help="trainings side by side; by default one for each core")
    parser.add_argument("--full", action="store_true", help="a larger model and budget, for a GPU")
    parser.add_argument("--work", type=Path, default=Path("bench-out/separation"), help="where everything is kept")
    with tempfile.TemporaryDirectory() as aside:
        quick = {
            "seeds": [1],
            "songs": 8,
            "work": Path(aside),
            "noise": ["clean", "regroup-0.3", "swap-0.3"],
            "workers": 1,
        }
        arguments = parse(parser, **quick)
        settings = QUICK if arguments.quick else FULL if arguments.full else SMALL
        if arguments.steps is not None:
            settings = replace(settings, steps=arguments.steps)
        table = Path(aside) / JSON.name if arguments.quick else JSON
        split_songs(song_folders(arguments.songs, arguments.work, quick=arguments.quick), arguments.work)
        refine_steps = QUICK_REFINE_STEPS if arguments.quick else None
        carry_out_all(wanted(arguments, settings, refine_steps), table, arguments.workers)
        rows = [row for row in read_rows(table) if row["steps"] == settings.steps]
        figures.show(rows)
        figures.plot_labels(rows, (Path(aside) if arguments.quick else HERE) / "separation.png")
        images = Path(aside) if arguments.quick else HERE.parent / "docs" / "images"
        figures.plot_doses(rows, images / "label_noise.png")


if __name__ == "__main__":
    main()
