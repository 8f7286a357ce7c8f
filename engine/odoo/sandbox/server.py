"""The sandbox over HTTP, on a Twisted reactor that is passed in.

Guarantees: one request after the other, as `Sandbox.handle` answers it (a call takes milliseconds, so it runs
in the reactor thread); like Odoo it closes every connection and takes bodies up to 128 MiB. Refuses: larger
bodies (413). With `faults`, a test decides for each request what goes wrong; without, nothing does.

| fault | what the caller sees | was the request done |
|---|---|---|
| `delay` | the answer comes that many seconds later | yes |
| `lost` | the connection is cut before the request was looked at | no |
| `drop` | the connection is cut without an answer | yes |
| `half` | half of the body, then the connection is cut | yes |
| `status` | that status with an HTML page, as a proxy gives it | no |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from engine.odoo.sandbox.sandbox import Sandbox

LIMIT = 128 * 1024 * 1024
_PAGE = b"<html><head><title>Error</title></head><body><h1>Bad Gateway</h1></body></html>\n"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request; `delay` is in seconds and goes with any of the others."""

    delay: float = 0.0
    lost: bool = False
    drop: bool = False
    half: bool = False
    status: int = 0


Faults = Callable[[int, str], Fault | None]
"""Given the number of the request (from 1) and its path, what goes wrong with it."""


class SandboxResource(Resource):
    """Every path of the site."""

    isLeaf = True

    def __init__(self, sandbox: Sandbox, reactor: Any, faults: Faults | None = None) -> None:
        super().__init__()
        self._sandbox = sandbox
        self._reactor = reactor
        self._faults = faults
        self.requests = 0

    def render(self, request: Request) -> Any:
        """Answer a request."""
        self.requests += 1
        path = request.uri.decode("latin-1")
        fault = (self._faults(self.requests, path) if self._faults else None) or Fault()
        if fault.lost:
            return self._cut(request)
        headers = {
            name.decode("latin-1"): b", ".join(values).decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        content: Any = request.content
        body = content.read(LIMIT + 1)
        if len(body) > LIMIT:
            answer: tuple[int, dict[str, str], bytes] = (413, {"Content-Type": "text/html"}, _PAGE)
        elif fault.status:
            answer = (fault.status, {"Content-Type": "text/html; charset=utf-8"}, _PAGE)
        else:
            answer = self._sandbox.handle(request.method.decode("latin-1"), path, headers, body)
        if not fault.delay:
            return self._send(request, fault, answer)
        waiting = self._reactor.callLater(fault.delay, self._send, request, fault, answer)
        request.notifyFinish().addErrback(lambda _: self._cancel(waiting))
        return NOT_DONE_YET

    @staticmethod
    def _cancel(waiting: Any) -> None:
        try:
            waiting.cancel()
        except (AlreadyCalled, AlreadyCancelled):
            return

    @staticmethod
    def _cut(request: Request) -> int:
        wire: Any = request.transport
        wire.abortConnection()
        return NOT_DONE_YET

    def _send(self, request: Request, fault: Fault, answer: tuple[int, dict[str, str], bytes]) -> int:
        if fault.drop:
            return self._cut(request)
        status, headers, body = answer
        request.setResponseCode(status)
        for name, value in headers.items():
            request.setHeader(name.encode("latin-1"), value.encode("latin-1"))
        request.setHeader(b"Content-Length", str(len(body)).encode("ascii"))
        request.setHeader(b"Connection", b"close")
        channel: Any = request.channel
        channel.persistent = False
        if fault.half:
            request.write(body[: len(body) // 2])
            wire: Any = request.transport
            wire.loseConnection()
            return NOT_DONE_YET
        request.write(body)
        request.finish()
        return NOT_DONE_YET


class _Site(Site):
    """Keeps no access log: paths and callers are nobody's business."""

    def log(self, request: Any) -> None:
        """Nothing."""


def serve(
    sandbox: Sandbox,
    interface: str,
    port: int,
    reactor: Any,
    *,
    faults: Faults | None = None,
) -> Deferred[Any]:
    """Listen on `interface` and `port` (0 takes a free one); the Deferred gives Twisted's listening port."""
    site = _Site(SandboxResource(sandbox, reactor, faults), reactor=reactor)
    site.displayTracebacks = False
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    listening: Deferred[Any] = kind(reactor, port, interface=interface).listen(site)
    return listening
