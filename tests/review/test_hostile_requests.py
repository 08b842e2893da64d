"""Requests of somebody who has the token: each gets one clean answer, and nothing wrong is recorded."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from typing import Any
from urllib.parse import quote

import pytest

from restem.review.session import ReviewSession
from restem.runs.run import open_run

NUMBERS = ("NaN", "-1", "1e999", "9" * 20, "9" * 5000, "0x1", "1.5", "", "%00", "\u0663", "true", "null", "-0")
VALUES: tuple[Any, ...] = (
    None, True, "x", -1, 1.5, 10**20, 10**400, float("nan"), float("inf"), [], {}, [0], "\ud800", "a\0b", "x" * 5000,
)  # fmt: skip


def post(refusing: tuple, path: str, body: Any) -> tuple[int, bytes]:
    served, run = refusing
    status, headers, content = served.ask(path, "POST", body)
    assert served.token.encode() not in content and b"Traceback" not in content
    assert open_run(run.path).decisions == ()
    assert "content-security-policy" in headers
    return status, content


class TestDecisions:
    @pytest.mark.parametrize("key", ["index", "new", "person", "start_s", "end_s"])
    @pytest.mark.parametrize("value", VALUES)
    def test_of_values_that_cannot_be(self, refusing, key: str, value: Any) -> None:
        # On its own, none of these is a decision: the stem is not there.
        body = {"index": 99, "new": "drums", "start_s": 1.0, "end_s": 2.0, key: value}
        status, content = post(refusing, "/api/decisions", body)
        assert 400 <= status < 500, content
        assert status == 404 or "error" in json.loads(content)

    @pytest.mark.parametrize(
        ("start_s", "end_s"),
        [(5.0, 7.0), (0.0, 1e300), (1.0, 1.0001), (1.0, 1.0), (2.0, 1.0), (1e300, 1e301), (-1.0, 1.0), (0.0, 6.5)],
    )
    def test_ranges_that_are_not_in_the_stem(self, refusing, start_s: float, end_s: float) -> None:
        status, content = post(
            refusing, "/api/decisions", {"index": 0, "new": "drums", "start_s": start_s, "end_s": end_s}
        )
        assert status == 422 and "error" in json.loads(content)

    @pytest.mark.parametrize(
        "body",
        [
            b'{"index": NaN, "new": ""}', b'{"index": Infinity, "new": ""}', b'{"index": 0, "new": "\\ud800"}',
            b'{"index": 0, "new": "drums", "person": "\\udfff"}', b'{"index": 0, "new": "drums", "start_s": NaN}',
            b"[" * 30000, b'{"a":' * 10000, b"\xff\xfe", b'"', b"null", b'{"index": ' + b"9" * 5000 + b', "new": ""}',
            b'{"index": 1e400, "new": ""}', b'{"\\ud800": 1}', b"{" + b" " * 60000 + b"}",
        ],
    )  # fmt: skip
    def test_bodies_that_are_not_json(self, refusing, body: bytes) -> None:
        for path in ("/api/decisions", "/api/undo"):
            status, content = post(refusing, path, body)
            assert 400 <= status < 500, content

    @pytest.mark.parametrize("value", VALUES)
    @pytest.mark.parametrize("key", ["number", "person"])
    def test_undone(self, refusing, key: str, value: Any) -> None:
        status, content = post(refusing, "/api/undo", {"person": "nobody", "number": 10**6, key: value})
        assert status in (404, 422), content

    def test_a_body_that_comes_in_chunks(self, refusing) -> None:
        """Whatever its headers say, no more than the limit is read; on any address."""
        served, run = refusing
        for method, path, length in (
            ("POST", "/api/decisions", ""),
            ("POST", "/api/decisions", "10"),
            ("GET", "/api/stems", ""),
            ("DELETE", "/nowhere", "5"),
        ):
            with socket.create_connection(("127.0.0.1", served.port), timeout=20) as connection:
                head = (
                    f"{method} /{served.token}{path} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
                    f"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
                    + (f"Content-Length: {length}\r\n" if length else "")
                )
                connection.sendall(head.encode() + b"\r\n")
                chunk, sent = b"4000\r\n" + b" " * 0x4000 + b"\r\n", 0
                try:
                    while sent < 20_000_000:
                        connection.sendall(chunk)
                        sent += len(chunk)
                except (BrokenPipeError, ConnectionResetError, TimeoutError):
                    pass
                # The answer came long before the end, or the connection was closed.
                assert sent < 20_000_000
        assert served.ask("/api/stems")[0] == 200
        assert open_run(run.path).decisions == ()

    @pytest.mark.parametrize("length", ["-1", "\u00b2", "1e3", "0x10", "9" * 5000, " ", "+5"])
    def test_lengths_that_are_none(self, refusing, length: str) -> None:
        served, run = refusing
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
        connection.putrequest("POST", f"/{served.token}/api/decisions", skip_host=True)
        connection.putheader("Host", f"127.0.0.1:{served.port}")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", length.encode("latin-1"))
        connection.endheaders()
        assert 400 <= connection.getresponse().status < 500
        connection.close()
        assert open_run(run.path).decisions == ()


def test_a_fault_does_not_show_the_token(
    refusing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    served, _ = refusing

    def fail(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(ReviewSession, "stem", fail)
    status, headers, content = served.ask("/api/stems/0")
    assert status == 500 and json.loads(content) == {"error": "A fault in restem itself: ZeroDivisionError."}
    assert "content-security-policy" in headers
    # The fault is told after the answer, by the server's own thread.
    said, end = "", time.monotonic() + 60.0
    while "ZeroDivisionError: by nothing" not in said and time.monotonic() < end:
        time.sleep(0.01)
        said += capsys.readouterr().err + caplog.text
    assert "ZeroDivisionError: by nothing" in said and served.token not in said


class TestAddresses:
    @pytest.mark.parametrize("number", NUMBERS)
    def test_numbers(self, refusing, number: str) -> None:
        served, _ = refusing
        written = number if number.startswith("%") else quote(number)
        for path in ("/api/stems/", "/api/spectra/", "/api/sound/", "/api/changes?since="):
            status, _, content = served.ask(path + written)
            assert 400 <= status < 500 or number in ("-0", ""), (path, content)
            assert served.token.encode() not in content

    @pytest.mark.parametrize(
        "wanted",
        [
            "bytes=0-" + "9" * 5000, "bytes=" + "9" * 5000 + "-", "bytes=-" + "9" * 5000, "bytes=\u00b2-", "bytes=--1",
            "bytes=1-0", "bytes=-0", "lines=0-1", "bytes=0-1,2-3", "bytes=", "bytes=-", "bytes=a-b",
            "bytes=" + "0-1," * 500,
        ],
    )  # fmt: skip
    def test_ranges(self, refusing, wanted: str) -> None:
        served, _ = refusing
        for index in range(4):
            status, _, content = served.ask(f"/api/sound/{index}", headers={"Range": wanted})
            assert status in (200, 206, 400, 416), content[:200]

    def test_fuzzed(self, refusing) -> None:
        """Random addresses and bodies made of the parts of right ones."""
        served, run = refusing
        drawn = random.Random(0)
        parts = [
            "/api", "/stems", "/decisions", "/undo", "/sound", "/0", "/-1", "/..", "//", "/%2e%2e", "?since=", "%00",
            "/page", "/index.html", "/%ff", "/%c3%a9", "?", "#", ";", "9" * 30,
        ]  # fmt: skip
        for _ in range(150):
            path = "".join(drawn.choice(parts) for _ in range(drawn.randrange(1, 5)))
            body = {drawn.choice(["index", "new", "person", "x"]): drawn.choice(VALUES) for _ in range(3)}
            method = drawn.choice(["GET", "POST", "HEAD", "PUT", "OPTIONS"])
            path = "".join(char for char in path if "!" <= char <= "~")
            status, _, content = served.ask(path, method, body if method == "POST" else None)
            assert status < 500, (method, path, body, content)
        assert open_run(run.path).decisions == ()
