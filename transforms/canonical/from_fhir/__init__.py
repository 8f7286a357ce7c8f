"""FHIR resources (R4, R4B, R5) → canonical events. Pure: no I/O, no clock; the same bytes give the same events.

    interpret(resource, previous, kind, meta, settings, resolve) → events

`previous` is the resource as it was before, when that is known: what happened is the step from it to `resource`.
Without it the resource is new here (patient.registered, appointment.booked …). `kind` is `create`, `update`,
`delete` or "" (not told); of a deletion `resource` is what is known of it last. `resolve` gives the resource of a
reference that stands neither in `contained` nor in the Bundle.

Guarantees: the resource types of docs/canonical.md give the events listed there, any other gives none; all resources
of a Bundle are read, patients first, but for those that were only included (`search.mode`). Refused (`StepError`): a
resource that does not say whom or what it is about; a deletion of something of which nothing is known
(`fhir.deleted`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from engine.errors import StepError
from engine.fhir.notification import noted, relative
from engine.model import Meta
from transforms.canonical.events import Event
from transforms.canonical.from_fhir.changes import Kind
from transforms.canonical.from_fhir.documents import documents, vaccinations
from transforms.canonical.from_fhir.finance import accounts, charges
from transforms.canonical.from_fhir.orders import orders
from transforms.canonical.from_fhir.patients import (
    insurances,
    locations,
    organizations,
    patients,
    practitioners,
    roles,
)
from transforms.canonical.from_fhir.reader import Index, Reader, Resolve, Resource, dict_, dicts, text
from transforms.canonical.from_fhir.results import results
from transforms.canonical.from_fhir.schedule import appointments
from transforms.canonical.from_fhir.visit import encounters
from transforms.canonical.maker import Maker
from transforms.canonical.options import Options, options
from transforms.canonical.times import instant

__all__ = ["Kind", "interpret", "interpreter"]

Adapter = Callable[[Reader, Reader | None, Maker, Kind], None]
ADAPTERS: dict[str, Adapter] = {
    "Patient": patients,
    "Practitioner": practitioners,
    "PractitionerRole": roles,
    "Organization": organizations,
    "Location": locations,
    "Coverage": insurances,
    "Encounter": encounters,
    "Appointment": appointments,
    "ServiceRequest": orders,
    "DiagnosticReport": results,
    "Observation": results,
    "DocumentReference": documents,
    "Immunization": vaccinations,
    "ChargeItem": charges,
    "Account": accounts,
}
"""In the order in which the resources of a Bundle are read."""
RANK = {name: place for place, name in enumerate(ADAPTERS)}
UTC_ZONE = ZoneInfo("UTC")


def interpret(
    resource: Resource,
    previous: Resource | None = None,
    kind: Kind = "",
    *,
    meta: Meta | None = None,
    settings: Options | Mapping[str, Any] | None = None,
    resolve: Resolve | None = None,
    digest: str = "",
) -> list[Event]:
    """The events of a resource or a Bundle, in order. Raises StepError.

    `settings` are the channel's options as data (`timezone`, `mrn`, `canonical`), or `Options`; `digest` stands for
    the bytes of the message in the ids of its events.
    """
    chosen = settings if isinstance(settings, Options) else options(settings or {})
    meta = meta or Meta()
    told, references = noted(resource)
    at = _time(resource, meta)
    if told == "deleted":
        if previous is None and meta.last is not None and references[0].partition("/")[0] in ADAPTERS:
            previous = meta.last(references[0])
        kind, resource = "delete", previous or _gone(references[0], chosen)
    make = Maker(
        f"{meta.channel}|{meta.control_id}|{digest}", at, meta.control_id,
        meta.type or text(resource.get("resourceType")), "fhir",
    )  # fmt: skip
    if resource.get("resourceType") != "Bundle":
        _one(resource, previous, kind, chosen, _index(previous, {}), resolve, make)
        return make.events
    index = _index(resource, {})
    for found, change in sorted(_entries(resource, chosen), key=lambda pair: RANK.get(_type(pair[0]), 99)):
        _one(found, None, change, chosen, index, resolve, make)
    return make.events


def interpreter(channel: Mapping[str, Any]) -> Callable[[Any, Meta], list[Event]]:
    """`interpret` for one channel, its options checked now (ConfigError). What was before and what changed is read
    from `meta.previous` and `meta.change`, what a reference names from `meta.resolve`, what was deleted from
    `meta.last`, where they are known."""
    chosen = options(channel)

    def run(message: Any, meta: Meta) -> list[Event]:
        digest = blake2b(bytes(message), digest_size=16).hexdigest()
        return interpret(
            message.data, meta.previous, meta.change, meta=meta, settings=chosen, resolve=meta.resolve, digest=digest
        )  # fmt: skip

    return run


def _one(
    resource: Resource,
    previous: Resource | None,
    kind: Kind,
    chosen: Options,
    index: Index,
    resolve: Resolve | None,
    make: Maker,
) -> None:
    adapter = ADAPTERS.get(_type(resource))
    if adapter is None:
        return
    same = previous is not None and kind != "delete" and _type(previous) == _type(resource)
    before = Reader(previous, chosen, index, resolve) if same and previous is not None else None
    adapter(Reader(resource, chosen, index, resolve, whole=kind != "delete"), before, make, kind)


def _entries(bundle: Resource, chosen: Options) -> Iterator[tuple[Resource, Kind]]:
    """The resources of a Bundle and what became of them; not those that were only included."""
    for entry in dicts(bundle.get("entry")):
        request = dict_(entry.get("request"))
        found = dict_(entry.get("resource"))
        if request.get("method") == "DELETE":
            yield _gone(relative(text(request.get("url"))), chosen), "delete"
        elif found and dict_(entry.get("search")).get("mode") != "include":
            yield found, ""


def _index(data: Resource | None, index: Index) -> Index:
    """The resources of a Bundle by full URL and by `Type/id`."""
    for entry in dicts((data or {}).get("entry")):
        found = dict_(entry.get("resource"))
        url = text(entry.get("fullUrl"))
        if found and url:
            index[url] = found
            index.setdefault(relative(url), found)
        if found and isinstance(found.get("id"), str):
            index[f"{_type(found)}/{found['id']}"] = found
    index.pop("", None)
    return index


def _gone(reference: str, chosen: Options) -> Resource:
    """What is known of a deleted resource when nothing was kept: its id."""
    type_, _, id_ = reference.partition("/")
    if chosen.identity != "resource" and type_ in ADAPTERS:
        raise StepError(
            f"the server deleted a resource of type {type_}, and nothing tells which record that was",
            code="fhir.deleted",
            where="entry.request.url",
            todo="keep the deletions of this type out with `message_type: {deny: …}`, or set the channel's"
            " `canonical: {identity: resource}`",
        )
    return {"resourceType": type_, "id": id_}


def _time(resource: Resource, meta: Meta) -> datetime:
    """When it happened: as the server says, and when it arrived only if it does not."""
    said = text(dict_(resource.get("meta")).get("lastUpdated")) or text(resource.get("timestamp"))
    return (instant(said, UTC_ZONE) if said else None) or datetime.fromtimestamp(
        meta.received_at / 1_000_000, UTC
    )


def _type(resource: Resource) -> str:
    return text(resource.get("resourceType"))
