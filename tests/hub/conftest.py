"""A stand-in for the Hugging Face hub on this machine: as much of its HTTP API as huggingface_hub needs here."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        digest = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + b"\0" + content)
        return digest.hexdigest()


@dataclass
class Hub:
    """address: for `endpoint`. repositories: `models/name/repository` -> what it holds. asked: paths of requests."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def answer(self, content: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
            body = content if isinstance(content, bytes) else json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def missing(self) -> None:
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0].strip("/").split("/")
            hub.asked.append(self.path)
            if path == ["api", "repos", "create"]:
                wanted = json.loads(body)
                kind = wanted.get("type") or "model"
                # Users that the hub does not know may not make anything; here everybody is "me".
                name = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
                if not name.startswith("me/"):
                    return self.answer({"error": "You don't have the rights to create a model"}, 403)
                key = f"{kind}s/{name}"
                url = f"{hub.address}/{'' if kind == 'model' else kind + 's/'}{name}"
                if key in hub.repositories:
                    return self.answer({"error": "You already created this repo", "url": url}, 409)
                private = bool(wanted.get("private") or wanted.get("visibility") == "private")
                hub.repositories[key] = Repository(private)
                return self.answer({"url": url, "name": name})
            if path == ["api", "validate-yaml"]:
                return self.answer({"errors": [], "warnings": []})
            repository = hub.repositories.get("/".join(path[1:4]))
            if repository is None:
                return self.missing()
            if path[4] == "preupload":
                files = json.loads(body)["files"]
                plain = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]
                return self.answer({"files": plain})
            assert path[4] == "commit", self.path
            for line in body.splitlines():
                operation = json.loads(line)
                if operation["key"] == "file":
                    value = operation["value"]
                    repository.files[value["path"]] = base64.b64decode(value["content"])
            page = f"{hub.address}/{'/'.join(path[2:4])}/commit/{repository.commit}"
            return self.answer({"commitUrl": page, "commitOid": repository.commit, "success": True})

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].strip("/").split("/")
            hub.asked.append(self.path)
            if path[0] == "api":
                repository = hub.repositories.get("/".join(path[1:4]))
                if repository is None:
                    return self.missing()
                siblings = [{"rfilename": name, "size": len(one)} for name, one in repository.files.items()]
                named = {"id": "/".join(path[2:4]), "sha": repository.commit, "private": repository.private}
                return self.answer({**named, "siblings": siblings})
            kind = "datasets" if path[0] == "datasets" else "models"
            place = path[1:] if kind == "datasets" else path
            repository = hub.repositories.get(f"{kind}/{place[0]}/{place[1]}")
            if repository is None:
                return self.missing()
            assert place[2] == "resolve" and place[3] == repository.commit, self.path
            content = repository.files["/".join(place[4:])]
            return self.answer(
                content, headers={"X-Repo-Commit": repository.commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
            )

        do_HEAD = do_GET  # noqa: N815

    return Handler


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    pytest.importorskip("huggingface_hub")
    from huggingface_hub import constants

    # Nobody's own token and cache.
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_XET_CACHE", str(tmp_path / "xet-cache"), raising=False)
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()
