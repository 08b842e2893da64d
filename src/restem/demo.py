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
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from restem.api import refine, score
from restem.audio.store import Store, default_cache
from restem.dataset.corrupt import corrupt
from restem.dataset.export import export
from restem.dataset.layouts import open_dataset
from restem.dataset.run import CLASSIFIER_FOLDER, REPORT_FILE, Run
from restem.dataset.table import Dataset
from restem.dataset.truth import read_truth
from restem.demo_separation import compare_separators, print_separators
from restem.devices import choose_device
from restem.errors import DatasetError
from restem.evaluation.labels import LabelScore, print_score
from restem.evaluation.summary import print_summary
from restem.files import write_json
from restem.labelling.reference import mixture_accuracy, train_on_labels
from restem.labelling.refining import Progress, RefineSettings
from restem.parallel import available_workers
from restem.synth.band import render_band

SONG_SECONDS = 16.0
REGROUP_RATE = 0.25
HELD_OUT_SONGS = 12


@dataclass(frozen=True)
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
    workers = workers or available_workers()
    device = choose_device(device)

    def stage(name: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(name, done, total) if progress is not None else None

    def render(folder: str, count: int, band_seed: int) -> Dataset:
        report = stage(f"rendering {folder}")
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
        progress=stage("corrupting"),
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
    report = stage("training on noisy and on clean labels, to compare")
    report(0, 1)
    train_on_labels(
        [(noisy, folders["noisy"]), (noisy.with_labels(true_labels), folders["clean"])],
        settings,
        store,
        device=device,
        workers=workers,
    )
    report(1, 1)
    folders = {"noisy": folders["noisy"], "refined": run.path / CLASSIFIER_FOLDER, "clean": folders["clean"]}
    mixtures = {
        name: mixture_accuracy(folder, unheard, settings, store, workers=workers) for name, folder in folders.items()
    }
    separators: Mapping[str, pl.DataFrame] = {}
    if separate:
        separators = compare_separators(
            noisy, run, unheard, out, seed=seed, cache=cache, device=device, workers=workers, progress=progress
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


def print_demo(result: DemoResult, console: Console) -> None:
    """Prints what was found, how right it is, and where to look next."""
    print_summary(result.run, console)
    print_score(result.labels, console)
    table = Table(title="\nA classifier on songs it never heard", title_justify="left", box=None)
    table.add_column("trained on")
    table.add_column("accuracy on mixtures", justify="right")
    for name, accuracy in result.mixtures.items():
        table.add_row(f"{name} labels", f"{accuracy:.3f}")
    console.print(table)
    if result.separators:
        console.print()
        print_separators(result.separators, console)
        console.print(f"\nA song taken apart: {result.out / 'separated'}", markup=False, soft_wrap=True)
    report = result.run.path / REPORT_FILE
    console.print(
        f"\nThe refined dataset is in {result.out / 'refined'}, done in {result.seconds:.0f} s.", markup=False
    )
    console.print(f"Open the report: {report.resolve()}", markup=False, soft_wrap=True)
