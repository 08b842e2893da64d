"""Who may talk to the review page: the browser that was given its address, on this machine, and nobody else.

The address holds a random token, and a request without it is refused. So is a request for another host name (an
attacker can let any name point to 127.0.0.1) and one that comes from another page. Every answer forbids the browser to
load anything from elsewhere.

Starlette's `TrustedHostMiddleware` is not used: it ignores the port of a host, which the check of the origin needs,
and it answers before the body of a request has been read, so that the connection is reset and the answer lost.
"""

from __future__ import annotations

import logging
import re
import secrets

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG = logging.getLogger("uvicorn.error")

LARGEST_BODY = 1 << 16  # bytes
_LARGEST_REFUSED = 1 << 20  # bytes that are read of a refused body

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class AccessGuard:
    """An ASGI application in front of another one. hosts: the `Host` headers that are answered (`127.0.0.1:8000`)."""

    def __init__(self, app: ASGIApp, token: str, hosts: frozenset[str]) -> None:
        self.app = app
        self.token = token
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a web socket stays closed when nobody answers

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(scope)
        if refusal is None:
            try:
                body = await _body(receive)
                await self.app({**scope, "root_path": f"/{self.token}"}, body, guarded)
                return
            except _TooLargeError:
                refusal = 413, "The request is too large."
            except Exception as error:
                # It was answered with status 500. The server's own message would show the token.
                _LOG.error("A fault in restem itself: %s: %s", type(error).__name__, error)
                return
        status, reason = refusal
        await _discard(receive)
        await PlainTextResponse(reason, status, {"connection": "close"})(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, or None for a request that is answered."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return 403, "This page answers only at its own address on this machine."
        token, slash, _ = scope["path"].lstrip("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode(errors="replace"), self.token.encode()):
            return 404, "There is nothing here. Open the address that restem review printed."
        if any(origin != f"http://{hosts[0]}" for origin in headers.getlist("origin")):
            return 403, "Requests of other pages are refused."
        if any(site not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
            return 403, "Requests of other pages are refused."
        if scope["method"] not in ("GET", "HEAD"):
            if not headers.get("content-type", "").startswith("application/json"):
                return 415, "Only JSON is accepted."
            length = headers.get("content-length", "")
            if not re.fullmatch("[0-9]{1,9}", length) or int(length) > LARGEST_BODY:
                return 413, "The request is too large."
        return None


class _TooLargeError(Exception):
    """A request has a longer body than its headers say, or one where none belongs."""


async def _body(receive: Receive) -> Receive:
    """Reads the body of a request; returns what gives it to the application, and then waits as `receive` does.

    Headers do not limit a body that comes in chunks, so what arrives is counted. Raises _TooLargeError.
    """
    content = bytearray()
    while True:
        message = await receive()
        content += message.get("body", b"")
        if len(content) > LARGEST_BODY:
            raise _TooLargeError
        if not message.get("more_body", False):
            break
    messages = [{**message, "body": bytes(content)}] if message["type"] == "http.request" else [message]

    async def once() -> Message:
        return messages.pop() if messages else await receive()

    return once


async def _discard(receive: Receive) -> None:
    """Reads the body of a request: a connection closed with bytes unread is reset, and the answer is lost."""
    read = 0
    while read < _LARGEST_REFUSED:
        message = await receive()
        read += len(message.get("body", b""))
        if not message.get("more_body", False):
            return
