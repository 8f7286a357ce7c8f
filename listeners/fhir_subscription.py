"""Notifications of FHIR servers: the listener `fhir_subscription`.

Guarantees: a notification is stored (C1) before it is answered, and answered with the FHIR body and the status that
servers take for success; who has no right (path token, header, bearer token, network) is refused before the body is
read, a wrong signature before anything is stored; each event becomes a message of its own, named so that it is the
same message when it is sent again. Refuses: other methods and paths; bodies that are no FHIR JSON are stored as
ERROR and answered 400 with an OperationOutcome. What arrives and what becomes of it: `engine.fhir.notification`,
`docs/fhir.md`.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, ClassVar

import orjson
from pydantic import Field, SecretStr, field_validator
from twisted.internet.defer import Deferred
from twisted.web import http

from engine.clock import Micros
from engine.errors import ConfigError, HL7Error
from engine.fhir import release
from engine.fhir.notification import Notification, Status, detect
from engine.fhir.resource import Fhir
from engine.fhir.subscription import Wanted
from engine.fhirserver.gaps import Gaps
from engine.fhirserver.registrar import Registrar
from engine.fhirserver.written import OWN, Written
from engine.formats.base import bad
from engine.model import Carried
from engine.spec.component import BuildContext, Settings, component
from engine.spec.meaning import ConnectionName
from engine.spec.units import Age
from listeners.base import Receiver
from listeners.http_server import Arrival, HttpServer, HttpSettings, Request
from listeners.reconcile import DELETIONS, Reader, our_searches, server_of
from listeners.subscribe import Subscribe

ANSWER = orjson.dumps({"resourceType": "Bundle", "type": "transaction-response"})
SHORTEST = 16  # characters of a secret


class SecretHeader(Settings):
    """A header that every request must have."""

    name: str = Field(pattern=r"^[A-Za-z0-9-]+$", description="Its name.", examples=["X-Engine"])
    value: SecretStr = Field(description="Its value.", examples=["!secret fhir_header"])


@component(
    "listener",
    "fhir_subscription",
    example="fhir_subscription: {port: 8080, path: /fhir/hook}",
)
class FhirSubscription(HttpSettings):
    """Receives the notifications of a FHIR server: R4 rest-hook, R4 backport, R4B and R5; needs `format: fhir`.

    POST, PUT and DELETE, at `path` and at `path/Type/id`. Each event becomes one message, the resource itself;
    handshakes and heartbeats are stored as FILTERED. See docs/fhir.md.
    """

    tells_states: ClassVar[bool] = True

    path: str = Field(
        default="/fhir", pattern="^/", description="Path that the server sends to.", examples=["/fhir/hook"]
    )
    connection: ConnectionName = Field(
        default="",
        description="Name of a `fhir` connection: resources that a notification only names are read there.",
        examples=["ehr"],
    )
    path_token: SecretStr | None = Field(
        default=None,
        description="Secret that follows `path`, for servers that can send no header: `/fhir/hook/SECRET`.",
        examples=["!secret fhir_path"],
    )
    header: SecretHeader | None = Field(default=None, description="A header that every request must have.")
    signature: SecretStr | None = Field(
        default=None,
        description="Secret of the HMAC-SHA256 of the body, in `X-Signature` or `X-Hub-Signature`.",
        examples=["!secret fhir_signature"],
    )
    subscribe: Subscribe | None = Field(
        default=None,
        description="The channel registers on the server of `connection` itself.",
        examples=[{"url": "https://isthmus.example:2577/fhir/hook", "criteria": ["Patient?"]}],
    )
    catch_up: list[str] = Field(
        default=[],
        description="Searches for what changed, when the server does not say what did, or may have told in vain."
        " Default: the criteria of `subscribe`.",
        examples=[["Patient?", "Appointment?"]],
    )
    deletions: Age = DELETIONS
    reliable_counter: bool = Field(
        default=False, description="The server's event numbers never begin again: they name its events."
    )

    @field_validator("path_token", "signature")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < SHORTEST:
            raise ValueError(f"is shorter than {SHORTEST} characters: anybody could guess it")
        return value

    @field_validator("catch_up", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("catch_up")
    @classmethod
    def _are_searches(cls, value: list[str]) -> list[str]:
        return our_searches(value)

    @property
    def searches(self) -> list[str]:
        """What the server is searched for."""
        return self.catch_up or (self.subscribe.criteria if self.subscribe is not None else [])

    @field_validator("header")
    @classmethod
    def _header_long_enough(cls, value: SecretHeader | None) -> SecretHeader | None:
        if value is not None:
            cls._long_enough(value.value)
        return value

    def build(self, context: BuildContext) -> FhirListener:
        """A listener on `context.reactor`; certificates are read and checked here."""
        self.check_token()
        if not isinstance(context.format, Fhir):
            raise ConfigError(
                "fhir_subscription takes FHIR messages", code="fhir.format",
                todo="write `format: fhir` in the channel",
            )  # fmt: skip
        if self.catch_up and not self.connection:
            raise ConfigError(
                "catch_up searches the server of `connection`, and there is none", code="fhir.connection",
                todo="write `connection: NAME`", where=context.at("catch_up"),
            )  # fmt: skip
        if self.connection:
            server_of(self.connection, context)
        return FhirListener(self, context)

    def wanted(self, context: BuildContext) -> list[Wanted]:
        """The Subscriptions that the channel keeps on its server."""
        if self.subscribe is None:
            return []
        header = (self.header.name, self.header.value) if self.header else None
        connection = context.connections.get(self.connection)
        try:
            return self.subscribe.wanted(
                connection, context.channel, self.token, self.path_token, header, self.signature
            )
        except ConfigError as error:
            error.where = context.at("subscribe")
            raise


class FhirArrival(Arrival):
    """One notification."""

    __slots__ = ("carried",)

    def __init__(self, body: bytes, request: Request, found: Notification, received_at: Micros) -> None:
        super().__init__(body if found.reason else found.messages[0][0], request, received_at)
        if found.reason:
            self.carried = Carried(found.kind, found.control_id, found.reason, found.messages)
        else:
            self.carried = None
            self.reference = found.messages[0][1] or self.reference


class FhirListener(HttpServer):
    """See listeners.base.Listener."""

    settings: FhirSubscription
    format: Fhir
    methods: ClassVar[tuple[bytes, ...]] = (b"POST", b"PUT", b"DELETE")

    def __init__(self, settings: FhirSubscription, context: BuildContext) -> None:
        super().__init__(settings, context)
        self._base = settings.path.rstrip("/")
        server = context.connections.get(settings.connection) if settings.connection else None
        self._written = server.written if server is not None else Written()
        self._channel = context.channel
        self._secret = _bytes(settings.path_token)
        self._key = _bytes(settings.signature)
        self._header = settings.header and (settings.header.name.encode(), _bytes(settings.header.value))
        wanted = settings.wanted(context)
        self._registrar: Registrar | None = None
        self._reader: Reader | None = None
        self._gaps: Gaps | None = None
        if settings.searches and server is not None and context.reactor is not None:
            self._reader = Reader(server, settings.searches, context, deletions=settings.deletions)
            self._gaps = Gaps(
                server.client(context.reactor), channel=context.channel, reactor=context.reactor,
                hand=self._reader.hand, foreign=self._foreign, missed=self._missed,
                counter=settings.reliable_counter,
            )  # fmt: skip
        if wanted and server is not None and context.reactor is not None:
            self._registrar = Registrar(
                server.client(context.reactor), server.registering, wanted, server.version,
                channel=context.channel, reactor=context.reactor, missed=self._missed,
                told=self._heard, secret_address=bool(self._secret),
            )  # fmt: skip

    def start(self, receiver: Receiver) -> Deferred[Any]:
        """Open the port, and then register."""
        return super().start(receiver).addCallback(self._begin)

    def resume(self) -> None:
        """Take notifications; who is put in the place of another listener registers now."""
        super().resume()
        self._begin()

    def pause(self) -> None:
        """Take and read nothing more."""
        super().pause()
        self._read_no_more()

    def stop(self) -> Deferred[None]:
        """Close the port. The Subscription stays: what is missed is read when the channel starts again."""
        if self._registrar is not None:
            self._registrar.stop()
        self._read_no_more()
        return super().stop()

    def _read_no_more(self) -> None:
        if self._reader is not None:
            self._reader.reconciler.stop()
        if self._gaps is not None:
            self._gaps.stop()

    def _begin(self, opened: Any = None) -> Any:
        if not self.port.opened or self.paused:
            return opened
        if self._reader is not None:  # before it registers: what changes from now on is found
            self._reader.start(self.receiver)
        if self._gaps is not None:
            self._gaps.start()
        if self._registrar is not None:
            self._registrar.start(self.receiver.identity(), self._now)
        return opened

    def _missed(self, why: str) -> None:
        if self._reader is not None:
            self._reader.reconciler.look(why)

    def _heard(self, status: Status) -> None:
        if self._gaps is not None:
            self._gaps.heard(status)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.receiver.now() / 1e6, UTC)

    def status(self) -> dict[str, Any]:
        """As any listener on HTTP, and the Subscriptions of the channel."""
        found = super().status()
        why = ""
        if self._registrar is not None:
            found["subscriptions"], why = self._registrar.status(), self._registrar.trouble()
        if self._reader is not None:
            reconciler = self._reader.reconciler
            found["catch_up"], why = reconciler.status(), why or reconciler.why
        if self._gaps is not None:
            found["events"] = self._gaps.status()
        return {**found, "why": why}

    def below(self, path: str) -> str | None:
        """`Patient/1` of `/fhir/hook/Patient/1`; None for a path that is not served."""
        if path != self._base and not path.startswith(f"{self._base}/"):
            return None
        parts = [part for part in path[len(self._base) :].split("/") if part]
        if self._secret:
            parts = parts[1:]  # `refusal` has seen it
        return "/".join(parts) if len(parts) in (0, 2) else None

    def serves(self, path: str) -> bool:
        """The path itself, and Type/id below it."""
        return self.below(path) is not None

    def refusal(self, request: Request, length: int | None) -> int:
        """By network, bearer token and size as any listener on HTTP, then by the secrets of its own."""
        refused = super().refusal(request, length)
        if refused:
            return refused
        if self._secret:
            path = (
                _path(request)[len(self._base) :].strip("/") if _path(request).startswith(self._base) else ""
            )
            if not hmac.compare_digest(path.partition("/")[0].encode(), self._secret):
                return 401
        if self._header and not self.asks_leave(request):
            header, secret = self._header
            given = (request.requestHeaders.getRawHeaders(header) or [b""])[0]
            if not hmac.compare_digest(given.strip(), secret):
                return 401
        return 0

    def distrusted(self, request: Request, body: bytes) -> int:
        """The signature is over the raw bytes."""
        if not self._key:
            return 0
        header = request.getHeader("X-Signature") or request.getHeader("X-Hub-Signature") or ""
        given = header.removeprefix("sha256=").strip().lower().encode()
        return 0 if hmac.compare_digest(given, hmac.digest(self._key, body, sha256).hex().encode()) else 401

    def arrival(self, request: Request, body: bytes) -> Arrival:
        """The messages of a notification; what cannot be read is one, in error."""
        try:
            self._readable(request)
            found = detect(
                request.method.decode("latin-1"),
                lambda header: request.getHeader(header) or "",
                self.below(_path(request)) or "",
                body,
                counter=self.settings.reliable_counter,
            )
        except HL7Error as error:
            unreadable = Arrival(body, request, self.receiver.now())
            unreadable.error = error
            return unreadable
        request.notification = found
        if found.bundle:
            request.echo = ANSWER
        elif request.method == b"PUT":
            request.echo = body
        return FhirArrival(body, request, self._foreign(found), self.receiver.now())

    def _readable(self, request: Request) -> None:
        """Raises FormatError where the server says that this is another FHIR version than the channel reads."""
        says = release.declared(request.getHeader("Content-Type") or "")
        if not release.fits(says, self.format.version):
            raise bad(
                f"the body is FHIR {says}, and the channel reads {self.format.version}",
                "write its `version` in `format: {fhir: {version: …}}` of the channel, and in the connection",
                "fhir.version",
            )

    def _foreign(self, found: Notification) -> Notification:
        """Without what this engine wrote itself to the same server: it is stored, and goes no further."""
        others = tuple(one for one in found.messages if not self._written.own(_version(*one), self._channel))
        if len(others) == len(found.messages):
            return found
        own = f"{len(found.messages) - len(others)} of {len(found.messages)} {OWN}"
        reason = f"{found.reason}; {own}" if found.reason else own
        control_id = found.control_id or _version(*found.messages[0])
        kind = found.kind if found.reason else Fhir().peek(found.messages[0][0]).type
        return found._replace(kind=kind, messages=others, reason=reason, control_id=control_id)

    def good(self, request: Request, body: bytes) -> tuple[int, bytes]:
        """200 with what the server's client wants to read: a Bundle, the resource, or an OperationOutcome."""
        told: Notification | None = request.notification
        if told is not None and told.status is not None:
            self._heard(told.status)
            if self._registrar is not None:
                self._registrar.heard(told.status)
        if told is not None and told.vague:
            self._missed("it was told that something changed, and not what")
        return 200, request.echo or body


def _version(raw: bytes, control_id: str) -> str:
    """`Patient/1/_history/2`, as far as a message says it."""
    try:
        return Fhir().peek(raw).control_id or control_id
    except HL7Error:
        return control_id


def _path(request: http.Request) -> str:
    found: Any = request.path or request.channel._path  # before the body is read only the channel knows it
    return str(found.partition(b"?")[0], "latin-1")


def _bytes(secret: SecretStr | None) -> bytes:
    return secret.get_secret_value().encode() if secret is not None else b""
