"""Separators side by side: the same songs, the same processor time to train, each at a small size.

    python benchmarks/separators.py --minutes 7                       # 5 models, 3 seeds: 105 minutes of a core
    python benchmarks/separators.py --minutes 3 7 20 --models band_split --seeds 1
    python benchmarks/separators.py --minutes 60 120 --models band_split htdemucs

Of 40 rendered songs, 10 are only measured on. On the clean stems of the other 30, each model is trained for the given
minutes of processor time, on one thread. The processor time of a step, with drawing its examples and all else, is
measured first, as the difference of two short trainings, and gives the number of steps. What the training then really
took is kept and drawn. Then the SDR on the 10 songs, the processor time to take a second of song apart, the number of
weights, and the largest resident memory of both, each in a process of its own.

Rows that are in `separators.json` are not computed again; a training that was interrupted goes on.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

import restem
from common import HERE, keep_row, parse, read_rows, song_folders, split_songs
from restem.evaluation.separation import read_evaluation
from restem.files import write_json
from restem.separation.streaming import separate_blocks
from restem.separation.train_settings import TrainSettings

JSON, PICTURE = HERE / "separators.json", HERE.parent / "docs" / "images" / "separators.png"
RATE_HZ = 44100
SONG_S = 20.0

# Examples of the same length. The peers' sizes are guesses at what learns most in minutes; they were not searched.
_ROFORMER = {"dim": 32, "depth": 2, "dim_head": 16, "heads": 2, "mask_estimator_depth": 1, "flash_attn": False}
_TRAINING = TrainSettings(segment_s=2.0, validation=0.0)
SETTINGS: Mapping[str, TrainSettings] = {
    "band_split": _TRAINING,
    "hdemucs": replace(_TRAINING, model="hdemucs", parameters={"channels": 12}, batch=4, learning_rate=1e-3),
    "htdemucs": replace(
        _TRAINING, model="htdemucs", batch=4, learning_rate=1e-3,
        parameters={"channels": 12, "bottom_channels": 96, "t_layers": 2, "t_heads": 4},
    ),
    "bs_roformer": replace(_TRAINING, model="bs_roformer", parameters=_ROFORMER, batch=4, learning_rate=1e-3),
    "mel_band_roformer": replace(
        _TRAINING, model="mel_band_roformer", parameters=_ROFORMER, batch=4, learning_rate=1e-3
    ),
}  # fmt: skip
QUICK = {
    "band_split": replace(
        _TRAINING, parameters={"n_fft": 512, "hop": 256, "bands": 8, "width": 4, "depth": 1}, batch=1
    ),
}

# Steps of the two trainings whose difference is what steps cost.
FEW, MORE = 2, 10

Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """A training for so many minutes of processor time, in a folder of its own."""

    work: Path
    settings: TrainSettings
    minutes: float

    @property
    def folder(self) -> Path:
        return self.work / "separators" / f"{self.settings.model}-{self.minutes:g}-{self.settings.seed}"

    @property
    def key(self) -> tuple[str, float, int]:
        return self.settings.model, self.minutes, self.settings.seed


def key_of(row: Mapping[str, Any]) -> tuple[str, float, int]:
    return row["model"], row["minutes"], row["seed"]


def in_a_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Calls a function in a new process, whose memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def train(job: Job, steps: int, folder: Path) -> dict[str, float]:
    """Trains for `steps`; returns the processor time in seconds, the number of weights, and memory in MiB.

    Of a training that was interrupted, the processor time is that of all its parts, kept in a file beside it.
    """
    spent = folder.with_name(f"{folder.name}.seconds")
    before = float(spent.read_text()) if spent.exists() else 0.0
    start = time.process_time()
    try:
        separator = restem.train(
            job.work / "clean", folder, replace(job.settings, steps=steps), cache=job.work / "cache", device="cpu",
            workers=1,
        )  # fmt: skip
    finally:
        spent.parent.mkdir(parents=True, exist_ok=True)
        spent.write_text(str(before + time.process_time() - start))
    weights = sum(one.numel() for one in separator.parameters())
    return {"processor_s": round(float(spent.read_text()), 1), "weights": weights, "training_mib": _peak_mib()}


def measure_step(job: Job) -> float:
    """The processor time of one step in seconds."""
    seconds = []
    for steps in (FEW, FEW, MORE):  # the first one also decodes the songs
        folder = job.work / "steps" / f"{job.settings.model}-{steps}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f"{folder.name}.seconds").unlink(missing_ok=True)
        seconds.append(train(job, steps, folder)["processor_s"])
    return max(1e-3, (seconds[2] - seconds[1]) / (MORE - FEW))


def kept_step(job: Job) -> float:
    """The processor time of one step, as it was first measured: a training that goes on has the same steps."""
    kept = job.work / "steps" / f"{job.settings.model}.json"
    if not kept.exists():
        write_json(kept, in_a_process(measure_step, job))
    return float(json.loads(kept.read_text()))


def measure(job: Job) -> dict[str, Any]:
    """The SDR of the songs that were not trained on, in dB, and what it takes to take a song apart."""
    result = job.folder.with_name(f"{job.folder.name}-result")
    separator = restem.load_separator(job.folder)
    restem.evaluate(job.work / "unheard", model=separator, out=result, device="cpu")
    table = read_evaluation(result)
    found: dict[str, Any] = {
        name: {
            class_name: round(float(np.mean(rows[name].drop_nulls().to_numpy())), 3)
            for (class_name,), rows in table.group_by("class", maintain_order=True)
        }
        for name in ("sdr", "mixture_sdr")
    }
    return {**found, "songs": {song: round(value, 3) for song, value in _by_song(table)}}


def _by_song(table: pl.DataFrame) -> list[tuple[str, float]]:
    groups = table.group_by("song", maintain_order=True)
    return [(str(song), float(np.mean(rows["sdr"].drop_nulls().to_numpy()))) for (song,), rows in groups]


def measure_separating(job: Job) -> dict[str, float]:
    """Processor time per second of song, and memory in MiB, on one thread; noise, since the sound does not matter."""
    import torch

    torch.set_num_threads(1)
    separator = restem.load_separator(job.folder)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, round(SONG_S * RATE_HZ))).astype(np.float32)
    seconds = []
    for _ in range(3):
        start = time.process_time()
        for _ in separate_blocks(separator, np.array_split(noise, 20, axis=1)):
            pass
        seconds.append(time.process_time() - start)
    return {"real_time_factor": round(min(seconds) / SONG_S, 4), "separating_mib": _peak_mib()}


def _peak_mib() -> float:
    """The largest resident memory of this process."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def carry_out(job: Job) -> dict[str, Any]:
    """The row of a job."""
    step_s = kept_step(job)
    steps = max(2, round(60.0 * job.minutes / step_s))
    settings = job.settings
    trained = in_a_process(train, job, steps, job.folder)
    return {
        "model": settings.model, "minutes": job.minutes, "seed": settings.seed, "steps": steps,
        "step_s": round(step_s, 4), "batch": settings.batch, "segment_s": settings.segment_s,
        "learning_rate": settings.learning_rate, "parameters": dict(settings.parameters), **trained,
        **measure(job), **in_a_process(measure_separating, job),
    }  # fmt: skip


