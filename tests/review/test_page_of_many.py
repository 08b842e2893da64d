"""The review page of a run with so many stems that its list comes in parts, in a real Chromium."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from restem.runs.run import Run, open_run, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.taxonomy import Taxonomy

PATIENCE_S = 200.0  # the longest wait for what a loaded machine does in a second; below pytest's own limit

PAGE = Path(__file__).parents[2] / "src" / "restem" / "review" / "page"
SONGS = 5400
SECONDS = 4.0


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run of 21,600 stems in songs of four, all of them one file; each in a doubt of its own."""
    taxonomy, rng = Taxonomy(), np.random.default_rng(0)
    sound = tmp_path / "sound.wav"
    soundfile.write(sound, 0.1 * rng.standard_normal(round(SECONDS * 8000)), 8000, subtype="PCM_16")
    rows = []
    for number in range(SONGS):
        song = f"Song {number:04d}"
        (tmp_path / "songs" / song).mkdir(parents=True)
        for place, name in enumerate(taxonomy.classes):
            os.link(sound, tmp_path / "songs" / song / f"{name}.wav")
            changed = number % 10 == 3 and name == "bass"
            scores = [rng.uniform(0.5, 1.0) if other == place else 0.05 for other in range(len(taxonomy))]
            rows.append((
                song, f"{song}/{name}.wav", name, "drums+bass" if changed else name, "changed" if changed else "kept",
                float(rng.random()), *scores, SECONDS, SECONDS,
            ))  # fmt: skip
    labels = pl.DataFrame(rows, schema=labels_schema(taxonomy), orient="row")
    schema = segments_schema(taxonomy)
    whole = {"start_s": pl.lit(0.0), "end_s": pl.lit(3.0), "level_db": pl.lit(-20.0)}
    segments = labels.with_columns(**whole).select(*schema).cast(dict(schema))
    description = {"dataset": {"root": str(tmp_path / "songs"), "classes": list(taxonomy.classes), "aliases": {}}}
    return write_run(tmp_path / "run", taxonomy, labels, segments, description)


def wait_until(page: Any, expression: str) -> None:
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(30)


def wait_for_all(page: Any) -> None:
    """Until the last part of the list is there, after which the songs are offered."""
    wait_until(page, f"document.querySelectorAll('#song option').length === {SONGS + 1}")


def last_row(page: Any) -> int:
    """Scrolls to the end of the list, and returns the number of the stem whose row is there."""
    page.evaluate("{ const list = document.getElementById('list'); list.scrollTop = list.scrollHeight; null }")
    last = "document.querySelector('#rows > :last-child')"
    # There is no row for a moment, while the list is drawn.
    wait_until(page, f"{last} !== null && {last}.ariaPosInSet === {last}.ariaSetSize")
    assert page.evaluate("document.querySelectorAll('#rows > *').length") < 100
    box, row = (page.locator(place).bounding_box() for place in ("#list", "#rows > :last-child"))
    assert row["y"] + row["height"] <= box["y"] + box["height"] + 1  # it can be seen
    return int(page.evaluate(f"{last}.dataset.index"))


def texts(page: Any, index: int) -> tuple[str, str]:
    """The song and the stem of a row."""
    song = page.locator(f"#row-{index} .what small").text_content().removeprefix("drawn at random · ")
    return song, page.locator(f"#row-{index} .what b").text_content()


def test_a_list_in_parts(open_page: Callable, served: Any, run: Run) -> None:
    at_once = int(re.findall(r"STEMS_AT_ONCE = (\d+)", (PAGE / "main.js").read_text(encoding="utf-8"))[0])
    stems = len(run.labels)
    assert at_once < stems  # or this is no test
    queue = served.json(f"/api/stems?first=0&count={at_once}")["queue"]
    assert sorted(queue) == list(range(stems))
    page = open_page()
    wait_for_all(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/stems?" in request.url else None)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    wait_for_all(page)
    assert [re.findall(r"first=(\d+)", one)[0] for one in asked] == ["0", str(at_once)]
    assert page.locator("#count").text_content() == f"{stems:,} stems, the most doubtful first"

    # The last stem is in the last part, and its row holds what the run says.
    last = last_row(page)
    row = run.labels.row(last, named=True)
    assert last == queue[-1] and queue.index(last) >= at_once
    assert texts(page, last) == (row["song"], row["stem"].rpartition("/")[2])
    # Rows are in the order of the queue, on both sides of where the parts meet.
    page.evaluate(f"{{ document.getElementById('list').scrollTop = {at_once - 3} * 54; null }}")
    wait_until(page, f"document.getElementById('row-{queue[at_once]}') !== null")
    drawn = page.evaluate("[...document.querySelectorAll('#rows > *')].map((row) => Number(row.dataset.index))")
    place = queue.index(drawn[0])
    assert place < at_once < place + len(drawn) and drawn == queue[place : place + len(drawn)]

    # Filters pass stems of all parts, in the same order.
    page.select_option("#class", "bass")
    table = run.labels.with_row_index("row").filter(pl.col("given").eq("bass") | pl.col("refined").str.contains("bass"))
    passed = set(table["row"].to_list())
    expected = [index for index in queue if index in passed]
    assert page.locator("#count").text_content() == f"{SONGS:,} of {stems:,} stems"
    assert queue.index(expected[0]) < at_once <= queue.index(expected[-1])
    assert last_row(page) == expected[-1]
    page.select_option("#class", "")
    page.select_option("#song", label=row["song"])
    assert page.locator("#count").text_content() == f"4 of {stems:,} stems"
    page.select_option("#song", "")
    page.fill("#search", f"{row['song']} {row['stem'].rpartition('/')[2]}")
    assert page.locator("#count").text_content() == f"1 of {stems:,} stems"
    page.fill("#search", "")

    # A decision about the last stem is kept, and is there again when the page is.
    assert last_row(page) == last
    page.locator(f"#row-{last}").click()
    wait_until(page, "!document.body.ariaBusy")
    assert page.locator("#song-name").text_content() == row["song"]
    page.locator("#classes button").first.click()
    wait_until(page, f"!document.body.ariaBusy && document.querySelector('#row-{last}.done') !== null")
    (made,) = open_run(run.path).decisions
    labels = run.taxonomy.format({*run.taxonomy.parse(row["refined"]), run.taxonomy.classes[0]})
    labels = labels if row["refined"] != run.taxonomy.classes[0] else ""
    assert (made.stem, made.new) == (row["stem"], labels)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    wait_for_all(page)
    assert page.locator("#progress-text").text_content() == f"1 of {stems:,} decided"
    page.select_option("#state", "done")
    assert last_row(page) == last and page.locator("#rows > *").count() == 1
