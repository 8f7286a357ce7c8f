"""PID, PD1, NK1 and MRG → Patient.

Guarantee: which identifier is the MRN is decided by one rule for every message type, so that a patient is the
same in ADT and SIU. Refused (`StepError`): a patient without an identifier (`patient.no_identifier`), or
without the one that the channel's `mrn` option asks for (`patient.no_mrn`): taking another one would make a
second record of the same person.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from engine.errors import StepError
from transforms.canonical import codes
from transforms.canonical.entities import Patient
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.identity import choose
from transforms.canonical.types import NAMELESS, Address, Code, Contact, Identifier, Maybe, Phone

_SMALL = re.compile(r"[0-9]{1,2}")
YES = {"Y": True, "YES": True, "N": False, "NO": False}


def patient(
    read: Reader, pid: Any, pd1: Any = None, nk1: Iterable[Any] = (), *, whole: bool = True
) -> Patient:
    """The patient of a PID segment. `whole` says that the address replaces the one before (ADT)."""
    found = _identifiers(read, pid, 3, (2, 4))
    chosen = _choose(read, found, "PID-3")
    names = read.names(read.all(pid, 5))
    aliases = read.names(read.all(pid, 9))
    return Patient(
        identifiers=found,
        mrn_identifier=chosen,
        name=names[0] if names else NAMELESS,
        other_names=[*names[1:], *aliases],
        birth_date=read.day(pid, 7),
        gender=_gender(read, pid),
        phones=_phones(read, pid),
        addresses=_addresses(read, pid, whole),
        marital_status=_marital(read, pid),
        language=_language(read, pid),
        race=read.code(read.one(pid, 10)),
        ethnicity=read.code(read.one(pid, 22)),
        nationality=read.code(read.one(pid, 28)),
        deceased=_yes(read, pid, 30),
        deceased_at=read.day(pid, 29),
        multiple_birth=_yes(read, pid, 24),
        birth_order=_number(read, pid, 25),
        account_number=_account(read, pid),
        general_practitioner=next(iter(read.people(pd1, 4)), None),
        contacts=_contacts(read, nk1),
    )


def retired(read: Reader, mrg: Any, survivor: Patient) -> Patient:
    """The patient of an MRG segment: who is no more, once merged into `survivor`."""
    found = _identifiers(read, mrg, 1, (2, 4))
    if not found:
        raise no_prior("MRG-1")
    same = survivor.mrn_identifier
    chosen = next((item for item in found if same and item.assigner == same.assigner), None)
    names = read.names(read.all(mrg, 7))
    return Patient(
        identifiers=found,
        mrn_identifier=chosen if _unasked(read) and chosen else _choose(read, found, "MRG-1"),
        name=names[0] if names else NAMELESS,
    )


def no_prior(where: str) -> StepError:
    """The error of a merge or move that does not say what is merged or moved."""
    return StepError(
        "the merge does not say what is merged",
        code="merge.no_prior_identifier",
        where=where,
        todo="ask the sender to fill MRG-1 (patient), MRG-3 (account) or MRG-5 (visit)",
    )


def _identifiers(read: Reader, segment: Any, field: int, older: tuple[int, int]) -> list[Identifier]:
    """The identifier list of a field, and those of the fields that older versions used."""
    found: list[Identifier] = []
    for parts in read.all(segment, field):
        item = read.identifier(parts)
        if item is not None:
            found.append(item)
    values = {item.value for item in found}
    for place, type_ in zip(older, ("PT", ""), strict=True):
        for parts in read.all(segment, place):
            item = read.identifier(parts, "" if len(parts) > 4 and parts[4] else type_)
            if item is not None and item.value not in values:
                found.append(item)
                values.add(item.value)
    return found


def _unasked(read: Reader) -> bool:
    return not (read.options.mrn_authority or read.options.mrn_type)


def _choose(read: Reader, found: list[Identifier], where: str) -> Identifier:
    return choose(read.options, found, where, "ask the sender to fill PID-3 (patient identifier list)")


def _gender(read: Reader, pid: Any) -> Maybe[str]:
    value = read.field(pid, 8)
    return codes.gender(value) if isinstance(value, str) else value


def _marital(read: Reader, pid: Any) -> Maybe[Code]:
    """PID-16; a bare code of HL7 table 0002 gets its name."""
    found = read.code(read.one(pid, 16))
    if isinstance(found, Code) and not found.display and found.code in codes.MARITAL:
        return Code(code=found.code, display=codes.MARITAL[found.code], system=found.system)
    return found


def _language(read: Reader, pid: Any) -> Maybe[str]:
    value = read.field(pid, 15)
    return codes.language(value) if isinstance(value, str) else value


def _yes(read: Reader, pid: Any, field: int) -> Maybe[bool]:
    value = read.field(pid, field)
    return YES.get(value.upper(), UNSET) if isinstance(value, str) else value


def _number(read: Reader, pid: Any, field: int) -> Maybe[int]:
    value = read.field(pid, field)
    return value if not isinstance(value, str) else int(value) if _SMALL.fullmatch(value) else UNSET


def _contacts(read: Reader, nk1: Iterable[Any]) -> Maybe[list[Contact]]:
    """NK1-2 to 6. One without name, number and address says nothing; a name of `""` and no other clears them."""
    found, cleared = [], False
    for segment in nk1:
        names = read.all(segment, 2)
        cleared = cleared or read.cleared(names)
        named = read.names(names)
        phones: dict[str, Phone] = {}
        for field, use in ((5, "home"), (6, "work"), (40, "")):
            for parts in read.all(segment, field):
                if (item := read.phone(parts, use)) is not None:
                    phones.setdefault(item.value, item)
        parts = read.one(segment, 4)
        address = read.address(parts, True) if any(parts) and not read.cleared([parts]) else None
        if named or phones or address:
            relationship = read.code(read.one(segment, 3))
            name = named[0] if named else NAMELESS
            found.append(
                Contact(name=name, relationship=relationship, phones=list(phones.values()), address=address)
            )
    return found or (None if cleared else UNSET)


def _account(read: Reader, pid: Any) -> Maybe[Identifier]:
    parts = read.one(pid, 18)
    if not parts:
        return UNSET
    return None if parts == ['""'] else read.identifier(parts) or UNSET


def _phones(read: Reader, pid: Any) -> Maybe[list[Phone]]:
    """PID-13, 14 and 40. `""` in one of them clears only when no number stands in the others."""
    phones: dict[str, Phone] = {}
    cleared = False
    for field, use in ((13, "home"), (14, "work"), (40, "")):
        found = read.all(pid, field)
        if not found:
            continue
        if read.cleared(found):
            cleared = True
            continue
        for parts in found:
            item = read.phone(parts, use)
            if item is not None:
                phones.setdefault(item.value, item)
    return list(phones.values()) or (None if cleared else UNSET)


def _addresses(read: Reader, pid: Any, whole: bool) -> Maybe[list[Address]]:
    """PID-11, home first."""
    found = read.all(pid, 11)
    if not found:
        return UNSET
    if read.cleared(found):
        return None
    ranked = [(codes.ADDRESS_RANK.get(read.text(parts, 7), 8), parts) for parts in found if any(parts)]
    if len(ranked) > 1:
        ranked.sort(key=lambda item: item[0])
    return [read.address(parts, whole) for _, parts in ranked] or UNSET
