"""The demo: the whole method on a generated band whose truth is known.

    OUT/band/               the clean stems, rendered
    OUT/noisy/              the same songs with some sources in wrong stems, and the truth about them in truth.csv
    OUT/run/                the run that `restem refine` leaves
    OUT/refined/            the refined dataset that `restem export` makes of it
    OUT/compared/stems/     the clean stems again, many of them under another class's label, to see what that costs
    OUT/compared/run/       the refinement of these
    OUT/compared/songs/     songs that no classifier was trained on
    OUT/compared/noisy/     a classifier trained on the wrong labels of `stems`
    OUT/compared/clean/     a classifier trained on the true labels of the same stems
    OUT/demo.json           the figures

With separators, also the folders that `restem.demo.separation` describes. Every step is one that users can take with
their own data, except for the comparison with classifiers trained on the true labels.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from restem.api import refine, score
from restem.audio.cache_folder import default_cache
from restem.audio.store import Store
from restem.dataset.corrupt import corrupt
from restem.dataset.layouts import open_dataset
from restem.dataset.noise import Kind
from restem.dataset.table import Dataset
from restem.dataset.truth import TRUTH_FILE
from restem.demo.reference import mixture_accuracy, train_on_labels, with_true_labels
from restem.demo.separation import STEPS, compare_separators
from restem.devices import choose_device
from restem.errors import DatasetError
from restem.evaluation.labels import LabelScore
from restem.executing.processes import Processes
from restem.files import read_json, write_json
from restem.labelling.settings import RefineSettings
from restem.progress import Progress, stage
from restem.runs.export import export
from restem.runs.run import CLASSIFIER_FOLDER, Run
from restem.synth.band import render_band

FIGURES_FILE = "demo.json"

SONG_SECONDS = 16.0
REGROUP_RATE = 0.25
HELD_OUT_SONGS = 12

# For the comparison: with few wrong labels, accuracies on mixtures differ by less than their error.
SWAP_RATE = 0.4


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo measured.

    labels: the given and the refined labels against the truth. swapped: the same for the stems of the comparison.
    mixtures: the labels that a classifier was trained on
    (`noisy`, `refined`, `clean`) -> its accuracy on mixtures of songs that it was not trained on. separators: the
    labels that a separator was trained on (`given`, `refined`) -> one row per song and class, empty where none were
    asked for. seconds: what this call took.
    """

    out: Path
    run: Run
    labels: LabelScore
    swapped: LabelScore
    mixtures: Mapping[str, float]
    separators: Mapping[str, pl.DataFrame]
    seconds: float


def run_demo(
    out: Path,
    *,
    songs: int = 24,
    seed: int = 0,
    separate: bool = False,
    song_seconds: float = SONG_SECONDS,
    held_out_songs: int = HELD_OUT_SONGS,
    steps: int | None = None,
    device: str = "auto",
    workers: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Renders a band, mixes up its stems, refines, scores and exports the labels, and compares classifiers.

    What an earlier call with the same arguments has made is kept. songs, song_seconds: how many songs are rendered to
    be refined, and the length of each. seed: random seed of the songs, of what is mixed up, and of the trainings.
    separate: also train separators under given and refined labels, measure them, and separate a song.
    held_out_songs: songs that are only measured on. steps: optimiser steps of every training; by default a
    classifier's follow from the amount of audio, and a separator's are `restem.demo.separation.STEPS`. device: `auto`,
    `cpu`, `cuda` or `mps`. workers: processes, by default the cores available. cache: the folder of the feature store.

    Raises DatasetError for fewer than 4 songs, RunError when `out` is from a demo with other settings.
    """
    if songs < 4:
        raise DatasetError("The demo needs at least 4 songs.")
    start = time.monotonic()
    executor = Processes.of(workers)
    device = choose_device(device)

    def render(folder: str, count: int, band_seed: int) -> Dataset:
        report = stage(progress, f"rendering {folder}")
        return open_dataset(
            render_band(
                out / folder, songs=count, seconds=song_seconds, seed=band_seed, workers=workers, progress=report
            )
        )

    band = render("band", songs, seed)

    def refined(folder: str, run_folder: str, kind: Kind, rate: float) -> tuple[Dataset, Run, LabelScore]:
        """A noisy copy of the band, its refinement, and how right that is."""
        noisy = open_dataset(
            corrupt(band, out / folder, kind=kind, rate=rate, seed=seed, workers=workers, progress=progress)
        )
        run = refine(
            noisy, out / run_folder, steps=steps, seed=seed, cache=cache, device=device, workers=workers,
            progress=progress,
        )  # fmt: skip
        return noisy, run, score(run, noisy.root / TRUTH_FILE)

    _, run, labels = refined("noisy", "run", "regroup", REGROUP_RATE)
    if not (out / "refined").exists():
        export(run, out / "refined")

    noisy, run_of_noisy, swapped = refined("compared/stems", "compared/run", "swap", SWAP_RATE)
    unheard = render("compared/songs", held_out_songs, seed + 1)
    settings = RefineSettings(seed=seed, steps=steps)
    store = Store(cache or default_cache(), settings.mel)
    classifiers = {
        "noisy": out / "compared" / "noisy",
        "refined": run_of_noisy.path / CLASSIFIER_FOLDER,
        "clean": out / "compared" / "clean",
    }
    train_on_labels(
        [(noisy, classifiers["noisy"]), (with_true_labels(noisy, noisy.root / TRUTH_FILE), classifiers["clean"])],
        settings,
        store,
        device=device,
        executor=executor,
        progress=stage(progress, "training on noisy and on clean labels, to compare"),
    )
    mixtures = {
        name: mixture_accuracy(folder, unheard, settings, store, executor=executor)
        for name, folder in classifiers.items()
    }
    separators: Mapping[str, pl.DataFrame] = {}
    if separate:
        separators = compare_separators(
            noisy, run_of_noisy, unheard, out, seed=seed, steps=steps or STEPS, cache=cache, device=device,
            executor=executor, progress=progress,
        )  # fmt: skip
    result = DemoResult(out, run, labels, swapped, mixtures, separators, time.monotonic() - start)
    _write_figures(result, settings)
    return result


def _write_figures(result: DemoResult, settings: RefineSettings) -> None:
    """Writes `demo.json`, unless it is there and differs in nothing but the seconds, which are those of the work."""
    figures = {
        "labels": result.labels.as_dict(),
        "swapped": result.swapped.as_dict(),
        "mixtures": dict(result.mixtures),
        "separators": {name: table["sdr"].mean() for name, table in result.separators.items()},
        "seconds": round(result.seconds, 1),
        "settings": asdict(settings),
    }
    path = result.out / FIGURES_FILE
    kept: dict[str, Any] = {}
    with suppress(OSError, ValueError):
        kept = read_json(path)
    # As JSON has it, where tuples are lists.
    if {**kept, "seconds": None} != json.loads(json.dumps({**figures, "seconds": None})):
        write_json(path, figures)
