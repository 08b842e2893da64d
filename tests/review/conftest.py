"""A run over real sounds, put together without training, and its review page in a process of its own."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from restem.runs.run import Run, write_run
from restem.runs.tables import labels_schema, segments_schema
from restem.taxonomy import Taxonomy

TAXONOMY = Taxonomy()
SECONDS = 6.0
PATIENCE_S = 200.0  # the longest wait for what a loaded machine does in a second; below pytest's own limit

# Of every song's stems: refined, verdict, quality, scores.
FOUND = {
    "bass": ("bass+drums", "changed", 0.05, [0.02, 0.95, 0.97, 0.03]),
    "drums": ("drums", "kept", 0.95, [0.01, 0.98, 0.02, 0.02]),
    "other": ("other", "unsure", 0.45, [0.5, 0.05, 0.03, 0.9]),
    "vocals": ("vocals", "kept", 0.9, [0.97, 0.03, 0.01, 0.04]),
}

SERVE = """
import sys
import restem
run, cache, port, *audit = sys.argv[1:]
restem.serve_review(
    run, cache=cache, port=int(port), person="ada", browser=False, audit=audit[0] if audit else None,
    say=lambda text: print(text, flush=True),
)
"""


@dataclass(frozen=True)
class Served:
    """A review page that is being served. process: may be killed."""

    process: Any
    address: str
    port: int
    token: str

    def ask(
        self, path: str, method: str = "GET", body: Any = None, headers: dict[str, str] | None = None, token: str = ""
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; path is below the token."""
        sent = {"Host": f"127.0.0.1:{self.port}", **({"Content-Type": "application/json"} if body is not None else {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        try:
            data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
            # putrequest, because request() would send its own Host beside ours.
            connection.putrequest(method, f"/{token or self.token}{path}", skip_host=True, skip_accept_encoding=True)
            for name, value in {**sent, **(headers or {})}.items():
                if value:
                    connection.putheader(name, value)
            if data is not None:
                connection.putheader("Content-Length", str(len(data)))
            connection.endheaders(data)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, path: str, body: Any = None) -> Any:
        status, _, content = self.ask(path, "GET" if body is None else "POST", body)
        assert status == 200, content
        return json.loads(content)


def reviewable(root: Path, songs: int, write_band: Callable[..., Path]) -> Run:
    """A run `root/run` of the songs in `root/songs`."""
    dataset = write_band(root / "songs", songs=songs, seconds=SECONDS)
    rows, segments = [], []
    for path in sorted(dataset.rglob("*.wav")):
        song, name = path.parent.name, path.stem
        refined, verdict, quality, scores = FOUND[name]
        stem = f"{song}/{path.name}"
        rows.append(
            (song, stem, name, TAXONOMY.format(refined.split("+")), verdict, quality, *scores, SECONDS, SECONDS)
        )
        # The score of what is found rises to its highest from 3 s on.
        segments += [(song, stem, float(t), t + 3.0, -20.0, *(np.array(scores) * (t + 1) / 4)) for t in range(4)]
    labels_table = pl.DataFrame(rows, schema=labels_schema(TAXONOMY), orient="row")
    table = pl.DataFrame(segments, schema=segments_schema(TAXONOMY), orient="row")
    description = {"dataset": {"root": str(dataset), "classes": list(TAXONOMY.classes), "aliases": {}}}
    return write_run(root / "run", TAXONOMY, labels_table, table, description)


MANY = (
    "vocals", "drums", "bass", "other", "guitar", "piano", "strings", "synthesizer", "woodwinds", "brass", "percussion",
    "accordion", "backing-vocals", "harp", "choir", "effects",
)  # fmt: skip


def _many_classes(root: Path, classes: int, seconds: float = 8.0) -> Run:
    """A run `root/run` of one song with one stem a class, whose labels are all in some doubt; its stems sound alike."""
    taxonomy = Taxonomy(MANY[:classes])
    rng = np.random.default_rng(0)
    folder = root / "songs" / "Song"
    folder.mkdir(parents=True)
    sound = 0.1 * rng.standard_normal(round(seconds * 8000))
    rows, segments = [], []
    for place, name in enumerate(taxonomy.classes):
        stem = f"Song/{name}.wav"
        soundfile.write(root / "songs" / stem, sound * 0.8**place, 8000, subtype="PCM_16")
        scores = np.where(np.arange(classes) == place, 0.9, 0.02)
        scores[(place + 1) % classes] = 0.3
        rows.append(("Song", stem, name, name, "unsure", 0.6, *scores, seconds, seconds))
        level_db = -20.0 + 20 * place * np.log10(0.8)
        segments += [("Song", stem, float(t), t + 3.0, level_db, *scores) for t in range(round(seconds) - 2)]
    labels = pl.DataFrame(rows, schema=labels_schema(taxonomy), orient="row")
    table = pl.DataFrame(segments, schema=segments_schema(taxonomy), orient="row")
    description = {"dataset": {"root": str(root / "songs"), "classes": list(taxonomy.classes), "aliases": {}}}
    return write_run(root / "run", taxonomy, labels, table, description)


@pytest.fixture
def run(tmp_path: Path, write_band: Callable[..., Path]) -> Run:
    return reviewable(tmp_path, 3, write_band)


@pytest.fixture
def many_classes(tmp_path: Path) -> Callable[..., Run]:
    """`many_classes(16, seconds=8.0)`; see `_many_classes`."""
    return lambda classes, seconds=8.0: _many_classes(tmp_path / "many", classes, seconds)


@pytest.fixture
def serve(start_python: Callable, tmp_path: Path) -> Callable[..., Served]:
    """`serve(run_path)`: starts the review of a run, with an audit if there is one."""

    def start(path: Path, port: int = 0, audit: Path | None = None) -> Served:
        process = start_python("-c", SERVE, path, tmp_path / "cache", port, *([] if audit is None else [audit]))
        line = process.stdout.readline()
        assert " at http://" in line, line + process.stdout.read()
        address = line.split(" at ")[1].strip()
        _, _, host, token, _ = address.split("/")
        return Served(process, address, int(host.rpartition(":")[2]), token)

    return start


@pytest.fixture(scope="module")
def refusing(
    tmp_path_factory: pytest.TempPathFactory, band_writer: Callable[..., Path]
) -> Iterator[tuple[Served, Run]]:
    """A page and its run that many tests share, because none of them gets anything done; served by this process."""
    uvicorn = pytest.importorskip("uvicorn")
    from restem.review.server import make_app
    from restem.review.session import ReviewSession

    root = tmp_path_factory.mktemp("refusing")
    run, token = reviewable(root, 3, band_writer), "the-token-of-this-page"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        hosts = frozenset({f"127.0.0.1:{port}", f"localhost:{port}"})
        app = make_app(ReviewSession(run, root / "cache"), token, hosts, "ada")
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", server_header=False))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield Served(None, f"http://127.0.0.1:{port}/{token}/", port, token), run
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium, started once."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    arguments = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ]  # fmt: skip
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=arguments, timeout=0)
        yield browser
        browser.close()


@pytest.fixture
def served(run: Run, serve: Callable[..., Served]) -> Served:
    """The review page of `run`."""
    return serve(run.path)


@pytest.fixture
def open_page(chromium: Any, served: Any) -> Iterator[Callable[..., Any]]:
    """`open_page()`: a new tab on the page; what went wrong in it fails the test."""
    contexts, errors = [], []

    def start(**options: Any) -> Any:
        contexts.append(chromium.new_context(**{"viewport": {"width": 1200, "height": 800}, **options}))
        contexts[-1].set_default_timeout(1000 * PATIENCE_S)
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: errors.append(request.url) if not allowed(request.url) else None)
        page.goto(served.address)
        page.wait_for_selector("html[data-ready]")
        return page

    def allowed(url: str) -> bool:
        return url.startswith((served.address, "data:", "blob:"))

    yield start
    for context in contexts:
        context.close()
    assert errors == []
