"""What the review's server gives out, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from restem.audio import store
from restem.review.session import ReviewSession
from restem.runs.ledger import Ledger
from restem.runs.run import Run, open_run


@pytest.fixture
def served(run: Run, serve: Callable):
    return serve(run.path)


class TestRefusals:
    def test_without_the_token_there_is_nothing(self, refusing) -> None:
        served, _ = refusing
        for token in ("x", served.token[:-1], served.token + "x", "..", ""):
            for path in ("/", "/api/stems", "/api/sound/0", "/page/main.js"):
                assert served.ask(path, token=token or "%20")[0] == 404

    @pytest.mark.parametrize("host", ["", "evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1.evil:{port}"])
    def test_other_host_names(self, refusing, host: str) -> None:
        """A name that an attacker lets point to this machine (DNS rebinding)."""
        served, _ = refusing
        # One without a host is no HTTP/1.1, and does not get as far as the access guard.
        assert served.ask("/api/stems", headers={"Host": host.format(port=served.port)})[0] == (403 if host else 400)
        assert served.ask("/api/stems", headers={"Host": f"localhost:{served.port}"})[0] == 200

    @pytest.mark.parametrize(
        "origin", ["http://evil.example", "null", "https://127.0.0.1:{port}", "http://localhost:1"]
    )
    def test_other_origins(self, refusing, origin: str) -> None:
        served, run = refusing
        headers = {"Origin": origin.format(port=served.port)}
        assert served.ask("/api/decisions", "POST", {"index": 0, "new": "drums"}, headers)[0] == 403
        assert served.ask("/api/stems", headers=headers)[0] == 403
        assert open_run(run.path).decisions == ()

    @pytest.mark.parametrize("site", ["cross-site", "same-site"])
    def test_what_a_browser_says_comes_from_elsewhere(self, refusing, site: str) -> None:
        served, _ = refusing
        assert served.ask("/api/sound/0", headers={"Sec-Fetch-Site": site})[0] == 403

    def test_forms_of_other_pages(self, refusing) -> None:
        """A form can send text without asking, but not JSON."""
        served, _ = refusing
        body = b'{"index": 0, "new": "drums"}'
        assert served.ask("/api/decisions", "POST", body, {"Content-Type": "text/plain"})[0] == 415
        assert served.ask("/api/decisions", "POST", b" " * (1 << 17))[0] == 413

    def test_refusals_arrive_though_the_body_is_late(self, refusing) -> None:
        """A connection closed with bytes unread would be reset, and the answer lost with it."""
        served, _ = refusing
        body = b'{"index": 0, "new": "drums"}'
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            head = f"POST /{served.token}/api/decisions HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n"
            connection.sendall(f"{head}Origin: null\r\nContent-Length: {len(body)}\r\n\r\n".encode())
            time.sleep(0.3)
            for at in range(len(body)):
                connection.sendall(body[at : at + 1])
                time.sleep(0.01)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 403 ")

    @pytest.mark.parametrize(
        "path",
        ["/../../../../etc/passwd", "/page/../server.py", "/page/..%2fserver.py", "/page/%2e%2e/server.py",
         "/page/%2fetc%2fpasswd", "/page/..\\server.py", "/api/sound/../../run.json", "/api/sound/%2e%2e%2frun.json"],
    )  # fmt: skip
    def test_path_traversal(self, refusing, path: str) -> None:
        served, _ = refusing
        status, _, content = served.ask(path)
        assert status in (404, 422)
        assert b"root:" not in content and b"import" not in content

    @pytest.mark.parametrize("index", ["-1", "12", "99999999999999999999", "x", "0.5"])
    def test_rows_that_are_not_there(self, refusing, index: str) -> None:
        served, _ = refusing
        for kind in ("stems", "spectra", "sound"):
            assert served.ask(f"/api/{kind}/{index}")[0] in (404, 422)

    def test_links_out_of_the_dataset(self, run: Run, serve: Callable, tmp_path: Path) -> None:
        secret = tmp_path / "secret.wav"
        soundfile.write(secret, np.zeros(800, np.float32), 8000)
        stem = run.dataset_root / "Song 1" / "bass.wav"
        stem.unlink()
        stem.symlink_to(secret)
        other = run.dataset_root / "Song 1" / "drums.wav"
        other.rename(run.dataset_root / "Song 1" / "moved.wav")
        other.symlink_to("moved.wav")
        served = serve(run.path)
        for kind in ("sound", "spectra"):
            status, _, content = served.ask(f"/api/{kind}/0")
            assert status == 404 and b"--follow-links" in content
        assert served.ask("/api/sound/1")[0] == 200

    def test_nothing_from_elsewhere_may_be_loaded(self, refusing) -> None:
        served, _ = refusing
        for path in ("/", "/api/stems", "/api/sound/0", "/nowhere"):
            headers = served.ask(path)[1]
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; ")
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "server" not in headers

    @pytest.mark.parametrize(
        "body",
        [b"", b"[]", b"{", {"index": 0}, {"index": "0", "new": ""}, {"index": 0, "new": "accordion"},
         {"index": 99, "new": ""}, {"index": 0, "new": "drums", "start_s": 1},
         {"index": 0, "new": "drums", "start_s": 2, "end_s": 1},
         {"index": 0, "new": None, "start_s": 1, "end_s": 2}, {"index": 0, "new": "drums", "path": "x"}],
    )  # fmt: skip
    def test_decisions_that_are_none(self, refusing, body) -> None:
        served, run = refusing
        headers = {"Content-Type": "application/json"}
        assert served.ask("/api/decisions", "POST", body, headers)[0] in (404, 422)
        assert open_run(run.path).decisions == ()

    def test_only_this_machine_is_listened_to(self, served) -> None:
        import psutil

        (listening,) = (one for one in psutil.Process(served.process.pid).net_connections() if one.status == "LISTEN")
        assert listening.laddr.ip == "127.0.0.1"


class TestSound:
    def test_a_file_is_streamed_as_it_is_by_range(self, served, run: Run) -> None:
        original = (run.dataset_root / "Song 1" / "bass.wav").read_bytes()
        status, headers, content = served.ask("/api/sound/0")
        assert (status, content, headers["content-type"]) == (200, original, "audio/wav")
        status, headers, content = served.ask("/api/sound/0", headers={"Range": "bytes=1000-1999"})
        assert (status, content) == (206, original[1000:2000])
        assert headers["content-range"] == f"bytes 1000-1999/{len(original)}"

    @pytest.mark.parametrize(
        ("extension", "subtype", "channels"), [("aiff", "PCM_24", 2), ("wav", "DOUBLE", 1), ("wav", "PCM_16", 6)]
    )
    def test_what_browsers_cannot_play_becomes_a_wav(
        self, run: Run, serve: Callable, extension: str, subtype: str, channels: int
    ) -> None:
        path = run.dataset_root / "Song 1" / "bass.wav"
        sound = np.random.default_rng(0).uniform(-0.5, 0.5, (8000, channels))
        path.unlink()
        soundfile.write(path, sound, 8000, format=extension.upper(), subtype=subtype)
        served = serve(run.path)
        status, headers, whole = served.ask("/api/sound/0")
        assert (status, headers["content-type"], int(headers["content-length"])) == (200, "audio/wav", len(whole))
        (run.path / "made.wav").write_bytes(whole)
        made, rate_hz = soundfile.read(run.path / "made.wav", always_2d=True)
        assert (rate_hz, made.shape) == (8000, (8000, min(channels, 2)))
        if channels <= 2:
            assert np.abs(made - sound).max() < 1e-4
        for start, stop in ((0, 10), (40, 60), (45, 46), (5001, 9999), (len(whole) - 3, len(whole))):
            status, headers, part = served.ask("/api/sound/0", headers={"Range": f"bytes={start}-{stop - 1}"})
            assert (status, part) == (206, whole[start:stop])
        assert served.ask("/api/sound/0", headers={"Range": "bytes=-5"})[2] == whole[-5:]
        assert served.ask("/api/sound/0", headers={"Range": "bytes=99999999-"})[0] == 416

    def test_a_damaged_stem_says_why(self, run: Run, serve: Callable) -> None:
        (run.dataset_root / "Song 1" / "bass.wav").write_bytes(b"no audio")
        status, _, content = serve(run.path).ask("/api/sound/0")
        assert status == 415 and "bass.wav" in json.loads(content)["error"]


def test_pictures_do_not_decode_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = ReviewSession(run, tmp_path / "cache").spectra(0)

    def decoded(*_: object) -> None:
        raise AssertionError("decoded again")

    monkeypatch.setattr(store, "open_audio", decoded)
    assert ReviewSession(run, tmp_path / "cache").spectra(0) == first


def test_decided_stems_come_last(run: Run, serve: Callable) -> None:
    served = serve(run.path)
    before = served.json("/api/stems")["queue"]
    decided = [before[1], before[4]]
    for index in decided:
        served.json("/api/decisions", {"index": index, "new": "drums"})
    others = [index for index in before if index not in decided]
    after = served.json("/api/stems")["queue"]
    assert sorted(after[:-2]) == sorted(others) and set(after[-2:]) == set(decided)
    assert serve(run.path).json("/api/stems")["queue"] == after


def test_killed_during_writes_nothing_acknowledged_is_lost(run: Run, serve: Callable) -> None:
    served = serve(run.path)
    acknowledged: list[int] = []

    def decide(which: int) -> None:
        while True:
            try:
                body = {"index": which, "new": "drums" if len(acknowledged) % 2 else "bass", "person": str(which)}
                acknowledged.append(served.json("/api/decisions", body)["number"])
            except (OSError, ConnectionError, AssertionError, ValueError):
                return
            except Exception as error:
                if type(error).__module__ == "http.client":
                    return
                raise

    writers = [threading.Thread(target=decide, args=(which,)) for which in range(4)]
    for writer in writers:
        writer.start()
    while len(acknowledged) < 30:
        time.sleep(0.01)
    os.kill(served.process.pid, signal.SIGKILL)
    for writer in writers:
        writer.join()
    kept = {one.number for one in Ledger(run.path).standing()}
    assert set(acknowledged) <= kept
    assert len(kept) <= len(acknowledged) + len(writers)
    # labels.csv is whole, and catches up when the review is started again.
    labels = open_run(run.path).labels
    serve(run.path)
    assert (run.path / "labels.csv").read_text() == labels.write_csv(float_precision=6)


def test_two_servers_of_one_run(run: Run, serve: Callable) -> None:
    one, other = serve(run.path), serve(run.path)
    made = one.json("/api/decisions", {"index": 0, "new": "drums", "person": "ada"})
    other.json("/api/decisions", {"index": 1, "new": "bass", "person": "grace"})
    assert set(one.json("/api/changes?since=0")["stems"]) == {"0", "1"}
    assert other.json("/api/stems/0")["refined"] == "drums"
    other.json("/api/undo", {"number": made["number"]})
    assert one.json("/api/stems/0")["refined"] == "drums+bass"
    assert [one.person for one in open_run(run.path).decisions] == ["grace"]
