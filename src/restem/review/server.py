"""The review page's server: the addresses at which a browser reaches a `ReviewSession`, behind an `AccessGuard`."""

from __future__ import annotations

import getpass
import secrets
import socket
import webbrowser
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.types import ASGIApp

from restem.audio.cache_folder import default_cache
from restem.audio.reader import probe
from restem.auditing.audit import Audit
from restem.errors import AudioError, RestemError, RunError, TaxonomyError, UsageError
from restem.review.access import AccessGuard
from restem.review.found import FoundReview
from restem.review.ranges import RangedSound
from restem.review.session import ReviewSession, UnreachableError
from restem.review.sound import MadeWav, media_type, parse_range
from restem.runs.ledger import LONGEST_PERSON
from restem.runs.run import Run

HOST = "127.0.0.1"
_TOKEN_BYTES = 24
_LONGEST_ANSWER = 1000  # characters about what is wrong with a request
_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def _checked_text(text: str) -> str:
    """`text`, if it can be stored: JSON may hold half a character, which is no Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("is not valid Unicode") from error
    return text


_LARGEST_NUMBER = 2**63 - 1  # of SQLite

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0, le=_LARGEST_NUMBER)]
Person = Annotated[str, Field(max_length=LONGEST_PERSON), AfterValidator(_checked_text)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class DecisionAsked(_Asked):
    """What the page sends when a person decides; `new` is null for "I cannot tell"."""

    index: Number
    new: Annotated[str, Field(max_length=1000), AfterValidator(_checked_text)] | None
    person: Person = ""
    start_s: Seconds | None = None
    end_s: Seconds | None = None


class UndoAsked(_Asked):
    """What the page sends to take a decision back: one by its number, or the person's last."""

    person: Person = ""
    number: Number | None = None


class JudgementAsked(_Asked):
    """What the page of findings sends when a person decides about one: `real`, `ignore`, or nothing to take it back."""

    judged: Annotated[str, Field(max_length=10)]
    person: Person = ""


