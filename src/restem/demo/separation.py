"""The second half of the demo: separators trained under given and under refined labels, measured on other songs.

    OUT/separation/given/       a separator trained on the stems in `compared/` under their given labels; its SDR is in
                                `result/`
    OUT/separation/refined/     the same with the refined labels
    OUT/separation/song.flac    a song that neither was trained on
    OUT/separated/              the stems that the separator with refined labels makes of it

Both separators have the same size, the same number of optimiser steps and the same random seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from restem import fitting
from restem.audio.reader import probe
from restem.audio.writer import write_blocks
from restem.dataset.mixdown import Sound, sum_blocks
from restem.dataset.table import Dataset
from restem.evaluation.separation import SONGS_FILE, read_evaluation
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.files import read_json
from restem.progress import Progress, polling, stage
from restem.runs.run import Run
from restem.separation.separator import load_separator
from restem.separation.songs import separate
from restem.separation.train import train
from restem.separation.train_settings import TrainSettings
from restem.separation.training_figures import TRAINING_FILE
from restem.separator_api import evaluate

# About three minutes on two cores. With a third of the labels wrong that is enough to tell which are better: with seed
# 0 refined labels were ahead by 1.31 dB (+0.89 to +1.72). benchmarks/separation.py takes longer, and three seeds.
STEPS = 300

_MEASURED = "result"


@dataclass(frozen=True)
class _Task:
    """A separator to train and to measure, in a form that can be sent to a worker process."""

    data: Dataset | Run
    folder: Path
    unheard: Dataset
    settings: TrainSettings
    cache: Path | None
    device: str


def compare_separators(
    noisy: Dataset,
    run: Run,
    unheard: Dataset,
    out: Path,
    *,
    seed: int,
    steps: int = STEPS,
    cache: Path | None = None,
    device: str = "cpu",
    executor: Executor = IN_THIS_PROCESS,
    progress: Progress | None = None,
) -> Mapping[str, pl.DataFrame]:
    """Trains two separators, measures both, and separates a song; what an earlier call has made is kept.

    noisy: the stems to train on, under their given labels. run: a refinement of them. unheard: other songs, with true
    labels. out: the folder of the demo. steps: optimiser steps of each training.

    Returns the labels trained on (`given`, `refined`) -> one row per song and class, see
    `restem.evaluation.separation`.
    """
    settings = TrainSettings(steps=steps, seed=seed, validation=0.0)
    folders = {name: out / "separation" / name for name in ("given", "refined")}
    sources: dict[str, Dataset | Run] = {"given": noisy, "refined": run}
    tasks = [_Task(sources[name], folder, unheard, settings, cache, device) for name, folder in folders.items()]
    report = stage(progress, "training two separators")
    with polling(lambda: report(sum(map(_steps_done, tasks)), steps * len(tasks))):
        for _ in executor.map_unordered(_train_and_measure, tasks, gpus=0 if device == "cpu" else 1):
            pass
    song = unheard.songs[0]
    mixture = out / "separation" / "song.flac"
    if not mixture.exists():
        files = [unheard.file(stem) for stem in unheard.stems if stem.song == song]
        sounds = [Sound(file, None, probe(file)) for file in files]
        # Half as loud, so that the sum of the stems fits.
        write_blocks(mixture, sum_blocks(sounds, 0.5), sounds[0].info.rate_hz, max(one.info.channels for one in sounds))
    separate(folders["refined"], [mixture], out / "separated", format="flac", depth="24", device=device)
    return {name: read_evaluation(folder / _MEASURED) for name, folder in folders.items()}


def _train_and_measure(task: _Task) -> None:
    train(task.data, task.folder, task.settings, cache=task.cache, device=task.device, devices=1, workers=1)
    measured = task.folder / _MEASURED
    if not (measured / SONGS_FILE).exists():
        evaluate(task.unheard, model=load_separator(task.folder), out=measured, device=task.device)


def _steps_done(task: _Task) -> int:
    """How many optimiser steps of a training are done; it may run in another process."""
    try:
        finished = read_json(task.folder / TRAINING_FILE)["finished"]
    except (OSError, ValueError, KeyError):
        finished = False
    return task.settings.steps if finished else fitting.steps_done(task.folder)
