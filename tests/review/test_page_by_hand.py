"""The review page by mouse, wheel, fingers and keys in turn; many classes, long stems, sound."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from restem.runs.run import Run, open_run

PATIENCE_S = 200.0
# Everything that can be clicked, but the help, which is a page of its own.
CONTROLS = (
    "#history button", "#play", "#loop", "#suspicious", "#farther", "#closer", "#zoom-loop", "#whole", "#match",
    "#accept",
    "#unsure", "#undo", "#previous", "#next", "#mix", "#classes button >> nth=0", "#others button >> nth=0",
    "#others button >> nth=1", "#rows .row >> nth=2", "#plot", "input[value=range]", "input[value=whole]", "#volume",
    "#from",
)  # fmt: skip
# The sounds that the page makes from now on, as window.sounds.
CATCH_SOUNDS = """(() => {
    const made = Audio;
    window.sounds = [];
    window.Audio = function () { const sound = new made(); window.sounds.push(sound); return sound; };
})()"""


def settle(page: Any, expression: str = "true") -> None:
    """Waits until a JavaScript expression is true and nothing is under way."""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(f"!document.body.ariaBusy && ({expression})"):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(30)


def press(page: Any, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        settle(page)


def shown(page: Any) -> tuple[float, float]:
    """The seconds that the plot shows."""
    written = page.locator("#scroll").get_attribute("aria-valuetext")
    times = re.findall(r"(\d+):([\d.]+)", written)
    return tuple(60 * int(minutes) + float(seconds) for minutes, seconds in times)  # type: ignore[return-value]


def button(page: Any) -> str:
    return page.locator("#play span").text_content()


def test_a_click_counts_although_the_list_is_drawn_anew_meanwhile(open_page: Callable) -> None:
    page = open_page()
    row = page.locator("#rows .row >> nth=2")
    index = row.get_attribute("data-index")
    row.hover()
    page.mouse.down()
    page.locator("#list").dispatch_event("scroll")
    page.mouse.up()
    settle(page)
    assert page.locator("#rows .row[aria-selected=true]").get_attribute("data-index") == index


def test_space_plays_after_a_click_on_anything(open_page: Callable, run: Run) -> None:
    page = open_page()
    press(page, "1")
    for control in CONTROLS:
        page.locator(control).click()
        settle(page)
        decisions, stem, before = open_run(run.path).decisions, page.locator("#stem-name").text_content(), button(page)
        page.keyboard.press("Space")
        settle(page, f"document.querySelector('#play span').textContent !== '{before}'")
        assert open_run(run.path).decisions == decisions, control
        assert page.locator("#stem-name").text_content() == stem, control


def test_space_plays_after_a_choice_from_a_list(open_page: Callable) -> None:
    page = open_page()
    page.locator("#verdict").focus()
    page.select_option("#verdict", "unsure")
    for _ in range(2):
        before = button(page)
        page.keyboard.press("Space")
        settle(page, f"document.querySelector('#play span').textContent !== '{before}'")
    now = button(page)
    page.locator("#search").click()
    page.keyboard.type("song 1")
    assert page.locator("#search").input_value() == "song 1"
    assert button(page) == now


def test_keys_and_mouse_in_turn(open_page: Callable, run: Run) -> None:
    page = open_page()
    page.locator("#accept").click()
    settle(page)
    press(page, "Space", "2")
    page.locator("#classes [data-class=bass]").click()
    settle(page)
    press(page, "Space", "a", "u")
    page.locator("#undo").click()
    settle(page)
    press(page, "Space", "Space")
    found = [(one.stem, one.new) for one in open_run(run.path).decisions]
    assert found == [
        ("Song 1/other.wav", "other"), ("Song 2/other.wav", "drums+other"), ("Song 2/other.wav", "drums+bass+other"),
    ]  # fmt: skip


def test_zoom(open_page: Callable) -> None:
    page = open_page()
    assert shown(page) == (0.0, 6.0)
    press(page, "+", "+")
    start, end = shown(page)
    assert end - start == pytest.approx(6 / 1.6**2, abs=0.2)
    press(page, "-", "-")
    assert shown(page) == (0.0, 6.0)
    box = page.locator("#plot").bounding_box()
    left, width = box["x"] + 76, box["width"] - 76
    # What is under the pointer stays there.
    page.mouse.move(left + width * 0.75, box["y"] + 40)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    settle(page, "document.querySelector('#scroll').max > 1")
    start, end = shown(page)
    assert start + 0.75 * (end - start) == pytest.approx(4.5, abs=0.15)
    # Sideways it scrolls, and a click is heard where it is seen.
    page.mouse.wheel(-2000, 0)
    settle(page, "document.querySelector('#scroll').value == 0")
    length = end - start
    page.mouse.click(left + width * 0.5, box["y"] + 40)
    settle(page, f"Math.abs(document.querySelector('#plot').ariaValueNow - {length / 2}) < 0.15")
    # A wheel alone scrolls the page, not the picture.
    before = shown(page)
    page.mouse.wheel(0, 300)
    page.wait_for_timeout(300)
    assert shown(page) == before
    press(page, "0")
    assert shown(page) == (0.0, 6.0)
    press(page, "x")
    start, end = shown(page)
    loop = [float(page.locator(f"#{name}").input_value()) for name in ("from", "to")]
    assert start <= loop[0] < loop[1] <= end and (loop[1] - loop[0]) / (end - start) > 0.6


def test_two_fingers_zoom(open_page: Callable) -> None:
    page = open_page(viewport={"width": 390, "height": 800}, has_touch=True)
    page.locator("#plot").scroll_into_view_if_needed()
    box = page.locator("#plot").bounding_box()
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *places: float) -> None:
        points = [{"x": x, "y": box["y"] + 40, "id": i} for i, x in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 180)
    touch("touchStart", 180, 220)
    for apart in (30, 45, 60):
        touch("touchMove", 200 - apart, 200 + apart)
    touch("touchEnd")
    settle(page, "document.querySelector('#scroll').max > 1")
    start, end = shown(page)
    assert end - start == pytest.approx(2.0, abs=0.3)


def test_speed_volume_and_even_levels(open_page: Callable) -> None:
    page = open_page()
    page.evaluate(CATCH_SOUNDS)
    page.select_option("#song", label="Song 3")
    page.locator("#rows .row >> nth=0").click()
    settle(page, "sounds.length === 1")
    press(page, ".", ".")
    assert page.evaluate("[sounds[0].playbackRate, sounds[0].preservesPitch]") == [1.5, True]
    press(page, *[","] * 9)
    assert page.evaluate("sounds[0].playbackRate") == 0.5 and page.locator("#speed").input_value() == "0.5"
    page.locator("#volume").fill("0.25")
    assert page.evaluate("sounds[0].volume") == 0.25
    # The stem's segments are at -20 dB, which is the even level; the song's others get the same settings.
    press(page, "e", "m")
    settle(page, "sounds.length === 4")
    found = page.evaluate("sounds.map((one) => [one.volume, one.playbackRate, one.gain.gain.value])")
    assert found == [[0.25, 0.5, 1.0]] * 4


def test_an_undone_time_can_be_said_again(open_page: Callable, run: Run) -> None:
    page = open_page()
    page.fill("#from", "1.5")
    page.fill("#to", "4.5")
    page.locator("#to").press("Tab")
    press(page, "r", "2", "a")
    assert page.locator("#song-name").text_content() == "Song 2"
    press(page, "z", "z")
    assert page.locator("#song-name").text_content() == "Song 1"
    assert page.locator("input[value=range]").is_checked()
    assert [page.locator(f"#{name}").input_value() for name in ("from", "to")] == ["1.5", "4.5"]
    press(page, "1")
    (one,) = open_run(run.path).decisions
    assert (one.new, one.start_s, one.end_s) == ("vocals+other", 1.5, 4.5)


def test_what_is_left_and_why(open_page: Callable) -> None:
    page = open_page()
    assert (
        page.locator("#why").text_content()
        == "The label vocals may be missing: it is in this stem with probability 0.50."
    )
    settle(page, "document.querySelector('#remaining').textContent !== ''")
    before = page.locator("#remaining").text_content()
    assert re.match(
        r"Of the 12 undecided stems, about [\d.]+ have wrong labels, with 95 % probability at most \d+\.", before
    )
    assert "1 stem in 10 is drawn at random" in before
    press(page, "a")
    settle(page, "document.querySelector('#remaining').textContent.startsWith('Of the 11 undecided')")
    page.fill("#search", "song 3 bass.wav")
    assert page.locator("#count").text_content() == "1 of 12 stems"


class TestSixteenClasses:
    @pytest.fixture
    def served(self, serve: Callable, many_classes: Callable) -> Any:
        return serve(many_classes(16).path)

    def test_all_have_a_colour_a_key_and_a_name(self, open_page: Callable) -> None:
        page = open_page(viewport={"width": 1280, "height": 800})
        box = page.locator("#accept").bounding_box()
        assert box["y"] + box["height"] <= 800
        # Nothing lies over it.
        assert (
            page.evaluate(
                "(([x, y]) => document.elementFromPoint(x, y).closest('button').id)"
                f"([{box['x'] + 20}, {box['y'] + box['height'] / 2}])"
            )
            == "accept"
        )
        colours = page.evaluate(
            "[...document.querySelectorAll('#classes button')].map(e => getComputedStyle(e).getPropertyValue('--k'))"
        )
        assert len(set(colours)) == 16
        press(page, "Shift+Digit2")
        assert "percussion" in page.locator("#classes [aria-pressed=true] b").all_text_contents()
        press(page, "1")
        assert "vocals" in page.locator("#classes [aria-pressed=true] b").all_text_contents()

    @pytest.mark.parametrize("width", [390, 1280])
    def test_nothing_is_cut(self, open_page: Callable, width: int) -> None:
        page = open_page(viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(
            "[...document.querySelectorAll('#classes button, #classes b')]"
            ".every(e => e.scrollWidth <= e.clientWidth + 1 || getComputedStyle(e).display === 'inline')"
        )


class TestFiveMinutes:
    @pytest.fixture
    def served(self, serve: Callable, many_classes: Callable) -> Any:
        return serve(many_classes(2, seconds=300.0).path)

    def test_a_loop_can_be_seen_and_set(self, open_page: Callable) -> None:
        page = open_page()
        # A finer picture is asked for.
        with page.expect_response(re.compile(r"spectra/\d+\?start_s=")):
            press(page, "x")
        start, end = shown(page)
        assert end - start < 8
        box = page.locator("#plot").bounding_box()
        left, width = box["x"] + 76, box["width"] - 76
        page.keyboard.down("Shift")
        page.mouse.move(left + 0.25 * width, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(left + 0.5 * width, box["y"] + 30)
        page.mouse.up()
        page.keyboard.up("Shift")
        loop = [float(page.locator(f"#{name}").input_value()) for name in ("from", "to")]
        assert loop == pytest.approx([start + 0.25 * (end - start), start + 0.5 * (end - start)], abs=0.2)
