"""What the benchmarks share: options, timing several sides in turn, audio to work on, and a table kept as JSON.

Every benchmark has a quick run, `--quick`: tiny data, rendered for it, and trainings of few steps. It shows that the
script works, in less than a minute; its figures mean nothing and are not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "shared" / "data"
PACKAGES = ("restem", "numpy", "scipy", "soundfile", "torch")
QUICK_SONG_SECONDS = 4.0


@dataclass(frozen=True)
class Times:
    """Seconds of every repeat of every side: on the wall, and of this process's own processor time."""

    wall: dict[str, list[float]]
    processor: dict[str, list[float]]


def time_in_turn(sides: Mapping[str, Callable[[], object]], repeats: int) -> Times:
    """Runs the sides `repeats` times, in turns, so that what slows the machine slows them all."""
    times = Times({name: [] for name in sides}, {name: [] for name in sides})
    for _ in range(repeats):
        for name, side in sides.items():
            wall, processor = time.perf_counter(), time.process_time()
            side()
            times.wall[name].append(time.perf_counter() - wall)
            times.processor[name].append(time.process_time() - processor)
    return times


def ratio(seconds: Mapping[str, Sequence[float]], slower: str, faster: str) -> float:
    """How many times as long one side takes as the other: the median over the repeats, each compared with its own."""
    return median(a / b for a, b in zip(seconds[slower], seconds[faster], strict=True))


def parse(parser: argparse.ArgumentParser, **quick: Any) -> argparse.Namespace:
    """The options from the command line, and `quick` among them: whether `--quick` was given.

    quick: the defaults that options have in a quick run.
    """
    only = argparse.ArgumentParser(add_help=False)
    for one in (only, parser):
        one.add_argument(
            "--quick",
            action="store_true",
            help="show that the script works, in less than a minute: tiny data, few steps, no figures kept",
        )
    if only.parse_known_args()[0].quick:
        parser.set_defaults(**quick)
    return parser.parse_args()


def song_folders(songs: int, aside: Path, *, quick: bool = False) -> list[Path]:
    """Folders with one audio file per class: the recordings beside the project, or else a band rendered to `aside`.

    quick: always render, songs of a few seconds.
    """
    from restem.synth.band import render_band

    if quick:
        return sorted(render_band(aside / "band", songs=songs, seconds=QUICK_SONG_SECONDS).iterdir())
    folders = sorted(folder for folder in (DATA / "band").glob("*") if folder.is_dir())[:songs]
    return folders or sorted(render_band(aside / "band", songs=songs).iterdir())


def split_songs(songs: Sequence[Path], work: Path) -> None:
    """Copies songs to `work`: three of four to `clean`, to train on, the others to `unheard`, to be measured on."""
    for number, song in enumerate(songs):
        folder = work / ("unheard" if number % 4 == 3 else "clean") / song.name
        if not folder.exists():
            shutil.copytree(song, folder)


def publish(
    name: str, claims: Sequence[tuple[str, str, str]], figures: Mapping[str, Any], *, quick: bool = False
) -> None:
    """Prints `claims` (what, measured, target) as a table and writes `figures` to `benchmarks/<name>.json`.

    quick: only print.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table("", "measured", "target", title=name, title_justify="left")
    for claim in claims:
        table.add_row(*claim)
    Console().print(table)
    if quick:
        return
    path = HERE / f"{name}.json"
    path.write_text(json.dumps({"figures": figures, "machine": machine()}, indent=2) + "\n", encoding="utf-8")
    print(f"The figures are in {path.relative_to(HERE.parent)}.")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows that were computed so far."""
    return json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []


def keep_row(path: Path, row: dict[str, Any], key: Callable[[dict[str, Any]], tuple[Any, ...]]) -> None:
    """Puts one row in the place of an earlier one of the same key; rows are sorted by it."""
    from restem.files import write_json

    rows = [*(one for one in read_rows(path) if key(one) != key(row)), row]
    write_json(path, {"rows": sorted(rows, key=key), "machine": machine()})


def machine() -> dict[str, Any]:
    """Where figures come from."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": round(_LOAD_BEFORE, 2),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def rounded(values: Sequence[float], digits: int = 3) -> list[float]:
    """The repeats as they are kept."""
    return [round(value, digits) for value in values]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# What others were doing on the machine when the script began; figures from a busy machine are not worth keeping.
_LOAD_BEFORE = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
