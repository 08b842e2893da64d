"""What refining is worth to a separator: the same model and budget, trained on the same songs under different labels.

    python benchmarks/separation.py                    # about an hour on 2 idle cores; started again, it goes on
    python benchmarks/separation.py --full             # a larger model, for a GPU
    python benchmarks/separation.py --seeds 1 --steps 100 --work elsewhere

Of 40 rendered songs, 10 are only measured on. The stems of the other 30 are regrouped at 0.3, three times. Separators
are trained on what that leaves:

    given      the noisy stems under the labels they were given
    refined    the same stems under what `restem refine` found
    true       the same stems under their true label sets, several classes in many of them
    clean      the stems as they were before anything was mixed up
    split      refined, after what has several labels was taken apart by the separator trained on `refined`

with all losses counted, and with the largest ones of each batch ignored (`--truncate 0.7,0.5,0.3`). The seeds are those
of the corruption, the refinement and the training. Intervals are over songs, each the mean over seeds.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import restem
from common import HERE, parse, publish, song_folders
from restem.dataset.table import Dataset
from restem.demo.reference import with_true_labels
from restem.devices import choose_device
from restem.evaluation.separation import paired_interval, read_evaluation
from restem.executing.processes import Processes
from restem.files import write_json
from restem.separation.train_settings import TrainSettings

LABELS = ("given", "refined", "true", "clean", "split")
TRUNCATED = (0.7, 0.5, 0.3)
RATE = 0.3
SECONDS_FILE = "seconds.json"
PICTURE = HERE / "separation.png"

# Chosen by the time they take on two cores; all labels have the same.
SMALL = TrainSettings(steps=400, validation=0.0)
FULL = TrainSettings(parameters={"width": 128, "depth": 8}, steps=20_000, batch=16, segment_s=4.0, validation=0.0)
QUICK = TrainSettings(
    parameters={"n_fft": 2048, "hop": 1024, "bands": 8, "width": 4, "depth": 1}, steps=2, batch=2, validation=0.0
)
QUICK_REFINE_STEPS = 2


@dataclass(frozen=True)
class Job:
    """One training and its measurement, in a folder of its own."""

    work: Path
    labels: str
    truncated: bool
    seed: int
    settings: TrainSettings

    @property
    def name(self) -> str:
        """How the separator was trained."""
        return f"{self.labels}, truncated" if self.truncated else self.labels

    @property
    def folder(self) -> Path:
        return self.work / "separators" / f"{self.name.replace(', ', '-')}-{self.seed}"


def prepare(work: Path, seeds: Iterable[int], songs: list[Path], steps: int | None, workers: int | None) -> None:
    """The songs to train on and to measure on, the noisy copies, and refinements of these.

    steps: of each training of a refinement. workers: processes.
    """
    for number, song in enumerate(songs):
        folder = work / ("unheard" if number % 4 == 3 else "clean") / song.name
        if not folder.exists():
            shutil.copytree(song, folder)
    clean = restem.open_dataset(work / "clean")
    for seed in seeds:
        noisy = work / f"noisy{seed}"
        if not noisy.exists():
            restem.corrupt(clean, noisy, kind="regroup", rate=RATE, seed=seed, workers=workers)
        run = work / f"run{seed}"
        restem.refine(restem.open_dataset(noisy), run, steps=steps, seed=seed, cache=work / "cache", workers=workers)


def training_data(job: Job) -> Dataset | restem.Run:
    """What the separator of a job is trained on."""
    if job.labels == "clean":
        return restem.open_dataset(job.work / "clean")
    if job.labels == "refined":
        return restem.open_run(job.work / f"run{job.seed}")
    if job.labels == "split":
        folder = job.work / f"split{job.seed}"
        if not folder.exists():
            separator = replace(job, labels="refined", truncated=False).folder
            restem.export(job.work / f"run{job.seed}", folder, layout="songs", split=separator)
        return restem.open_dataset(folder)
    noisy = restem.open_dataset(job.work / f"noisy{job.seed}")
    if job.labels == "given":
        return noisy
    return with_true_labels(noisy, noisy.root / "truth.csv")


def carry_out(job: Job) -> None:
    """Trains and measures, unless that was done before."""
    if (job.folder / "result" / "songs.csv").exists():
        return
    wall, processor = time.perf_counter(), time.process_time()
    separator = restem.train(training_data(job), job.folder, job.settings, cache=job.work / "cache", workers=1)
    restem.evaluate(restem.open_dataset(job.work / "unheard"), model=separator, out=job.folder / "result")
    seconds = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    write_json(job.folder / SECONDS_FILE, {name: round(value, 1) for name, value in seconds.items()})


def measured(jobs: list[Job]) -> pl.DataFrame:
    """One row a job, song and class: how, seed, song, class, sdr, mixture_sdr."""
    tables = [
        read_evaluation(job.folder / "result").select(
            pl.lit(job.name).alias("how"), pl.lit(job.seed).alias("seed"), "song", "class", "sdr", "mixture_sdr"
        )
        for job in jobs
    ]
    return pl.concat(tables)


def of_songs(table: pl.DataFrame, how: str, class_name: str | None = None) -> np.ndarray:
    """The SDR of every song under `how`, the mean over seeds and (unless one is named) classes."""
    mine = table.filter(pl.col("how") == how)
    if class_name is not None:
        mine = mine.filter(pl.col("class") == class_name)
    return mine.group_by("song").agg(pl.col("sdr").mean()).sort("song")["sdr"].to_numpy()


def difference(table: pl.DataFrame, better: str, worse: str) -> str:
    mean, low, high = paired_interval(of_songs(table, better) - of_songs(table, worse))
    return f"{mean:+.2f} dB ({low:+.2f} to {high:+.2f})"


def claims(table: pl.DataFrame) -> list[tuple[str, str, str]]:
    """What was measured next to what is asked."""
    classes = table["class"].unique(maintain_order=True).to_list()
    baseline = {name: _mean(table.filter(pl.col("class") == name)["mixture_sdr"]) for name in classes}
    there = table["how"].unique(maintain_order=True).to_list()
    rows = [("the mixture itself", _listed(sum(baseline.values()) / len(classes), baseline), "")]
    for how in there:
        found = {name: float(of_songs(table, how, name).mean()) for name in classes}
        rows.append((how, _listed(float(of_songs(table, how).mean()), found), ""))
        if how == "refined":
            least = min(classes, key=lambda name: found[name] - baseline[name])
            gain = found[least] - baseline[least]
            rows.append(("refined, least gain over the mixture", f"{gain:+.2f} dB ({least})", "above 0"))
    for truncated in ("", ", truncated"):
        given, refined, true, clean = (f"{labels}{truncated}" for labels in ("given", "refined", "true", "clean"))
        if {given, refined, true, clean}.issubset(there):
            rows.append((f"{refined} against {given}", difference(table, refined, given), "interval above 0"))
            ends = [float(of_songs(table, how).mean()) for how in (given, refined, true, clean)]
            for name, value in zip((refined, true), ends[1:3], strict=True):
                closed = (value - ends[0]) / (ends[3] - ends[0])
                asked = ">= 67 %" if name == refined else ""
                rows.append((f"of the gap {given} to {clean}, {name} closes", f"{100 * closed:.0f} %", asked))
    for better, worse in (("refined", "given, truncated"), ("split", "refined")):
        if {better, worse}.issubset(there):
            rows.append((f"{better} against {worse}", difference(table, better, worse), ""))
    return rows


def _mean(values: pl.Series) -> float:
    """The mean of what is not null."""
    return float(np.mean(values.drop_nulls().to_numpy()))


def _listed(mean: float, by_class: dict[str, float]) -> str:
    return f"{mean:.2f} dB ({', '.join(f'{name} {value:.2f}' for name, value in by_class.items())})"


def _seconds(job: Job) -> dict[str, float]:
    """What a job took: on the wall, where others may have been at work as well, and of the processor."""
    seconds: dict[str, float] = json.loads((job.folder / SECONDS_FILE).read_text(encoding="utf-8"))
    return seconds


def plot(table: pl.DataFrame, path: Path) -> None:
    """The SDR under all labels, with and without truncation: a bar each, a dot for every seed."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.6), layout="constrained")
    present = table["how"].unique(maintain_order=True).to_list()
    for offset, suffix, colour, label in (
        (-0.2, "", "#2a6f97", "all losses"),
        (0.2, ", truncated", "#e09f3e", "largest losses ignored"),
    ):
        places = [place for place, labels in enumerate(LABELS) if labels + suffix in present]
        hows = [LABELS[place] + suffix for place in places]
        heights = [float(of_songs(table, how).mean()) for how in hows]
        bars = axes.bar(np.array(places) + offset, heights, 0.36, color=colour, label=label)
        axes.bar_label(bars, [f"{height:.2f}" for height in heights], label_type="center", color="white", fontsize=9)
        for place, how in zip(places, hows, strict=True):
            seeds = table.filter(pl.col("how") == how).group_by("seed").agg(pl.col("sdr").mean())["sdr"]
            axes.plot(np.full(len(seeds), place + offset), seeds, "o", color="black", markersize=3, alpha=0.6)
    axes.set_xticks(range(len(LABELS)), [f"{labels} labels" for labels in LABELS[:3]] + ["clean stems", "split stems"])
    axes.set_ylabel("SDR on unheard songs, dB")
    axes.margins(y=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="upper left", ncols=2)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--songs", type=int, default=40, help="a quarter of them is measured on")
    parser.add_argument("--steps", type=int, help="of each training")
    parser.add_argument("--full", action="store_true", help="a larger model and budget, for a GPU")
    parser.add_argument("--work", type=Path, default=Path("bench-out/separation"), help="where everything is kept")
    with tempfile.TemporaryDirectory() as aside:
        arguments = parse(parser, seeds=[1], songs=8, work=Path(aside))
        settings = QUICK if arguments.quick else FULL if arguments.full else SMALL
        if arguments.steps is not None:
            settings = replace(settings, steps=arguments.steps)
        compare(settings, arguments, Path(aside) / PICTURE.name if arguments.quick else PICTURE)


