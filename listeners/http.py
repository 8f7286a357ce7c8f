"""Messages by HTTP POST: the listener `http`.

Guarantees: the answer to a message goes out after it is stored (C1) and says what became of it; who has no right
is refused before the body is read; a body that is too large, too slow or broken costs bounded memory. Refuses:
peers outside `allow`, other methods and paths, clear text on a TLS port. The log names peers and counts.

| answer (`response: answer`)                         | status                               |
|-----------------------------------------------------|--------------------------------------|
| AA: stored (and done, as far as `ack` waits)         | 200 (202 with `response: accepted`)  |
| AE: stored as an error; do not send it again         | 422                                  |
| AR 205: the control id was used for another message  | 409                                  |
| AR 207: not stored, send it again                    | 503 with Retry-After                 |
| any other AR: not of the format                      | 400                                  |
| no or a wrong token · not in `allow`                 | 401 · 403                            |
| more than `max_rate` from one address                | 429 with Retry-After                 |
| too large · other path · other method                | 413 · 404 · 405                      |
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from engine.spec.component import BuildContext, component
from listeners.http_server import HttpServer, HttpSettings, Request


@component("listener", "http", example="http: {port: 8080, path: /hl7}")
class Http(HttpSettings):
    """Receives messages by HTTP POST, with or without TLS; every answer tells what became of the message.

    `Idempotency-Key` names a message that has no control id of its own: sent again, it is the same message.
    """

    path: str = Field(
        default="/", pattern="^/", description="Path that messages are posted to.", examples=["/hl7"]
    )
    response: Literal["answer", "accepted"] = Field(
        default="answer",
        description="The body of a good answer: the acknowledgement (200), or nothing (202).",
    )

    def build(self, context: BuildContext) -> HttpListener:
        """A listener on `context.reactor`; certificates are read and checked here."""
        self.check_token()
        return HttpListener(self, context)


class HttpListener(HttpServer):
    """See listeners.base.Listener."""

    settings: Http

    def good(self, request: Request, body: bytes) -> tuple[int, bytes]:
        """The acknowledgement, or nothing."""
        return (202, b"") if self.settings.response == "accepted" else (200, body)
