"""The review page in a real Chromium: heard, decided, found again."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from restem.runs.run import Run, export_decisions, open_run

PATIENCE_S = 200.0  # the longest wait for what a loaded machine does in a second; below pytest's own limit


def wait_until(page: Any, expression: str) -> None:
    """Waits until a JavaScript expression is true. (Playwright's own wait needs what the page's policy forbids.)"""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(30)


def play_slowly(page: Any) -> None:
    """At a fifth of the speed, sounds go on little between two looks at them, on a slow machine too."""
    page.evaluate(
        "{ const play = HTMLMediaElement.prototype.play;"
        "HTMLMediaElement.prototype.play = function () { this.playbackRate = 0.2; return play.call(this); }; null }"
    )


def now(page: Any) -> str:
    return page.locator("#now").text_content()


def pressed(page: Any) -> list[str]:
    return page.locator("#classes [aria-pressed=true] b").all_text_contents()


def press(page: Any, *keys: str) -> None:
    """Presses keys, and waits for what they sent to be answered."""
    for key in keys:
        page.keyboard.press(key)
        wait_until(page, "!document.body.ariaBusy")


def title(page: Any) -> str:
    return f"{page.locator('#song-name').text_content()}/{page.locator('#stem-name').text_content()}"


def rows(page: Any) -> list[str]:
    return page.locator("#rows [role=option] .what b").all_text_contents()


def test_the_most_doubtful_comes_first(open_page: Callable) -> None:
    page = open_page()
    assert rows(page)[:3] == ["other.wav"] * 3
    assert title(page) == "Song 1/other.wav"
    assert page.locator("#count").text_content() == "12 stems, the most doubtful first"
    assert page.locator("#progress-text").text_content() == "0 of 12 decided"


def test_playing_moves_the_position_and_loops(open_page: Callable) -> None:
    page = open_page()
    play_slowly(page)
    begin = float(page.locator("#from").input_value())
    assert page.evaluate("document.querySelector('#play span').textContent") == "Play"
    page.keyboard.press("Space")
    wait_until(page, f"parseFloat(document.querySelector('#plot').ariaValueNow) > {begin} + 0.3")
    page.keyboard.press("Space")
    stopped = page.locator("#clock").text_content()
    page.wait_for_timeout(1000)
    assert page.locator("#clock").text_content() == stopped
    page.keyboard.press("ArrowRight")
    wait_until(page, f"document.querySelector('#clock').value !== '{stopped}'")
    # From just before the end of the loop it goes on at its beginning.
    page.fill("#to", "2.5")
    page.fill("#from", "1.0")
    page.locator("#from").press("Tab")
    page.evaluate("document.activeElement.blur()")
    box = page.locator("#plot").bounding_box()
    page.mouse.click(box["x"] + 76 + (box["width"] - 76) * 2.3 / 6, box["y"] + 30)
    page.keyboard.press("Space")
    wait_until(page, "parseFloat(document.querySelector('#plot').ariaValueNow) < 1.5")


def test_labels_change_by_key_and_are_there_after_reloading(open_page: Callable, run: Run) -> None:
    page = open_page()
    press(page, "1")
    assert now(page) == "vocals+other" and pressed(page) == ["vocals", "other"]
    assert page.locator("#badge").text_content() == "changed"
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.locator("#rows .row.done").click()
    wait_until(page, "!document.body.ariaBusy")
    assert now(page) == "vocals+other"
    row = open_run(run.path).labels.row(by_predicate=pl.col("stem") == "Song 1/other.wav", named=True)
    assert (row["refined"], row["verdict"], row["quality"]) == ("vocals+other", "changed", 0.0)


def test_accepting_goes_on_and_undoing_comes_back(open_page: Callable, run: Run) -> None:
    page = open_page()
    press(page, "a")
    assert title(page) == "Song 2/other.wav"
    assert page.locator("#progress-text").text_content() == "1 of 12 decided"
    press(page, "u")
    assert [one.new for one in open_run(run.path).decisions] == ["other", None]
    press(page, "z")
    press(page, "z")
    assert title(page) == "Song 1/other.wav"
    assert page.locator("#progress-text").text_content() == "0 of 12 decided"
    assert open_run(run.path).decisions == ()
    assert open_run(run.path).labels.equals(run.labels)


def test_a_time_has_labels_of_its_own(open_page: Callable, run: Run) -> None:
    page = open_page()
    page.fill("#from", "1.5")
    page.fill("#to", "4.5")
    page.locator("#to").press("Tab")
    page.evaluate("document.activeElement.blur()")
    press(page, "r", "2")
    (one,) = open_run(run.path).decisions
    assert (one.new, one.start_s, one.end_s) == ("drums+other", 1.5, 4.5)
    press(page, "r")
    assert now(page) == "drums+other"


def test_two_tabs_lose_nothing_and_see_each_other(open_page: Callable, run: Run) -> None:
    one, other = open_page(), open_page()
    other.fill("#person", "grace")
    other.evaluate("document.activeElement.blur()")
    press(one, "1")
    press(other, "3")
    assert [(made.person, made.new) for made in open_run(run.path).decisions] == [
        ("ada", "vocals+other"),
        ("grace", "bass+other"),
    ]
    wait_until(one, "document.querySelector('#now').textContent === 'bass+other'")


def test_filters(open_page: Callable) -> None:
    page = open_page()
    page.select_option("#verdict", "changed")
    assert page.locator("#count").text_content() == "3 of 12 stems"
    page.select_option("#class", "vocals")
    assert page.locator("#count").text_content() == "0 of 12 stems"
    page.select_option("#class", "")
    page.select_option("#verdict", "")
    page.select_option("#song", label="Song 2")
    assert page.locator("#count").text_content() == "4 of 12 stems"
    page.select_option("#song", "")
    page.keyboard.press("Escape")
    press(page, "/")
    page.keyboard.type("song 3 bass+")
    assert page.locator("#count").text_content() == "0 of 12 stems"
    page.fill("#search", "song 3 drums+bass")
    assert rows(page) == ["bass.wav"]


def test_the_song_plays_in_step(open_page: Callable) -> None:
    page = open_page()
    play_slowly(page)
    press(page, "Space", "m")
    assert page.locator("#others [data-does=mute][aria-pressed=true]").count() == 4
    page.get_by_label("Hear only bass.wav").click()
    assert page.locator("#others [data-does=mute][aria-pressed=true]").count() == 1
    page.get_by_label("Hear drums.wav").click()
    assert page.locator("#others [data-does=mute][aria-pressed=true]").count() == 2
    before = float(page.locator("#plot").get_attribute("aria-valuenow"))
    page.get_by_label("Review vocals.wav").click()
    wait_until(page, "document.querySelector('#stem-name').textContent === 'vocals.wav'")
    assert abs(float(page.locator("#plot").get_attribute("aria-valuenow")) - before) < 2


def test_by_keyboard_alone(open_page: Callable, run: Run) -> None:
    """Tab reaches every control once, in the order of the page; each has a name; the focus can be seen."""
    page = open_page()
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "(e => e === document.body ? '' : e.id || e.ariaLabel || e.textContent.trim() || e.name)"
            "(document.activeElement)"
        )
        if not name or name in reached:
            break
        reached.append(name)
        assert page.evaluate(
            "(e => e.ariaLabel || e.labels?.length || e.textContent.trim() || e.getAttribute('aria-labelledby'))"
            "(document.activeElement)"
        ), name
    wanted = ["person", "help-button", "search", "list", "plot", "play", "loop", "accept", "unsure", "undo", "mix"]
    assert [name for name in reached if name in wanted] == wanted
    press(page, "?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    page.locator("#accept").focus()
    press(page, "Enter")
    assert [one.new for one in open_run(run.path).decisions] == ["other"]
    page.locator("#list").focus()
    before = title(page)
    press(page, "ArrowDown")
    assert title(page) != before
    assert page.locator("#list").get_attribute("aria-activedescendant")


def test_a_narrow_screen(open_page: Callable, run: Run) -> None:
    page = open_page(viewport={"width": 380, "height": 800}, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    page.locator("#classes [data-class=bass]").tap()
    wait_until(page, "document.querySelector('#now').textContent === 'bass+other'")
    page.locator("#accept").tap()
    wait_until(page, "document.querySelector('#song-name').textContent === 'Song 2'")
    assert len(open_run(run.path).decisions) == 1


def test_export_equals_decisions(open_page: Callable, run: Run, tmp_path: Path) -> None:
    page = open_page()
    press(page, "a", "2", "a", "u")
    assert export_decisions(run, tmp_path / "d.csv") == 3
    with (tmp_path / "d.csv").open(encoding="utf-8", newline="") as file:
        found = [(row["stem"], row["old"], row["new"], row["unsure"]) for row in csv.DictReader(file)]
    assert found == [
        ("Song 1/other.wav", "other", "other", ""),
        ("Song 2/other.wav", "other", "drums+other", ""),
        ("Song 3/other.wav", "other", "", "yes"),
    ]


def test_only_what_can_be_seen_is_in_the_page(open_page: Callable) -> None:
    page = open_page()
    page.evaluate("document.querySelector('#list').style.flex = '0 0 200px'")
    wait_until(page, "document.querySelectorAll('#rows .row').length < 12")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(open_page: Callable, scheme: str) -> None:
    """WCAG AA: 4.5 between text and what is behind it."""
    page = open_page(color_scheme=scheme)
    styles = page.evaluate(
        "Object.fromEntries(['ink','muted','accent','on-accent','page','card','picked','faint','kept-ink',"
        "'changed-ink','unsure-ink','failed-ink'].map(n => [n, "
        "getComputedStyle(document.documentElement).getPropertyValue('--' + n).trim()]))"
    )
    inks = [name for name in styles if name in ("ink", "muted") or name.endswith("-ink")]
    papers = ("page", "card", "picked", "faint")
    pairs = [("on-accent", "accent"), *((ink, paper) for ink in inks for paper in papers)]
    for ink, paper in pairs:
        assert contrast(styles[ink], styles[paper]) >= 4.5, (ink, paper)


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        assert re.fullmatch("#[0-9a-f]{6}", colour), colour
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