def mean_sdr(row: Mapping[str, Any]) -> float:
    return float(np.mean(list(row["sdr"].values())))


def show(rows: list[dict[str, Any]]) -> None:
    """Prints a row per model and budget, means over seeds."""
    from rich.console import Console
    from rich.table import Table

    columns = ("model", "minutes", "used", "seeds", "steps", "SDR, dB", "thousand weights", "real time factor")
    table = Table(*columns, "MiB training", "separating")
    for model, minutes in sorted({(row["model"], row["minutes"]) for row in rows}, key=lambda key: (key[1], key[0])):
        mine = [row for row in rows if (row["model"], row["minutes"]) == (model, minutes)]
        table.add_row(
            model,
            f"{minutes:g}",
            f"{_mean(mine, 'processor_s') / 60:.1f}",
            str(len(mine)),
            f"{_mean(mine, 'steps'):,.0f}",
            f"{np.mean([mean_sdr(row) for row in mine]):.2f}",
            f"{_mean(mine, 'weights') / 1e3:,.0f}",
            f"{_mean(mine, 'real_time_factor'):.3f}",
            f"{_mean(mine, 'training_mib'):,.0f}",
            f"{_mean(mine, 'separating_mib'):,.0f}",
        )
    Console().print(table)


def _mean(rows: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """SDR against the processor time that the training took: a dot per row, a line through the means of a model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    for model in sorted({row["model"] for row in rows}, key=list(SETTINGS).index):
        mine = [row for row in rows if row["model"] == model]
        budgets = sorted({row["minutes"] for row in mine})
        groups = [[row for row in mine if row["minutes"] == minutes] for minutes in budgets]
        (line,) = axes.plot(
            [_mean(group, "processor_s") / 60 for group in groups],
            [float(np.mean([mean_sdr(row) for row in group])) for group in groups],
            "-o", markersize=6, label=model,
        )  # fmt: skip
        axes.plot(
            [row["processor_s"] / 60 for row in mine], [mean_sdr(row) for row in mine], "o", markersize=3, alpha=0.5,
            color=line.get_color(),
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(ticks := [1, 2, 5, 10, 20, 60], map(str, ticks))
    axes.minorticks_off()
    axes.set_xlabel("processor time of the training, minutes")
    axes.set_ylabel("SDR on unheard songs, dB")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[7.0], help="of processor time for each training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--models", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--songs", type=int, default=40, help="a quarter of them is measured on")
    parser.add_argument("--work", type=Path, default=Path("bench-out/separators"), help="where everything is kept")
    with tempfile.TemporaryDirectory() as aside:
        quick = {"minutes": [0.01], "seeds": [1], "models": list(QUICK), "songs": 4, "work": Path(aside)}
        arguments = parse(parser, **quick)
        table, picture = JSON, PICTURE
        if arguments.quick:
            table, picture = Path(aside) / JSON.name, Path(aside) / PICTURE.name
        split_songs(song_folders(arguments.songs, arguments.work, quick=arguments.quick), arguments.work)
        settings = QUICK if arguments.quick else SETTINGS
        # Short ones first, so that there is something to see early.
        for minutes in sorted(arguments.minutes):
            for seed in arguments.seeds:
                for model in arguments.models:
                    job = Job(arguments.work, replace(settings[model], seed=seed), minutes)
                    if job.key not in map(key_of, read_rows(table)):
                        keep_row(table, carry_out(job), key_of)
                        print(f"{model}, {minutes:g} minutes, seed {seed}: done", flush=True)
        rows = read_rows(table)
        plot(rows, picture)
        show(rows)


if __name__ == "__main__":
    main()
