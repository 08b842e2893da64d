"""The same on a server of S3, which moto runs here: with worker processes, and with what goes wrong there."""

from __future__ import annotations

import io
import logging
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from joblib.externals.loky import get_reusable_executor

import restem
from restem.addresses import Address, as_path, list_objects, upload
from restem.errors import DatasetError, RestemError
from restem.review.ranges import RangedSound

pytestmark = pytest.mark.cluster

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("s3fs")
pytest.importorskip("moto.server")

REFINED: dict[str, Any] = {
    "rounds": 1,
    "folds": 1,
    "steps": 2,
    "seed": 5,
    "workers": 2,
    "device": "cpu",
    "licence": "CC0",
}


class Requests(logging.Handler):
    """What was asked of the server since the last `clear`: method and path."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage().split('"')[1]
        for colour in ("\x1b[33m", "\x1b[35m", "\x1b[1m", "\x1b[0m"):
            line = line.replace(colour, "")
        self.seen.append((line.split(" ")[0], line.split(" ")[1]))

    def count(self, method: str, part: str = "") -> int:
        return sum(one == method and part in path for one, path in self.seen)


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Requests]:
    """A server with an empty bucket `bucket`; the environment leads to it."""
    from moto.server import ThreadedMotoServer

    handler, logger = Requests(), logging.getLogger("werkzeug")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in credentials(home).items():
            patch.setenv(name, value)
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=True)
        server.start()
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*server.get_host_and_port()))
        fsspec.filesystem("s3").mkdir("bucket")
        get_reusable_executor().shutdown(wait=True)  # workers of earlier tests have another environment
        yield handler
        server.stop()


def credentials(home: Path) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": str(home / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(home / "none"), "AWS_MAX_ATTEMPTS": "1",
        "XDG_DATA_HOME": str(home / "data"), "XDG_CACHE_HOME": str(home / "cache"),
    }  # fmt: skip


def put_folder(folder: Path, text: str) -> Address:
    address = as_path(text)
    assert isinstance(address, Address)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    upload([(path, address / path.relative_to(folder).as_posix()) for path in files])
    return address


@pytest.fixture(scope="module")
def local(requests: Requests, tmp_path_factory, band_writer: Callable[..., Path]) -> restem.Run:  # noqa: ARG001
    """A run of a dataset on a disk; its workers, which are used again, have the environment of the server."""
    root = tmp_path_factory.mktemp("local")
    songs = band_writer(root / "songs", songs=2, seconds=2.5)
    return restem.refine(songs, root / "run", cache=root / "cache", **REFINED)


@pytest.fixture(scope="module")
def stored(local: restem.Run, requests: Requests) -> restem.Run:
    """The run of the same dataset in the bucket; `requests` holds what it took."""
    songs = put_folder(local.dataset_root, "s3://bucket/songs")
    requests.seen.clear()
    return restem.refine(songs, "s3://bucket/run", cache="s3://bucket/cache", **REFINED)


def test_s3_equals_a_disk(local: restem.Run, stored: restem.Run, requests: Requests, tmp_path: Path) -> None:
    run, songs = stored, stored.dataset_root
    for name in ("labels.csv", "segments.parquet", "classifier/model.safetensors"):
        assert (run.place / name).read_bytes() == (local.path / name).read_bytes(), name
    stems = len(local.labels)
    # Every stem is read once, for its features and for damage, and compared with the listing. Every entry is put once,
    # and stays here as well.
    assert requests.count("GET", "/bucket/songs/") == requests.count("HEAD", "/bucket/songs/") == stems
    assert requests.count("PUT", "/bucket/cache/") == stems and requests.count("GET", "/bucket/cache/") == 0
    puts = [path for method, path in requests.seen if method == "PUT" and path.startswith("/bucket/run/")]
    assert puts[-1] == "/bucket/run/run.json" and len(puts) == len(set(puts))

    there, here = restem.scan(songs, workers=2), restem.scan(local.dataset_root, workers=2)
    assert there.equals(here)
    found = restem.audit(songs, "s3://bucket/audit", workers=2)
    assert found.findings.equals(restem.audit(local.dataset_root, tmp_path / "audit", workers=2).findings)
    exported = restem.export("s3://bucket/run", "s3://bucket/out", link="copy")
    assert restem.open_dataset(exported.path).songs == local.dataset.songs
    for stem in local.dataset.stems:
        assert (exported.path / stem.path).read_bytes() == local.dataset.file(stem).read_bytes()


def test_s3_from_a_ray_cluster(local: restem.Run, stored: restem.Run, monkeypatch, tmp_path: Path) -> None:
    pytest.importorskip("ray").shutdown()  # a cluster of earlier tests has another environment
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    out = "s3://bucket/by-ray"
    run = restem.refine(stored.dataset_root, out, cache="s3://bucket/ray-cache", ray="local", **REFINED)
    for name in ("labels.csv", "segments.parquet", "classifier/model.safetensors"):
        assert (run.place / name).read_bytes() == (local.path / name).read_bytes(), name
    exported = restem.export(run, "s3://bucket/ray-out", link="copy", ray="local")
    for stem in local.dataset.stems:
        assert (exported.path / stem.path).read_bytes() == local.dataset.file(stem).read_bytes()


def test_a_second_in_the_middle_takes_two_requests(requests: Requests) -> None:
    system, key = as_path("s3://bucket/long.wav").opened()  # type: ignore[attr-defined]
    content = io.BytesIO()
    soundfile.write(content, np.random.default_rng(0).uniform(-0.5, 0.5, 12_000_000), 44100, "PCM_16", format="WAV")
    system.pipe_file(key, content.getvalue())
    address = as_path("s3://bucket/long.wav")
    assert isinstance(address, Address)
    requests.seen.clear()
    sound = RangedSound.of(address, None)
    assert sound is not None and (sound.kind, sound.size) == ("audio/wav", len(content.getvalue()))
    middle = sound.size // 2
    found = b"".join(sound.read(middle, middle + 88200))
    assert found == content.getvalue()[middle : middle + 88200]
    assert requests.count("GET") == 2


SERVE = """
import sys
import restem
restem.serve_review(sys.argv[1], person="ada", browser=False, say=lambda text: print(text, flush=True))
"""


def test_the_review_plays_what_is_in_the_bucket(stored: restem.Run, start_python) -> None:
    process = start_python("-c", SERVE, stored.place)
    address = process.stdout.readline().split(" at ")[1].strip()
    assert "They are on this machine alone." in process.stdout.readline()
    for index, stem in enumerate(stored.dataset.stems):
        content = stored.dataset.file(stem).read_bytes()
        asked = urllib.request.Request(f"{address}api/sound/{index}", headers={"range": "bytes=1000-1999"})
        with urllib.request.urlopen(asked) as answer:
            assert answer.status == 206 and answer.headers["content-type"] == "audio/wav"
            assert answer.headers["content-range"] == f"bytes 1000-1999/{len(content)}"
            assert answer.read() == content[1000:2000]
    with urllib.request.urlopen(f"{address}api/spectra/0") as answer:
        assert answer.status == 200


def test_changed_and_hostile_objects(local: restem.Run, requests: Requests) -> None:  # noqa: ARG001
    songs = put_folder(local.dataset_root, "s3://bucket/changing")
    system, key = songs.opened()
    content = system.cat_file(f"{key}/Song 1/bass.wav")
    before = list_objects(songs)["Song 1/bass.wav"]
    system.pipe_file(f"{key}/Song 1/bass.wav", content[:-2] + b"\1\1")
    after = list_objects(songs)["Song 1/bass.wav"]
    assert before.size == after.size and before.version != after.version
    for name in ("../bass.wav", "Song 1//bass.wav", "Song 1/..\\bass.wav", "Song 1/a\\b.wav"):
        system.pipe_file(f"{key}/{name}", content)
    system.pipe_file(f"{key}/Song 3/", b"")  # as consoles do
    system.pipe_file(f"{key}/a::b.txt", b"text")
    assert (songs / "a::b.txt").read_bytes() == b"text"
    dataset = restem.open_dataset(songs)
    assert dataset.songs == local.dataset.songs and len(dataset.skipped) == 5
    assert sum("rename it" in item.reason for item in dataset.skipped) == 4


def test_a_bucket_that_is_not_there(local: restem.Run, requests: Requests, tmp_path: Path) -> None:  # noqa: ARG001
    with pytest.raises(DatasetError, match=r"^s3://nowhere/songs: no such folder"):
        restem.open_dataset("s3://nowhere/songs")
    with pytest.raises(
        RestemError, match=r"^s3://nowhere/run: there is no such bucket; create it, or correct"
    ) as caught:
        restem.refine(local.dataset_root, "s3://nowhere/run", cache=tmp_path / "cache", **REFINED)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (403, "AccessDenied", r"access is denied \(.*\); check the key, and what it may do\.$"),
        (503, "SlowDown", r"cannot be reached or answers with an error \(.*\); the same command goes on later\.$"),
    ],
)
def test_a_server_that_refuses(status: int, code: str, told: str, tmp_path: Path, monkeypatch) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<Error><Code>{code}</Code><Message>Not now.</Message></Error>".encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    for name, value in credentials(tmp_path).items():
        monkeypatch.setenv(name, value)
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        fsspec.filesystem("s3").clear_instance_cache()
        with pytest.raises(RestemError, match=rf"^s3://bucket/{code}: {told}") as caught:
            restem.open_dataset(f"s3://bucket/{code}")
        server.shutdown()
    fsspec.filesystem("s3").clear_instance_cache()
    assert "\n" not in str(caught.value)


def test_no_credentials(tmp_path: Path, monkeypatch) -> None:
    for name, value in credentials(tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(RestemError, match=r"^s3://bucket/x: no credentials were found \(.*\); give them in the usual"):
        restem.open_dataset("s3://bucket/x")
    fsspec.filesystem("s3").clear_instance_cache()
