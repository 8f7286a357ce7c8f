"""Canonical values as FHIR R4 data types, in their three values.

Guarantee: UNSET gives nothing (the element is not in what is written: the server keeps its own), None gives None (the
element is taken away), a value gives the element. An identifier keeps its system where it is a URI or an OID; the
name of an assigner becomes `urn:isthmus:assigner:NAME` unless `systems` names its URI, and is read back as that name.

Source: FHIR R4 data types; HL7 Terminology for the systems of v2 tables (0203, 0396).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from msgspec import UNSET

from transforms.canonical.types import ASSIGNER, Address, Code, Identifier, Maybe, Name, Period, Phone

Json = dict[str, Any]
TERMS = "http://terminology.hl7.org/CodeSystem/"
NPI = "http://hl7.org/fhir/sid/us-npi"
SYSTEMS = {
    "LN": "http://loinc.org",
    "SCT": "http://snomed.info/sct",
    "I10": "http://hl7.org/fhir/sid/icd-10",
    "I10C": "http://hl7.org/fhir/sid/icd-10-cm",
    "I9": "http://hl7.org/fhir/sid/icd-9-cm",
    "I9C": "http://hl7.org/fhir/sid/icd-9-cm",
    "C4": "http://www.ama-assn.org/go/cpt",
    "CPT": "http://www.ama-assn.org/go/cpt",
    "CVX": "http://hl7.org/fhir/sid/cvx",
    "MVX": "http://hl7.org/fhir/sid/mvx",
    "NDC": "http://hl7.org/fhir/sid/ndc",
    "UCUM": "http://unitsofmeasure.org",
    "RXNORM": "http://www.nlm.nih.gov/research/umls/rxnorm",
}
"""HL7 table 0396. Any other name of a code system is local to its sender, and left out."""
_TABLE = re.compile(r"HL7(\d{4})")
_OID = re.compile(r"[0-2](?:\.(?:0|[1-9]\d*))+")
_URI = re.compile(r"(?:urn:[a-z0-9-]+:|[a-z][a-z0-9+.-]*://)\S+", re.IGNORECASE)
_USES = frozenset({"home", "work", "temp", "old", "billing", "mobile"})
_NAME_USES = frozenset({"usual", "official", "temp", "nickname", "anonymous", "old", "maiden"})


def given(**elements: Any) -> Json:
    """Those elements that are said: UNSET and empty lists, texts and objects say nothing; None takes away."""
    return {
        name.rstrip("_"): value
        for name, value in elements.items()
        if value is None or value not in (UNSET, "", [], {})
    }


def system(item: Identifier, systems: Mapping[str, str]) -> str:
    """The URI of who gave an identifier."""
    for name in (item.assigner, item.system):
        if name in systems:
            return systems[name]
    if item.type == "NPI":
        return NPI
    for name in (item.system, item.assigner):
        if _URI.fullmatch(name):
            return name
        if _OID.fullmatch(name):
            return f"urn:oid:{name}"
    return ASSIGNER + quote(item.assigner or "-", safe="")


def identifier(item: Identifier, systems: Mapping[str, str]) -> Json:
    """Identifier."""
    kind = (
        {"coding": [{"system": f"{TERMS}v2-0203", "code": item.type}]} if item.type not in ("", "RI") else {}
    )
    return given(system=system(item, systems), value=item.value, type=kind, period=period(item.period))


def condition(item: Identifier, systems: Mapping[str, str]) -> str:
    """The search that finds what has an identifier."""
    return f"identifier={quote(f'{system(item, systems)}|{item.value}', safe='')}"


def code_system(name: str) -> str:
    """The URI of a code system; "" when it is local, or not known."""
    table = _TABLE.fullmatch(name)
    if table is not None:
        return f"{TERMS}v2-{table[1]}"
    if _URI.fullmatch(name):
        return name
    return f"urn:oid:{name}" if _OID.fullmatch(name) else SYSTEMS.get(name.upper(), "")


def concept(code: Maybe[Code], system_: str = "") -> Any:
    """CodeableConcept; `system_` where the code names none."""
    if not isinstance(code, Code):
        return code
    coding = given(system=code_system(code.system) or system_, code=code.code, display=code.display)
    if not code.code and not code.display:
        return given(text=code.text)
    if not code.code:  # a coding of words alone says nothing that a text does not
        return given(text=code.text or code.display)
    return given(coding=[coding], text=code.text)


def concepts(codes: list[Code]) -> list[Json]:
    """A list of CodeableConcepts."""
    return [found for code in codes if (found := concept(code))]


def coded(code: str, system_: str, display: str = "") -> Json:
    """CodeableConcept of a code of one system."""
    return {"coding": [given(system=system_, code=code, display=display)]}


def table(code: Any, name: str) -> Any:
    """CodeableConcept of a code of a table of HL7 Terminology (`v2-0069`), in its three values."""
    return coded(code, TERMS + name) if isinstance(code, str) and code else code


def number(value: Decimal) -> int | float:
    """A JSON number, without a fraction where there is none."""
    return int(value) if value == value.to_integral_value() else float(value)


def human_name(name: Name) -> Json:
    """HumanName."""
    return given(
        use=name.use if name.use in _NAME_USES else "",
        family=name.family,
        given=name.given,
        prefix=[name.prefix] if name.prefix else [],
        suffix=[name.suffix] if name.suffix else [],
        text=name.text if not name.family and not name.given else "",
    )


def contact_point(phone: Phone) -> Json:
    """ContactPoint."""
    return given(
        system=phone.system,
        value=phone.value,
        use=phone.use if phone.use in _USES else "",
        rank=phone.rank or UNSET,
    )


def address(item: Address) -> Json:
    """Address; what was cleared in it is just not there, for an address is written as a whole."""
    billing = item.use == "billing"
    return {
        name: value
        for name, value in given(
            use=item.use if item.use in _USES and item.use != "mobile" else "",
            type="postal" if billing else "",
            line=[part for part in (item.street, item.street2) if isinstance(part, str) and part],
            city=item.city,
            district=item.district,
            state=item.state,
            postalCode=item.postal_code,
            country=item.country,
        ).items()
        if value is not None
    }


def listed(found: Any, make: Any) -> Any:
    """A list in its three values."""
    return [made for item in found if (made := make(item))] if isinstance(found, list) else found


def moment(at: Any) -> Any:
    """instant or dateTime of an aware time."""
    return at.isoformat() if isinstance(at, datetime) else at


def period(found: Period | None) -> Json:
    """Period."""
    if found is None:
        return {}
    return {
        name: value for name, value in given(start=found.start, end=found.end).items() if value is not None
    }
