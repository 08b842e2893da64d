"""The demo: the whole method on a generated band whose truth is known.

    OUT/band/       the clean stems, rendered
    OUT/noisy/      the same, regrouped: some sources lie in wrong stems; truth.csv
    OUT/run/        what `restem refine` found
    OUT/refined/    the refined dataset, as `restem export` makes it
    OUT/compared/   songs nobody trained on, and classifiers trained on the noisy and on the clean labels
    OUT/demo.json   the numbers

and, when separators are asked for, what `demo_separation` makes.

Each step is what a user would call; the last one is the comparison that only a known truth allows.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from restem.api import refine, score
from restem.audio.store import Store, default_cache
from restem.dataset.corrupt import corrupt
from restem.dataset.layouts import open_dataset
from restem.dataset.table import Dataset
from restem.dataset.truth import read_truth
from restem.demo.reference import mixture_accuracy, train_on_labels
from restem.demo.separation import compare_separators
from restem.devices import choose_device
from restem.errors import DatasetError
from restem.evaluation.labels import LabelScore
from restem.executing.processes import Processes
from restem.files import write_json
from restem.labelling.settings import RefineSettings
from restem.progress import Progress, stage
from restem.runs.export import export
from restem.runs.run import CLASSIFIER_FOLDER, Run
from restem.synth.band import render_band

SONG_SECONDS = 16.0
REGROUP_RATE = 0.25
HELD_OUT_SONGS = 12


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo measured.

    mixtures: training labels -> accuracy on mixtures of songs never heard. separators: training labels -> one row a
    song never heard and class, where separators were asked for; else nothing.
    """

    out: Path
    run: Run
    labels: LabelScore
    mixtures: Mapping[str, float]
    separators: Mapping[str, pl.DataFrame]
    seconds: float


def run_demo(
    out: Path,
    *,
    songs: int = 24,
    seed: int = 0,
    separate: bool = False,
    device: str = "auto",
    workers: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> DemoResult:
    """Renders, corrupts, refines, scores, exports and compares; what is there from an earlier call is kept.

    separate: also train separators under given and refined labels, measure them, and take a song apart.

    Raises DatasetError for fewer than 4 songs, RunError when `out` is from a demo with other settings.
    """
    if songs < 4:
        raise DatasetError("The demo needs at least 4 songs.")
    start = time.monotonic()
    executor = Processes.of(workers)
    device = choose_device(device)

    def render(folder: str, count: int, band_seed: int) -> Dataset:
        report = stage(progress, f"rendering {folder}")
        rendered = render_band(
            out / folder, songs=count, seconds=SONG_SECONDS, seed=band_seed, workers=workers, progress=report
        )
        return open_dataset(rendered)

    band = render("band", songs, seed)
    noisy_folder = out / "noisy"
    corrupt(
        band,
        noisy_folder,
        kind="regroup",
        rate=REGROUP_RATE,
        seed=seed,
        workers=workers,
        progress=progress,
    )
    noisy = open_dataset(noisy_folder)
    run = refine(noisy, out / "run", seed=seed, cache=cache, device=device, workers=workers, progress=progress)
    labels = score(run, noisy_folder / "truth.csv")
    if not (out / "refined").exists():
        export(run, out / "refined")

    unheard = render("compared/songs", HELD_OUT_SONGS, seed + 1)
    settings = RefineSettings(seed=seed)
    store = Store(cache or default_cache(), settings.mel)
    truth = read_truth(noisy_folder / "truth.csv", noisy.taxonomy)
    true_labels = {stem: noisy.taxonomy.parse(true) for stem, true in truth.select("stem", "true").iter_rows()}
    folders = {"noisy": out / "compared" / "noisy", "clean": out / "compared" / "clean"}
    report = stage(progress, "training on noisy and on clean labels, to compare")
    report(0, 1)
    train_on_labels(
        [(noisy, folders["noisy"]), (noisy.with_labels(true_labels), folders["clean"])],
        settings,
        store,
        device=device,
        executor=executor,
    )
    report(1, 1)
    folders = {"noisy": folders["noisy"], "refined": run.path / CLASSIFIER_FOLDER, "clean": folders["clean"]}
    mixtures = {
        name: mixture_accuracy(folder, unheard, settings, store, executor=executor) for name, folder in folders.items()
    }
    separators: Mapping[str, pl.DataFrame] = {}
    if separate:
        separators = compare_separators(
            noisy, run, unheard, out, seed=seed, cache=cache, device=device, executor=executor, progress=progress
        )
    result = DemoResult(out, run, labels, mixtures, separators, time.monotonic() - start)
    numbers = {
        "labels": labels.as_dict(),
        "mixtures": dict(mixtures),
        "separators": {name: table["sdr"].mean() for name, table in separators.items()},
        "seconds": round(result.seconds, 1),
    }
    write_json(out / "demo.json", {**numbers, "settings": asdict(settings)})
    return result
