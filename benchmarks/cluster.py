"""What a Ray cluster costs against worker processes, on the same work; and what 25,000 hours of stems cost.

    python benchmarks/cluster.py

Both sides work on this machine: joblib with as many processes as cores, and `--ray local`. Overhead is the time of
calls that do nothing, one at a time and in chunks of 20. The store is filled from the same files with both. What is
compared has run once before, so that the time to start is not in it; it is said beside it.

For the cost, each stage of a refinement and of an audit is done by this process alone, with one thread, and the
processor time it takes is divided by the duration of the stems.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from common import parse, publish, ratio, rounded, song_folders, time_in_turn
from restem.audio.store import Store
from restem.auditing.audit import audit_dataset
from restem.dataset.layouts import open_dataset
from restem.dataset.scan import scan
from restem.dataset.table import Dataset
from restem.executing.choosing import executor_for
from restem.executing.interface import Executor
from restem.executing.processes import IN_THIS_PROCESS, Processes
from restem.labelling.features import load_features
from restem.labelling.pretrained import FOLDER as PRETRAINED_FOLDER
from restem.labelling.scoring import ScoringTask, embed_segments, score_segments
from restem.labelling.settings import RefineSettings

ARCHIVE_HOURS = 25_000.0
CHUNK = 20
# Of a core of a general-purpose machine in a cloud, on demand, and of one that may be taken away: round figures.
DOLLARS_PER_CORE_HOUR = (0.04, 0.015)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--songs", type=int, default=28, help="songs of four stems, about 20 s each")
    parser.add_argument("--items", type=int, default=4000, help="calls that do nothing, in chunks; a tenth one by one")
    parser.add_argument("--repeats", type=int, default=3)
    options = parse(parser, songs=1, items=200, repeats=1)
    with tempfile.TemporaryDirectory() as folder:
        songs = song_folders(options.songs, Path(folder), quick=options.quick)
        dataset = open_dataset(gathered(songs, Path(folder) / "songs"))
        torch.set_num_threads(1)
        costs = stage_costs(dataset, Path(folder))
        compare(dataset, Path(folder), options.items, options.repeats, costs, options.quick)


def gathered(songs: list[Path], folder: Path) -> Path:
    """A folder of links to the songs."""
    folder.mkdir()
    for song in songs:
        (folder / song.name).symlink_to(song.resolve())
    return folder


def compare(dataset: Dataset, folder: Path, items: int, repeats: int, costs: dict[str, float], quick: bool) -> None:
    sources = [(dataset.file(stem), stem.stream or 0) for stem in dataset.stems]
    number = count()
    start_s: dict[str, float] = {}
    executors: dict[str, Executor] = {}
    for name, ray in (("joblib", None), ("ray", "local")):
        began = time.perf_counter()
        executors[name] = executor_for(None, ray)
        list(executors[name].map_unordered(len, ["a", "b", "c", "d"]))
        start_s[name] = time.perf_counter() - began

    def calls(name: str, chunk: int) -> Callable[[], object]:
        some = [""] * (items if chunk > 1 else items // 10)
        return lambda: sum(1 for _ in executors[name].map_unordered(len, some, chunk=chunk))

    def fill(name: str) -> Callable[[], None]:
        def side() -> None:
            assert not Store(folder / f"store{next(number)}").fill(sources, executors[name])

        return side

    sides: dict[str, Callable[[], object]] = {}
    for name in executors:
        sides |= {f"{name}_one": calls(name, 1), f"{name}_chunks": calls(name, CHUNK), f"{name}_fill": fill(name)}
        fill(name)()  # workers import what they need
    wall = time_in_turn(sides, repeats).wall

    def overhead_ms(name: str) -> float:
        return 1000.0 * median(wall[name]) / (items if name.endswith("chunks") else items // 10)

    hours = sum(costs.values()) * ARCHIVE_HOURS / 3600.0
    publish(
        "cluster",
        [
            ("to start: joblib, Ray", f"{start_s['joblib']:.1f} s, {start_s['ray']:.1f} s", ""),
            ("a call one by one: joblib", f"{overhead_ms('joblib_one'):.2f} ms", ""),
            ("a call one by one: Ray", f"{overhead_ms('ray_one'):.2f} ms", ""),
            (f"in chunks of {CHUNK}: joblib", f"{overhead_ms('joblib_chunks'):.3f} ms", ""),
            (f"in chunks of {CHUNK}: Ray", f"{overhead_ms('ray_chunks'):.3f} ms", "about 0.05 ms"),
            ("store filled: Ray / joblib", f"{ratio(wall, 'ray_fill', 'joblib_fill'):.2f}", ""),
            *((f"{name}, processor time an hour of stems", f"{value:.2f} s", "") for name, value in costs.items()),
            (f"all of it for {ARCHIVE_HOURS:,.0f} h", f"{hours:,.0f} core-hours", ""),
            *((f"at ${price} a core-hour", f"${hours * price:,.0f}", "") for price in DOLLARS_PER_CORE_HOUR),
        ],
        {
            "workers": Processes().workers,
            "stems": len(sources),
            "items": items,
            "seconds": {name: rounded(values, 4) for name, values in wall.items()},
            "start_s": {name: round(value, 2) for name, value in start_s.items()},
            "overhead_ms": {name: round(overhead_ms(name), 4) for name in wall if not name.endswith("fill")},
            "fill_ray_of_joblib": round(ratio(wall, "ray_fill", "joblib_fill"), 3),
            "processor_s_per_hour": {name: round(value, 3) for name, value in costs.items()},
            "archive_core_hours": round(hours, 1),
        },
        quick=quick,
    )  # fmt: skip


def stage_costs(dataset: Dataset, folder: Path) -> dict[str, float]:
    """Processor seconds an hour of stems, of the stages whose work grows with the audio."""
    settings = RefineSettings()
    found: dict[str, Any] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        found[name] = time.process_time() - began
        return result

    table = timed("scan", lambda: scan(dataset, workers=1))
    hours = float(table["seconds"].sum()) / 3600.0
    timed("audit", lambda: audit_dataset(dataset, folder / "audit", workers=1))
    store = Store(folder / "cache", settings.mel)
    sources = [(dataset.file(stem), stem.stream or 0) for stem in dataset.stems]
    timed("features", lambda: store.fill(sources, IN_THIS_PROCESS))
    features = load_features(
        dataset, store, settings.mixing.segment_s, settings.hop_s, IN_THIS_PROCESS, lambda *_: None
    )
    segments = features.segments
    active = np.flatnonzero(segments.active)
    task = ScoringTask(
        PRETRAINED_FOLDER, features.stems, segments.stem[active], segments.start[active], features.length,
        dataset.taxonomy.classes,
    )  # fmt: skip
    # By default each stem is embedded once, and scored twice: by the pretrained classifier, and by that of its fold.
    timed("embedding", lambda: embed_segments(task))
    timed("scoring, twice", lambda: [score_segments(task) for _ in range(2)])
    return {name: seconds / hours for name, seconds in found.items()}


if __name__ == "__main__":
    main()
