"""How the cost of a refinement grows with hours of audio.

    python benchmarks/scaling.py [--hours 1 3 9] [--work DIR]

Generated songs of a minute, sources in wrong stems with probability 0.2, refined with defaults from an empty cache,
in one process. The ratio is that of the processor time that an hour of stems takes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import restem
from common import parse, publish
from restem.synth.band import render_band

STEMS = 4


def measure(hours: float, work: Path, song_seconds: float, steps: int | None) -> dict[str, Any]:
    songs = round(hours * 3600 / (song_seconds * STEMS))
    band = render_band(work / "band", songs=songs, seconds=song_seconds, seed=77)
    clean = restem.open_dataset(band)
    few = set(clean.songs[:songs])
    clean = restem.Dataset(clean.root, clean.layout, clean.taxonomy, tuple(s for s in clean.stems if s.song in few))
    noisy = restem.open_dataset(
        restem.corrupt(clean, work / f"noisy-{hours}", kind="regroup", rate=0.2, seed=1, workers=1)
    )
    wall, processor = time.monotonic(), time.process_time()
    run = restem.refine(noisy, work / f"run-{hours}", steps=steps, cache=work / f"cache-{hours}", workers=1)
    wall, processor = time.monotonic() - wall, time.process_time() - processor
    score = restem.score(run, work / f"noisy-{hours}" / "truth.csv").as_dict()
    found = float(run.labels["seconds"].sum()) / 3600
    return {
        "hours": round(found, 2),
        "stems": len(run.labels),
        "wall_s": round(wall, 1),
        "processor_s": round(processor, 1),
        "processor_s_an_hour": round(processor / found, 1),
        "stages": run.description["stages"],
        "label_accuracy": {"given": score["given"]["label_accuracy"], "refined": score["refined"]["label_accuracy"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, nargs="+", default=[1.0, 3.0, 9.0])
    parser.add_argument("--song-seconds", type=float, default=60.0)
    parser.add_argument("--steps", type=int, help="of each training; by default they follow from the amount of audio")
    parser.add_argument("--work", type=Path, help="keep everything here")
    arguments = parse(parser, hours=[0.02, 0.04], song_seconds=6.0, steps=2)
    with tempfile.TemporaryDirectory() as aside:
        work = arguments.work or Path(aside)
        sizes = [measure(hours, work, arguments.song_seconds, arguments.steps) for hours in sorted(arguments.hours)]
    claims = [
        (
            f"{one['hours']} h, {one['stems']} stems",
            f"{one['processor_s']} s, {one['processor_s_an_hour']} s an hour; "
            f"labels {one['label_accuracy']['given']:.3f} -> {one['label_accuracy']['refined']:.3f}",
            "",
        )
        for one in sizes
    ]
    growth = sizes[-1]["processor_s_an_hour"] / sizes[0]["processor_s_an_hour"]
    claims.append(("time an hour, largest / smallest", f"{growth:.2f}", "linear: about 1"))
    publish("scaling", claims, {"sizes": sizes}, quick=arguments.quick)


if __name__ == "__main__":
    main()
