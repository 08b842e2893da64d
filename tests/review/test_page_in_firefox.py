"""The core of the review page in Firefox: keys, mouse, focus, zoom. `test_page_by_hand` has all of it, in Chromium.

Firefox speaks WebDriver BiDi itself (https://w3c.github.io/webdriver-bidi), so no driver has to be installed for it.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from restem.runs.run import Run, open_run

PATIENCE_S = 200.0
KEYS = {"Space": " ", "Control": "\ue009", "Shift": "\ue008", "Tab": "\ue004"}


class Firefox:
    """One window. socket: of WebDriver BiDi."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.number = 0
        self.errors: list[str] = []
        self.call("session.new", capabilities={})
        self.call("session.subscribe", events=["log.entryAdded"])
        self.window = self.call("browsingContext.getTree")["contexts"][0]["context"]
        size = {"width": 1200, "height": 800}
        self.call("browsingContext.setViewport", context=self.window, viewport=size)

    def call(self, method: str, **arguments: Any) -> Any:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": arguments}))
        while (answer := json.loads(self.socket.recv(timeout=PATIENCE_S))).get("id") != self.number:
            entry = answer.get("params", {})
            if answer.get("method") == "log.entryAdded" and entry["level"] == "error":
                self.errors.append(entry["text"])
        assert answer["type"] == "success", answer
        return answer["result"]

    def open(self, address: str) -> None:
        self.call("browsingContext.navigate", context=self.window, url=address, wait="complete")
        self.wait("'ready' in document.documentElement.dataset")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression that can be written as JSON."""
        target = {"context": self.window}
        found = self.call(
            "script.evaluate", expression=f"JSON.stringify({expression})", target=target, awaitPromise=True
        )
        assert found["type"] == "success", found
        return json.loads(found["result"].get("value", "null"))

    def wait(self, expression: str = "true") -> None:
        """Waits until an expression is true and nothing is under way."""
        end = time.monotonic() + PATIENCE_S
        while not self.evaluate(f"!document.body.ariaBusy && Boolean({expression})"):
            assert time.monotonic() < end, expression
            time.sleep(0.03)

    def text(self, selector: str) -> str:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def box(self, selector: str) -> dict[str, float]:
        """The place of an element in the window, into which it is scrolled."""
        return self.evaluate(
            f"((e) => {{ e.scrollIntoView({{block: 'nearest'}}); return e.getBoundingClientRect(); }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def act(self, kind: str, actions: list[dict[str, Any]], held: str = "") -> None:
        """Input of one device. kind: `key`, `pointer` or `wheel`. held: a key that is down meanwhile."""
        sources: list[dict[str, Any]] = [{"type": kind, "id": kind, "actions": actions}]
        if held:
            pause = {"type": "pause"}
            down, up = ({"type": which, "value": KEYS[held]} for which in ("keyDown", "keyUp"))
            key = {"type": "key", "id": "held", "actions": [down, *[pause] * len(actions), up]}
            sources = [key, {**sources[0], "actions": [pause, *actions]}]
        self.call("input.performActions", context=self.window, actions=sources)

    def press(self, *keys: str) -> None:
        for key in keys:
            value = KEYS.get(key, key)
            self.act("key", [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}])
            self.wait()

    def click(self, selector: str) -> None:
        box = self.box(selector)
        self.drag([(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)])

    def drag(self, places: list[tuple[float, float]], held: str = "") -> None:
        """Presses at the first place and lets go at the last."""
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y)} for x, y in places]
        down, up = {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}
        self.act("pointer", [moves[0], down, *moves[1:], up], held)
        self.wait()

    def wheel(self, x: float, y: float, sideways: int, down: int, held: str = "") -> None:
        action = {"type": "scroll", "x": round(x), "y": round(y), "deltaX": sideways, "deltaY": down}
        self.act("wheel", [action], held)


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """A headless Firefox, started once."""
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("there is no Firefox")
    websockets = pytest.importorskip("websockets.sync.client")
    profile = tmp_path_factory.mktemp("profile")
    command = [program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0"]
    with (profile / "log.txt").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            address = None
            while address is None:
                if process.poll() is not None:
                    pytest.skip("Firefox does not start")
                time.sleep(0.1)
                address = re.search(r"listening on (ws:\S+)", (profile / "log.txt").read_text(errors="replace"))
            with websockets.connect(f"{address[1]}/session", max_size=None, open_timeout=PATIENCE_S) as socket:
                yield Firefox(socket)
        finally:
            process.kill()


@pytest.fixture
def page(firefox: Firefox, served: Any) -> Iterator[Firefox]:
    """The review page in Firefox; what went wrong in it fails the test."""
    firefox.errors.clear()
    firefox.open(served.address)
    yield firefox
    assert firefox.errors == []


def shown(page: Firefox) -> tuple[float, ...]:
    """The seconds that the plot shows."""
    times = re.findall(r"(\d+):([\d.]+)", page.evaluate("document.querySelector('#scroll').ariaValueText"))
    return tuple(60 * int(minutes) + float(seconds) for minutes, seconds in times)


def test_keys_and_mouse_in_turn(page: Firefox, run: Run) -> None:
    page.click("#accept")
    page.press("Space", "2")
    page.click("#classes [data-class=bass]")
    page.press("Space", "a", "u")
    page.click("#undo")
    page.press("Space", "Space")
    found = [(one.stem, one.new) for one in open_run(run.path).decisions]
    assert found == [
        ("Song 1/other.wav", "other"), ("Song 2/other.wav", "drums+other"), ("Song 2/other.wav", "drums+bass+other"),
    ]  # fmt: skip
    # After a click on anything, Space plays or stops, and does nothing else.
    page.press("1")
    for control in (
        "#history button", "#play", "#loop", "#suspicious", "#farther", "#closer", "#zoom-loop", "#whole", "#match",
        "#accept", "#unsure", "#undo", "#previous", "#next", "#mix", "#classes button", "#others button",
        "#rows .row:nth-of-type(3)", "#plot", "input[value=range]", "input[value=whole]", "#volume", "#from",
    ):  # fmt: skip
        page.click(control)
        decisions, stem = open_run(run.path).decisions, page.text("#stem-name")
        before = page.text("#play span")
        page.press("Space")
        page.wait(f"document.querySelector('#play span').textContent !== '{before}'")
        assert open_run(run.path).decisions == decisions and page.text("#stem-name") == stem, control


def test_fields_take_what_is_typed(page: Firefox) -> None:
    page.click("#search")
    page.press(*"song", "Space", "3")
    assert page.evaluate("document.querySelector('#search').value") == "song 3"
    page.wait("document.querySelector('#count').textContent === '4 of 12 stems'")
    page.press("Tab")
    assert page.evaluate("document.activeElement.id") != "search"


def test_zoom_and_range(page: Firefox) -> None:
    assert shown(page) == (0.0, 6.0)
    page.press("+", "+")
    start, end = shown(page)
    assert end - start == pytest.approx(6 / 1.6**2, abs=0.2)
    page.press("-", "-")
    assert shown(page) == (0.0, 6.0)
    box = page.box("#plot")
    left, width, middle = box["x"] + 76, box["width"] - 76, box["y"] + 40
    # What is under the pointer stays there.
    page.wheel(left + 0.75 * width, middle, 0, -400, "Control")
    page.wait("document.querySelector('#scroll').max > 1")
    start, end = shown(page)
    assert start + 0.75 * (end - start) == pytest.approx(4.5, abs=0.15)
    page.wheel(left + 0.75 * width, middle, -2000, 0)
    page.wait("document.querySelector('#scroll').value == 0")
    page.press("0")
    assert shown(page) == (0.0, 6.0)
    page.drag([(left + part * width, middle) for part in (0.25, 0.4, 0.5)], "Shift")
    loop = [float(page.evaluate(f"document.querySelector('#{name}').value")) for name in ("from", "to")]
    assert loop == pytest.approx([1.5, 3.0], abs=0.1)