def compare(settings: TrainSettings, arguments: argparse.Namespace, picture: Path) -> None:
    """Trains and measures under all labels, draws the result and publishes it."""

    def job(labels: str, truncated: bool, seed: int) -> Job:
        mine = replace(settings, seed=seed, truncate=TRUNCATED if truncated else ())
        return Job(arguments.work, labels, truncated, seed, mine)

    songs = song_folders(arguments.songs, arguments.work, quick=arguments.quick)
    steps, workers = (QUICK_REFINE_STEPS, 1) if arguments.quick else (None, None)
    prepare(arguments.work, arguments.seeds, songs, steps, workers)
    first = [job(labels, cut, seed) for seed in arguments.seeds for cut in (False, True) for labels in LABELS[:4]]
    then = [job("split", False, seed) for seed in arguments.seeds]
    # Trainings side by side, one thread each, where there is no GPU for them to share.
    executor, gpus = Processes.of(workers), 0 if choose_device("auto") == "cpu" else 1
    for jobs in (first, then):
        for done, (index, _) in enumerate(executor.map_unordered(carry_out, jobs, gpus=gpus), 1):
            print(f"{done} of {len(jobs)}: {jobs[index].name}, seed {jobs[index].seed}", flush=True)
    jobs = [one for labels in LABELS for cut in (False, True) for one in first + then
            if (one.labels, one.truncated) == (labels, cut)]  # fmt: skip
    table = measured(jobs)
    plot(table, picture)
    figures: dict[str, Any] = {
        "settings": asdict(replace(settings, seed=0)),
        "seconds": {f"{one.name}, seed {one.seed}": _seconds(one) for one in jobs},
        "songs": table.with_columns(pl.col("sdr", "mixture_sdr").round(4)).to_dicts(),
    }
    publish("separation", claims(table), figures, quick=arguments.quick)


if __name__ == "__main__":
    main()
