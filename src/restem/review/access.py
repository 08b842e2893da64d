"""Who may talk to the review page: the browser that was given its address, on this machine, and nobody else.

The address holds a random token. A request without it gets nothing; nor does one that was sent to another host name
(a name that an attacker lets point to 127.0.0.1) or from another page's origin. What is sent back forbids the browser
to load anything from elsewhere.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LARGEST_BODY = 1 << 16
_LARGEST_REFUSED = 1 << 20  # what is read of a body that is refused

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
    """An ASGI application before another one. hosts: `Host` headers that are answered, as `127.0.0.1:8000`."""

    def __init__(self, app: App, token: str, hosts: frozenset[str]) -> None:
        self.app = app
        self.token = token
        self.hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # a web socket: not answered, so not opened

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
                theirs = [(name, value) for name, value in message["headers"] if name.decode() not in _HEADERS]
                message = {**message, "headers": [*theirs, *ours]}
            await send(message)

        if refusal := self._refusal(scope):
            status, reason = refusal
            await _discard(receive)
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await guarded({"type": "http.response.start", "status": status, "headers": headers})
            await guarded({"type": "http.response.body", "body": reason.encode()})
            return
        await self.app({**scope, "root_path": f"/{self.token}"}, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self.hosts:
            return 403, "This page is only there under its own address on this machine."
        token, slash, _ = scope["path"].lstrip("/").partition("/")
        if not slash or not secrets.compare_digest(token.encode(), self.token.encode()):
            return 404, "Nothing here. Open the address that restem review printed."
        if origin is not None and origin != f"http://{host}":
            return 403, "Requests of other pages are refused."
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return 403, "Requests of other pages are refused."
        if scope["method"] not in ("GET", "HEAD"):
            if not headers.get("content-type", "").startswith("application/json"):
                return 415, "Only JSON is taken."
            if not headers.get("content-length", "").isdigit() or int(headers["content-length"]) > LARGEST_BODY:
                return 413, "That is too much."
        return None


async def _discard(receive: Receive) -> None:
    """Reads what came with a request: a connection closed with bytes unread is reset, and the answer is lost."""
    read = 0
    while read < _LARGEST_REFUSED:
        message = await receive()
        read += len(message.get("body", b""))
        if not message.get("more_body", False):
            return
