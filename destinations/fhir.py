"""The `fhir` destination: what canonical events tell, as resources on a FHIR server (R4, R4B, R5).

Guarantees: what `render` gives is what is written on every attempt; a resource is found by its identifier, so the same
message again changes nothing; what the server knows besides stays; the resources of one message are written together
or not at all, and a batch that is refused is done message by message. Resources are those of the connection's version.
Refuses, on a message: a resource that this version of FHIR does not allow (`fhir.resource`).

| what happens                                    | outcome                                                      |
|-------------------------------------------------|--------------------------------------------------------------|
| written, or nothing to write                    | SENT                                                         |
| somebody changed it in between                  | read and joined again, a few times; then RETRY               |
| several resources have the identifier           | PERMANENT `fhir.precondition`                                |
| OperationOutcome, no answer, no right           | as docs/errors.md says of FHIR servers                       |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, Literal

import msgspec
import orjson
from pydantic import Field, ValidationError
from twisted.internet.defer import Deferred, succeed

from engine.errors import ConfigError, StepError
from engine.fhir.entries import Entry, said
from engine.fhirserver.connection import FhirConnection
from engine.fhirserver.errors import FhirError
from engine.fhirserver.plan import Planner
from engine.fhirserver.writer import FhirWriter, Wrote
from engine.model import Delivery, Outcome, Scope
from engine.spec.component import BuildContext, Settings, component
from engine.spec.document import did_you_mean
from engine.spec.meaning import ConnectionName
from engine.states import Result

ENTRIES = msgspec.json.Decoder(list[Entry])
LARGEST = 100
Types = Literal[
    "Patient", "Practitioner", "Organization", "Location", "Encounter", "Appointment", "Coverage", "ServiceRequest",
    "DiagnosticReport", "Observation", "DocumentReference", "ChargeItem", "Immunization",
]  # fmt: skip


@component(
    "destination", "fhir", example="fhir: {connection: ehr, systems: {RGH: 'https://ehr.example/mrn'}}"
)
class FhirServer(Settings):
    """Writes what canonical events tell to a FHIR server: patients, visits, appointments, orders, results, charges.

    Resources are found by identifier, made when they are not there, and changed only where the message says something.
    """

    answers: ClassVar[str] = "json"

    connection: ConnectionName = Field(description="Name of a `fhir` connection.", examples=["ehr"])
    systems: dict[str, str] = Field(
        default={},
        description="What the server calls an assigner of HL7 (`identifier.system`), by the assigner's name.",
        examples=[{"RGH": "https://ehr.example/mrn"}],
    )
    resources: list[Types] = Field(
        default=[],
        description="Only these types of resources; empty: all. Others are referred to where they are there.",
        examples=[["Patient", "Appointment"]],
    )
    check: bool = Field(
        default=True, description="Check each resource against the server's FHIR version before it is sent."
    )
    batch_size: int = Field(default=20, ge=1, le=LARGEST, description="Messages in one transaction, at most.")
    in_flight: int = Field(default=1, ge=1, le=16, description="Transactions that may be under way at once.")

    def build(self, context: BuildContext) -> FhirDestination:
        """Nothing is asked before the first delivery."""
        connection = context.connections.get(self.connection)
        if not isinstance(connection, FhirConnection):
            raise ConfigError(
                f"there is no FHIR connection {self.connection!r}", code="fhir.connection",
                todo=did_you_mean(self.connection, context.connections)
                or "declare it under `connections:` as `NAME: {fhir: {base: …}}`",
            )  # fmt: skip
        if context.resources is None:
            raise ConfigError("nothing makes resources of events here", code="fhir.connection")
        return FhirDestination(self, connection, context, context.resources)


class FhirDestination:
    """What runs: see destinations.base."""

    def __init__(
        self,
        settings: FhirServer,
        connection: FhirConnection,
        context: BuildContext,
        plan: Callable[..., list[Entry]],
    ) -> None:
        self._plan = plan
        self.batch_size = settings.batch_size
        self.in_flight = settings.in_flight
        self._settings = settings
        self._connection = connection
        self._context = context
        self._writer: FhirWriter | None = None

    def render(self, scope: Scope) -> bytes | None:
        """The resources for this message and how each is found, as JSON; None when the events tell of none."""
        entries: list[Entry] = self._plan(scope.events, self._settings.systems, self._connection.version)
        if self._settings.resources:
            entries = [self._limited(entry) for entry in entries]
        if all(entry.named for entry in entries):
            return None
        if self._settings.check:
            for entry in entries:
                if entry.mode != "existing":
                    check(entry, self._connection.version)
        return msgspec.json.encode(entries)

    def _limited(self, entry: Entry) -> Entry:
        """A resource of another type than those that are written is only referred to."""
        if entry.type in self._settings.resources:
            return entry
        return Entry(by=entry.by, resource={"resourceType": entry.type}, mode="existing")

    def deliver(self, batch: list[Delivery]) -> Deferred[list[Outcome]]:
        """One outcome for each delivery."""
        return Deferred.fromCoroutine(self._deliver(batch))

    async def _deliver(self, batch: list[Delivery]) -> list[Outcome]:
        writer = self._ready()
        messages = [ENTRIES.decode(one.payload) for one in batch]
        try:
            wrote = await writer.write(messages)
        except FhirError as error:
            if len(batch) == 1 or error.result != Result.PERMANENT:
                return [_failed(one, error) for one in batch]
        else:
            return [_sent(one, done) for one, done in zip(batch, wrote, strict=True)]
        outcomes = []
        for one in batch:  # the server refuses one of them: which one, it tells when each comes alone
            outcomes += await self._deliver([one])
        return outcomes

    def planner(self) -> Planner:
        """For plans one after another: what an earlier one would write counts for the later ones."""
        return Planner(self._ready())

    def start(self) -> Deferred[None]:
        """Nothing is held open between calls."""
        return succeed(None)

    def stop(self) -> Deferred[None]:
        """Nothing is held open between calls."""
        return succeed(None)

    def _ready(self) -> FhirWriter:
        if self._writer is None:
            client = self._connection.client(self._context.reactor)
            source = f"urn:isthmus:channel:{self._context.channel}"
            self._writer = FhirWriter(client, self._connection.written, source)
        return self._writer


def check(entry: Entry, version: str = "R4") -> None:
    """Raise StepError for a resource that FHIR does not allow, as it would be made where it is not there."""
    try:
        _model(entry.type, version).model_validate(
            orjson.loads(orjson.dumps(said({**entry.new, **said(entry.resource)})))
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"] if isinstance(part, (str, int)))
        wrong = f"{place or 'the resource'} is {first['type'].replace('_', ' ')}"
        raise StepError(
            f"FHIR {version} does not allow this {entry.type}: {wrong}",
            code="fhir.resource",
            where=f"{entry.type}.{place}" if place else entry.type,
            todo="mend the field of the message that it is made of, or set `check: false`",
        ) from None


@cache
def _model(type_: str, version: str) -> Any:
    """The resource of fhir.resources, whose R4B stands for R4 too: what is written of both is the same. Importing it
    takes 0.3 s, so only channels that write pay for it."""
    package = "fhir.resources" if version == "R5" else "fhir.resources.R4B"
    return getattr(import_module(f"{package}.{type_.lower()}"), type_)


def _sent(delivery: Delivery, wrote: Wrote) -> Outcome:
    return Outcome(
        delivery.message_id, Result.SENT, record=wrote.record, request=wrote.request, response=wrote.response
    )


def _failed(delivery: Delivery, error: FhirError) -> Outcome:
    text = f"{error.what} ({error.todo})" if error.todo else error.what
    return Outcome(delivery.message_id, error.result, error.code, text, error.where, response=error.body)