def make_app(
    session: ReviewSession, token: str, hosts: frozenset[str], person: str = "", found: FoundReview | None = None
) -> ASGIApp:
    """The ASGI application, all of whose addresses begin with `/<token>/`.

    hosts: see `AccessGuard`. person: who decides, unless the page names somebody else. found: what else is wrong with
    the dataset; by default what the run knows.
    """
    found = found or FoundReview(session, None)
    api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # Starlette's StaticFiles would take the media types from this machine's settings, and browsers refuse wrong ones.
    pages = {file.name: file.read_bytes() for file in (resources.files("restem.review") / "page").iterdir()}

    @api.exception_handler(RestemError)
    def failed(_: Request, error: RestemError) -> JSONResponse:
        status = {UnreachableError: 404, UsageError: 422, TaxonomyError: 422, AudioError: 415}.get(type(error), 500)
        # Messages may name paths of this machine: only its user can open the page.
        return JSONResponse({"error": str(error)}, status)

    @api.exception_handler(RequestValidationError)
    def misunderstood(_: Request, error: RequestValidationError) -> JSONResponse:
        # What was sent is not sent back: it may hold what JSON cannot, such as NaN.
        wrong = [".".join(map(str, one["loc"])) + ": " + str(one["msg"]) for one in error.errors()]
        return JSONResponse({"error": "; ".join(wrong)[:_LONGEST_ANSWER].encode(errors="replace").decode()}, 422)

    @api.exception_handler(Exception)
    def fault(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": f"A fault in restem itself: {type(error).__name__}."}, 500)

    @api.get("/")
    def index() -> Response:
        return Response(pages["index.html"], media_type="text/html")

    @api.get("/page/{name}")
    def page(name: str) -> Response:
        if name not in pages:
            return Response(status_code=404)
        return Response(pages[name], media_type=_MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream"))

    @api.get("/api/run")
    def run() -> dict[str, Any]:
        return {**session.describe(), "person": person, "findings": len(found.findings)}

    @api.get("/api/stems")
    def stems(first: Number = 0, count: Number | None = None, order: Number | None = None) -> JSONResponse:
        return JSONResponse(session.stems(first, count, order))

    @api.get("/api/stems/{index}")
    def stem(index: Number) -> JSONResponse:
        return JSONResponse(session.stem(index))

    @api.get("/api/spectra/{index}")
    def spectra(index: Number, start_s: Seconds = 0.0, end_s: Seconds | None = None) -> JSONResponse:
        return JSONResponse(session.spectra(index, start_s, end_s))

    @api.get("/api/remaining")
    def remaining() -> dict[str, Any]:
        return session.remaining()

    @api.get("/api/changes")
    def changes(since: Number) -> dict[str, Any]:
        return session.changes(since)

    @api.post("/api/decisions")
    def decide(asked: DecisionAsked) -> dict[str, Any]:
        return session.decide(asked.index, asked.new, asked.person.strip() or person, asked.start_s, asked.end_s)

    @api.post("/api/undo", response_model=None)
    def undo(asked: UndoAsked) -> dict[str, Any] | JSONResponse:
        undone = session.undo(asked.person.strip() or person, asked.number)
        return undone or JSONResponse({"error": "There is nothing to undo."}, 404)

    @api.api_route("/api/sound/{index}", methods=["GET", "HEAD"])
    def sound(index: Number, request: Request, range: Annotated[str | None, Header()] = None) -> Response:
        head = request.method == "HEAD"
        if ranged := session.ranged(index):
            return _made_response(ranged, ranged.kind, range, head)
        path, number = session.sound(index)
        if kind := media_type(probe(path, number), session.stream(index)):
            return FileResponse(path, media_type=kind)
        return _made_response(MadeWav.of(path, number), "audio/wav", range, head)

    @api.get("/findings")
    def findings_page() -> Response:
        return Response(pages["findings.html"], media_type="text/html")

    @api.get("/api/findings")
    def findings() -> JSONResponse:
        return JSONResponse({**session.describe(), "person_name": person, **found.table()})

    @api.get("/api/findings/{index}")
    def finding(index: Number) -> JSONResponse:
        return JSONResponse({"sides": found.sides(index)})

    @api.post("/api/findings/{index}")
    def judge(index: Number, asked: JudgementAsked) -> dict[str, Any]:
        return found.judge(index, asked.judged, asked.person.strip() or person)

    @api.api_route("/api/sound/findings/{index}/{side}", methods=["GET", "HEAD"])
    def finding_sound(
        index: Number, side: Number, request: Request, range: Annotated[str | None, Header()] = None
    ) -> Response:
        return _made_response(found.sound(index, side), "audio/wav", range, request.method == "HEAD")

    return AccessGuard(api, token, hosts)


def _made_response(sound: MadeWav | RangedSound, kind: str, wanted: str | None, head: bool) -> Response:
    """The bytes of a sound that is made or fetched while it is sent. wanted: the Range header, if there is one."""
    span = parse_range(wanted, sound.size)
    if span is None:
        return Response(status_code=416, headers={"content-range": f"bytes */{sound.size}"})
    start, stop = span
    headers = {"accept-ranges": "bytes", "content-length": str(stop - start)}
    if wanted is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{sound.size}"
    body: Iterator[bytes] = iter(()) if head else sound.read(start, stop)
    return StreamingResponse(body, 200 if wanted is None else 206, headers, kind)


def serve(
    run: Run,
    *,
    cache: Path | None = None,
    port: int = 0,
    person: str = "",
    follow_links: bool = False,
    browser: bool = True,
    audit: Audit | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serves the review page of `run` until it is interrupted.

    cache: the folder of the feature store. port: 0 for any that is free. person: who decides, by default the user.
    follow_links: also play files outside of the dataset to which links in it lead. browser: open the page in it.
    audit: of the dataset, whose findings are shown too. say: called with the address. Raises RunError when the run
    cannot be reviewed, UsageError for a port that cannot be used.
    """
    session = ReviewSession(run, cache or default_cache(), follow_links)
    found = FoundReview(session, audit)
    try:
        run.check_unchanged()
    except RunError as error:
        say(str(error))  # the other stems can be judged all the same
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen()  # from here on a browser waits for the answer instead of being refused
        except OSError as error:
            raise UsageError(f"Port {port} cannot be used ({error.strerror}); choose another `port`.") from error
        own = f"{HOST}:{listening.getsockname()[1]}"
        app = make_app(session, token, frozenset({own, own.replace(HOST, "localhost")}), person or _user(), found)
        address = f"http://{own}/{token}/"
        alone = " They are on this machine alone." if run.address is not None else ""
        say(f"Review {run.place} at {address}\nDecisions are kept in {session.ledger.path}.{alone} Ctrl-C ends.")
        if browser:
            webbrowser.open(address)
        config = uvicorn.Config(
            app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=2
        )
        try:
            uvicorn.Server(config).run([listening])
        finally:
            session.finish()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, as in some containers
        return ""
