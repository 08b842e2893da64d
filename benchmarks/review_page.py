"""How fast the review page is: 10,000 stems, in a headless Chromium, server and browser on the same cores.

    python benchmarks/review_page.py

From opening the page to its first rows, to the first stem with its pictures, to the first decision acknowledged; from
the key to sound; decisions a minute by a script that presses `a` as soon as it may; and the page's memory before and
after scrolling through the whole list. The stems are hard links to one file of 30 s.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import polars as pl
import soundfile

from browser import READY, chromium, served
from common import parse, publish, rounded
from restem.runs.run import open_run, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.taxonomy import Taxonomy

SECONDS = 30.0
RATE_HZ = 44100


def make_run(work: Path, stems: int) -> Path:
    """A run of so many stems, four in each song."""
    taxonomy = Taxonomy()
    rng = np.random.default_rng(0)
    sound = work / "sound.wav"
    soundfile.write(sound, 0.1 * rng.standard_normal((round(SECONDS * RATE_HZ), 2)), RATE_HZ, subtype="PCM_16")
    rows = []
    for song in range(stems // 4):
        folder = work / "songs" / f"Song {song:04d}"
        folder.mkdir(parents=True)
        for name in taxonomy.classes:
            os.link(sound, folder / f"{name}.wav")
            scores = rng.random(4)
            verdict = str(rng.choice(["kept", "changed", "unsure"], p=[0.7, 0.15, 0.15]))
            refined = "bass+other" if verdict == "changed" else name
            stem = f"{folder.name}/{name}.wav"
            rows.append((folder.name, stem, name, refined, verdict, float(rng.random()), *scores, SECONDS, SECONDS))
    labels = pl.DataFrame(rows, schema=labels_schema(taxonomy), orient="row")
    each = round(SECONDS) - 2
    start_s = np.tile(np.arange(each, dtype=float), len(rows))
    segments = pl.DataFrame(
        {
            "song": np.repeat(labels["song"].to_numpy(), each),
            "stem": np.repeat(labels["stem"].to_numpy(), each),
            "start_s": start_s,
            "end_s": start_s + 3,
            "level_db": np.full(len(start_s), -20.0),
            **{name: rng.random(len(start_s)) for name in taxonomy.classes},
        },
        schema_overrides=segments_schema(taxonomy),
    )
    description = {"dataset": {"root": str(work / "songs"), "classes": list(taxonomy.classes), "aliases": {}}}
    write_run(work / "run", taxonomy, labels, segments, description)
    return work / "run"


def until(page: Any, expression: str) -> None:
    while not page.evaluate(expression):
        page.wait_for_timeout(2)


def opened(browser: Any, address: str) -> tuple[Any, dict[str, float]]:
    """A page, and what opening it took in seconds."""
    page = browser.new_page(viewport={"width": 1360, "height": 860})
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#rows .row")
    rows_s = time.perf_counter() - start
    page.wait_for_selector(READY)
    page.keyboard.press("a")
    until(page, "document.getElementById('progress').value > 0 && !document.body.ariaBusy")
    decided_s = time.perf_counter() - start
    page.keyboard.press("z")
    until(page, "!document.body.ariaBusy")
    return page, {"rows": rows_s, "decided": decided_s}


def heap_mb(page: Any) -> float:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6


def measure(work: Path, stems: int, repeats: int, decisions: int) -> dict[str, Any]:
    run = make_run(work, stems)
    times: dict[str, list[float]] = {"rows": [], "decided": [], "sound": []}
    with served(run, work / "cache") as address, chromium() as browser:
        for _ in range(repeats):
            page, took = opened(browser, address)
            for name, seconds in took.items():
                times[name].append(seconds)
            page.wait_for_timeout(500)
            times["sound"].append(sound_s(page))
            page.close()
        page, _ = opened(browser, address)
        heap = [heap_mb(page)]
        page.evaluate(
            """async () => {
                const list = document.getElementById("list");
                for (let top = 0; top < list.scrollHeight; top += 5000) {
                    list.scrollTop = top;
                    await new Promise(requestAnimationFrame);
                }
            }"""
        )
        heap.append(heap_mb(page))
        elements = page.evaluate("document.querySelectorAll('#rows .row').length")
        before = len(open_run(run).decisions)
        start = time.perf_counter()
        for _ in range(decisions):
            page.keyboard.press("a")
            until(page, "!document.body.ariaBusy")
        minutes = (time.perf_counter() - start) / 60
        assert len(open_run(run).decisions) - before == decisions
    return {**times, "heap_mb": heap, "row_elements": elements, "decisions_per_minute": decisions / minutes}


def sound_s(page: Any) -> float:
    """Seconds from the key to the position moving."""
    return float(
        page.evaluate(
            """() => new Promise(done => {
                const plot = document.getElementById("plot"), from = plot.ariaValueNow, start = performance.now();
                document.body.dispatchEvent(new KeyboardEvent("keydown", { key: " ", bubbles: true }));
                const look = () => plot.ariaValueNow !== from ? done((performance.now() - start) / 1000)
                    : requestAnimationFrame(look);
                look();
            })"""
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stems", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5, help="how often the page is opened")
    parser.add_argument("--decisions", type=int, default=60, help="how many the script takes")
    options = parse(parser, stems=40, repeats=1, decisions=3)
    with tempfile.TemporaryDirectory() as work:
        found = measure(Path(work), options.stems, options.repeats, options.decisions)
    claims = [
        ("from opening to the first rows", f"{median(found['rows']):.2f} s", "< 1 s"),
        ("from opening to the first decision on disk", f"{median(found['decided']):.2f} s", ""),
        (
            "from the key to the position moving by 0.1 s",
            f"{1000 * median(found['sound']):.0f} ms",
            "< 200 ms + 100 ms",
        ),
        ("decisions a minute, by a script", f"{found['decisions_per_minute']:.0f}", ""),
        (
            "memory of the page, before and after scrolling",
            "  ".join(f"{mb:.1f} MB" for mb in found["heap_mb"]),
            "flat",
        ),
        (f"rows in the page, of {options.stems:,}", str(found["row_elements"]), ""),
    ]
    kept = {name: rounded(value) if isinstance(value, list) else value for name, value in found.items()}
    publish("review_page", claims, kept, quick=options.quick)


if __name__ == "__main__":
    main()
