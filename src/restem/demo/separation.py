"""The demo's second half: what refining is worth to a separator, on songs that none of it has heard.

    OUT/separation/given/, refined/   separators trained on the noisy stems, under the given and the refined labels, and
                                      what was measured with them, in `result/`
    OUT/separation/mixture.flac       an unheard song
    OUT/separated/                    the same, taken apart by the separator that learned from the refined labels

Both separators have the same size, the same number of steps and the same seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from restem import fitting
from restem.api import evaluate
from restem.audio.reader import probe
from restem.audio.writer import write_blocks
from restem.dataset.mixdown import Sound, sum_blocks
from restem.dataset.table import Dataset
from restem.evaluation.separation import SONGS_FILE, read_evaluation
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS
from restem.progress import Progress, polling
from restem.runs.run import Run
from restem.separation.separator import load_separator
from restem.separation.songs import separate
from restem.separation.train import TRAINING_FILE, TrainSettings, train

# About three minutes on two cores: enough to hear sources apart, not to settle which labels are worth more. With seed 0
# refined labels were ahead by 0.15 dB (-0.12 to +0.41); benchmarks/separation.py settles it.
STEPS = 300

_MEASURED = "result"


@dataclass(frozen=True)
class _Task:
    """A separator to be trained and measured, in a form that can be sent to a worker process."""

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
    """Trains, measures and takes a song apart; what is there from an earlier call is kept.

    unheard: songs with true labels. out: the folder of the demo. Returns labels (`given`, `refined`) -> one row a song
    and class, see `evaluation.separation`.
    """
    settings = TrainSettings(steps=steps, seed=seed, validation=0.0)
    folders = {name: out / "separation" / name for name in ("given", "refined")}
    sources: dict[str, Dataset | Run] = {"given": noisy, "refined": run}
    tasks = [_Task(sources[name], folder, unheard, settings, cache, device) for name, folder in folders.items()]

    def report() -> None:
        if progress is not None:
            progress("training two separators", sum(map(_steps_done, tasks)), steps * len(tasks))

    with polling(report):
        for _ in executor.map_unordered(_train_and_measure, tasks, gpus=0 if device == "cpu" else 1):
            pass
    song = unheard.songs[0]
    mixture = out / "separation" / "mixture.flac"
    if not mixture.exists():
        files = [unheard.file(stem) for stem in unheard.stems if stem.song == song]
        sounds = [Sound(file, None, probe(file)) for file in files]
        # Half as loud, so that the sum of the stems fits.
        write_blocks(mixture, sum_blocks(sounds, 0.5), sounds[0].info.rate_hz, max(one.info.channels for one in sounds))
    separate(folders["refined"], [mixture], out / "separated", format="flac", depth="24", device=device)
    return {name: read_evaluation(folder / _MEASURED) for name, folder in folders.items()}


def _train_and_measure(task: _Task) -> None:
    train(task.data, task.folder, task.settings, cache=task.cache, device=task.device, workers=1)
    measured = task.folder / _MEASURED
    if not (measured / SONGS_FILE).exists():
        evaluate(task.unheard, model=load_separator(task.folder), out=measured, device=task.device)


def _steps_done(task: _Task) -> int:
    """How far a training has come, for a progress bar in another process."""
    try:
        finished = json.loads((task.folder / TRAINING_FILE).read_text(encoding="utf-8"))["finished"]
    except (OSError, ValueError, KeyError):
        finished = False
    return task.settings.steps if finished else fitting.steps_done(task.folder)
