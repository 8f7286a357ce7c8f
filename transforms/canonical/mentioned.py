"""Who and what an event mentions besides its patient: practitioners, payers, places.

Guarantee: each is given once, in the order of the event, and only when a record can be made of it (it has an id and a
name). Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from transforms.canonical.entities import Location, Organization, Practitioner

if TYPE_CHECKING:
    from transforms.canonical.events import Event


def people(event: Event) -> list[Practitioner]:
    """The practitioners: of the event itself, the visit, the appointment, the order, what was done and billed."""
    return [one for one in _once(_people(event), Practitioner) if one.known]


def payers(event: Event) -> list[Organization]:
    """The payers: the organization when it is one, and those of the coverages."""
    return [one for one in _once(_payers(event), Organization) if one.known]


def places(event: Event) -> list[Location]:
    """The places: of the event itself, the visit, the appointment and the charge."""
    return [one for one in _once(_places(event), Location) if one.key and one.display]


def _people(event: Event) -> Iterator[Any]:
    yield event.practitioner
    if (visit := event.encounter) is not None:
        yield from (*visit.attending, *visit.admitting, *visit.referring, *visit.consulting)
    if event.appointment is not None:
        yield from event.appointment.practitioners
    for done in (event.order, event.result, event.vaccination):
        yield getattr(done, "requester", None)
        yield getattr(done, "performer", None)
    if event.document is not None:
        yield from event.document.authors
    if event.charge is not None:
        yield from (*event.charge.performers, *event.charge.orderers)
    if event.patient is not None:
        yield event.patient.general_practitioner


def _payers(event: Event) -> Iterator[Any]:
    if event.organization is not None and event.organization.kind == "payer":
        yield event.organization
    of_account = event.account.coverages if event.account is not None else []
    yield from (coverage.payer for coverage in (*event.coverages, *of_account))


def _places(event: Event) -> Iterator[Any]:
    yield event.location
    if event.encounter is not None:
        yield event.encounter.location
    if event.appointment is not None:
        yield from event.appointment.locations
    if event.charge is not None:
        yield event.charge.location


def _once(found: Iterable[Any], kind: type) -> Iterator[Any]:
    seen: set[str] = set()
    for one in found:
        if isinstance(one, kind) and one.key not in seen:  # type: ignore[attr-defined]
            seen.add(one.key)  # type: ignore[attr-defined]
            yield one
