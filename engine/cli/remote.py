"""Verbs on another machine: `--server URL`, through the REST API of its console, as the user of an API token.

    ISTHMUS_SERVER=https://console.clinic.example ISTHMUS_TOKEN_FILE=~/.isthmus-token isthmus messages errors

Guarantees: the same words and exit statuses as without `--server`; the token comes from the environment or a file that
only its owner can read, never from the command line, and goes over TLS (or stays on this machine); an act that is sent
again after a broken connection is done once (Idempotency-Key).
Refuses (UserError): `server.token` no token or a readable file, `server.url` an address without TLS, `server.down`,
`server.broken` an answer without its end.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click
import msgspec

from engine.errors import UserError

T = TypeVar("T")
LONGEST = 120.0  # seconds that an answer may take
LOCAL = ("localhost", "127.0.0.1", "::1")


class Answered(UserError):
    """A refusal of the API, with its status."""

    def __init__(self, status: int, code: str, what: str, todo: str, errors: list[dict[str, Any]]) -> None:
        super().__init__(what, code=code, todo=todo)
        self.status = status
        self.errors = errors


class Broken(UserError):
    """An answer that ended too early."""

    def __init__(self) -> None:
        super().__init__(
            "the console broke off in the middle of its answer", code="server.broken",
            todo="see its log, and ask again",
        )  # fmt: skip


class Remote:
    """The API of a console."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
            raise UserError(
                f"{url} would get the token without TLS",
                code="server.url",
                todo="write https://…, or tunnel to it",
            )
        self.url = url.rstrip("/") + "/api/v1"
        self._token = token

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> bytes:
        """One request, tried again once when the connection broke; what is gone by then was deleted the first time."""
        import httpx

        content, sent = self._sent(body, headers)
        if method == "POST":
            sent["Idempotency-Key"] = str(uuid.uuid4())
        for left in (1, 0):
            try:
                answer = httpx.request(
                    method, self.url + path, content=content, headers=sent, timeout=LONGEST
                )
                break
            except httpx.TransportError as error:
                if not left:
                    raise self._down(error) from None
        if answer.status_code < 400:
            return answer.content
        if method == "DELETE" and answer.status_code == 404 and not left:
            return b""
        raise refusal(answer.status_code, answer.content)

    def _sent(self, body: Any, headers: dict[str, str]) -> tuple[bytes | None, dict[str, str]]:
        sent = {"Authorization": f"Bearer {self._token}", "Accept": "application/json", **headers}
        if body is None:
            return None, sent
        return msgspec.json.encode(body), {**sent, "Content-Type": "application/json"}

    def _down(self, error: Exception) -> UserError:
        return UserError(
            f"{self.url} does not answer ({type(error).__name__})", code="server.down",
            todo="check the address, and that its console runs",
        )  # fmt: skip

    @contextmanager
    def lines(self, path: str, body: Any) -> Iterator[Iterator[bytes]]:
        """The answer of a POST that only reads, a line at a time as it comes. Broken in the middle of it."""
        import httpx

        content, sent = self._sent(body, {"Accept": "application/x-ndjson"})
        begun = False
        try:
            with httpx.stream(
                "POST", self.url + path, content=content, headers=sent, timeout=LONGEST
            ) as answer:
                if answer.status_code >= 400:
                    raise refusal(answer.status_code, answer.read())
                begun = True
                yield _lines(answer.iter_bytes())
        except httpx.TransportError as error:
            raise (Broken() if begun else self._down(error)) from None

    def get(self, path: str, kind: type[T]) -> T:
        """An answer of a kind."""
        return msgspec.json.decode(self.ask("GET", path), type=kind)

    def post(self, path: str, body: Any, kind: type[T], **headers: str) -> T:
        """What an act answers."""
        return msgspec.json.decode(self.ask("POST", path, body, **headers), type=kind)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines; what stands behind the last end of a line is none."""
    begun: list[bytes] = []
    for piece in pieces:
        *ended, rest = piece.split(b"\n")
        for line in ended:
            yield b"".join([*begun, line])
            begun = []
        begun.append(rest)


def refusal(status: int, content: bytes) -> Answered:
    try:
        told = msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError:
        told = {}
    code = str(told.get("title") or "server.answer")
    what = str(told.get("detail") or told.get("what") or f"the console answered {status}")
    if status == 401:
        what = "the console does not accept this token"
    return Answered(status, code, what, str(told.get("todo") or ""), told.get("errors") or [])


def token_of(file: Path | None) -> str:
    """The token of the environment, or the first line of a file that nobody else can read."""
    given = os.environ.get("ISTHMUS_TOKEN", "").strip()
    if given and file is None:
        return given
    if file is None:
        raise UserError(
            "there is no API token", code="server.token",
            todo="set ISTHMUS_TOKEN, or name a file with it by --token-file (ISTHMUS_TOKEN_FILE)",
        )  # fmt: skip
    try:
        mode, text = file.stat().st_mode, file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise UserError(f"the token file {file} cannot be read", code="server.token") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UserError(f"others can read {file}", code="server.token", todo=f"chmod 600 {file}")
    return text.strip().partition("\n")[0]


def served(other: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """With `--server`, `other(remote, **arguments)` runs instead of the verb. Stands directly above it."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def chosen(server: str | None, token_file: Path | None, **arguments: Any) -> Any:
            if not server:
                return function(**arguments)
            return other(Remote(server, token_of(token_file)), **arguments)

        for option in (
            click.option(
                "--token-file", type=click.Path(path_type=Path, dir_okay=False), envvar="ISTHMUS_TOKEN_FILE",
                help="File with the API token; else ISTHMUS_TOKEN.",
            ),
            click.option(
                "--server", metavar="URL", envvar="ISTHMUS_SERVER",
                help="Ask the console there instead of the data folder here.",
            ),
        ):  # fmt: skip
            chosen = option(chosen)
        return chosen

    return decorate
