"""DiagnosticReport and Observation → result events; an Observation alone is a result of one value.

| status | event |
|--------|-------|
| partial, preliminary, modified | result.preliminary |
| final | result.available |
| amended, corrected, appended | result.corrected |
| cancelled, entered-in-error, deleted | result.cancelled |
| registered, unknown | none |

The same status with another value is told again. Values are read from `result` as far as they came along.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from transforms.canonical.clinical import Observation, Result
from transforms.canonical.from_fhir.changes import Kind, differing
from transforms.canonical.from_fhir.finance import decimal
from transforms.canonical.from_fhir.people import patient_of, practitioner
from transforms.canonical.from_fhir.reader import Reader, Resource, dict_, dicts, text
from transforms.canonical.from_fhir.visit import encounter_of
from transforms.canonical.maker import Maker

EVENTS = {
    **dict.fromkeys(("partial", "preliminary", "modified"), "preliminary"),
    "final": "available",
    **dict.fromkeys(("amended", "corrected", "appended"), "corrected"),
    **dict.fromkeys(("cancelled", "entered-in-error"), "cancelled"),
}
STATUS = {
    "amended": "corrected",
    "appended": "corrected",
    "modified": "preliminary",
    "entered-in-error": "cancelled",
}
MAX_DEPTH = 3  # panels in panels


def results(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of a DiagnosticReport or an Observation, if anything of it changed."""
    status = "entered-in-error" if kind == "delete" else text(read.data.get("status"))
    action = EVENTS.get(status)
    if action is None:
        return
    new = result(read)
    new.status = STATUS.get(status, status)
    old = result(before) if before is not None else None
    changed = differing(old, new, "identifiers") if old is not None else []
    if old is not None and not changed:
        return
    who = patient_of(read, read.data.get("subject"), "subject")
    visit = encounter_of(read, read.data.get("encounter"))
    make.event(
        f"result.{action}", "Result", new.key, patient=who, encounter=visit, result=new, changed=changed
    )


def result(read: Reader) -> Result:
    """The report of a resource."""
    data = read.data
    alone = data.get("resourceType") == "Observation"
    status = text(data.get("status"))
    performers = [one for item in dicts(data.get("performer")) if (one := practitioner(read, item))]
    order = next((found for item in dicts(data.get("basedOn")) if (found := read.resolve(item))), None)
    return Result(
        identifiers=read.numbers("FILL", "PLAC"),
        status=STATUS.get(status, status),
        code=read.code(data.get("code")),
        issued=read.moment(data.get("issued")),
        observed=read.moment(_when(data)),
        performer=performers[0] if performers else None,
        requester=practitioner(read.beside(order), order.get("requester")) if order is not None else None,
        observations=_values(read, [data] if alone else _results(read, data), 0),
        notes=[*read.notes(data.get("conclusion")), *([] if alone else read.notes(data.get("note")))],
    )


def _results(read: Reader, data: Resource) -> list[Resource]:
    found = (read.resolve(item) for item in dicts(data.get("result") or data.get("hasMember")))
    return [one for one in found if one is not None and one.get("resourceType") == "Observation"]


def _values(read: Reader, found: list[Resource], depth: int) -> list[Observation]:
    """The values of observations, of their components and members, in order."""
    values = []
    for data in found:
        said, beside = _value(data), read.beside(data)
        parts = dicts(data.get("component"))
        if said or not parts:
            values.append(_one(beside, data, data))
        values += [_one(beside, part, data) for part in parts]
        if depth < MAX_DEPTH and data.get("hasMember"):
            values += _values(beside, _results(beside, data), depth + 1)
    return values


def _one(read: Reader, part: Resource, data: Resource) -> Observation:
    quantity = dict_(part.get("valueQuantity"))
    ranges = [_range(item) for item in dicts(part.get("referenceRange"))]
    flags = read.codes(part.get("interpretation"))
    return Observation(
        code=read.code(part.get("code")),
        value=_value(part) or (None if part.get("dataAbsentReason") else UNSET),
        unit=text(quantity.get("unit")) or text(quantity.get("code")),
        range="; ".join(filter(None, ranges)),
        flag=flags[0].code or flags[0].label if flags else "",
        status=text(data.get("status")),
        at=read.moment(_when(data)),
    )


def _when(data: Resource) -> Any:
    return (
        data.get("effectiveDateTime")
        or data.get("effectiveInstant")
        or dict_(data.get("effectivePeriod")).get("start")
    )


def _value(part: Resource) -> str:
    """value[x] as people read it: `> 10`, the display of a code, `1:128`, `3 to 5`."""
    for name, found in part.items():
        if not name.startswith("value"):
            continue
        if isinstance(found, bool):
            return "true" if found else "false"
        if isinstance(found, (int, float)):
            return decimal(found)
        if isinstance(found, str):
            return found
        kind, item = name.removeprefix("value"), dict_(found)
        if kind == "Quantity":
            return " ".join(filter(None, (text(item.get("comparator")), decimal(item.get("value")))))
        if kind == "CodeableConcept":
            codes = dicts(item.get("coding"))
            first = codes[0] if codes else {}
            return text(first.get("display")) or text(item.get("text")) or text(first.get("code"))
        ends = {"Range": ("low", "high", " to "), "Ratio": ("numerator", "denominator", ":")}.get(kind)
        if ends is not None:
            two = [decimal(dict_(item.get(end)).get("value")) for end in ends[:2]]
            return ends[2].join(two) if any(two) else ""
        if kind == "Period":
            return " to ".join(text(item.get(end)) for end in ("start", "end"))
    return ""


def _range(item: Resource) -> str:
    low, high = (decimal(dict_(item.get(end)).get("value")) for end in ("low", "high"))
    if low and high:
        return f"{low}-{high}"
    return f">{low}" if low else f"<{high}" if high else text(item.get("text"))
