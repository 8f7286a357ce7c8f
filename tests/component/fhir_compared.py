"""Our FHIR resources and those that others made of the same HL7 message, element by element.

An element matches when what both say of it is the same once it is read: identifiers by value, names by their parts,
codes by code (or their words), numbers by digits, times as instants to the lesser precision, references by the names
or numbers of what they point to. What only one side says is `missing` (they do) or `more` (we do).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import HL7Error, StepError
from engine.fhir.entries import said
from engine.hl7.er7 import Message
from engine.model import Meta
from transforms.canonical.from_hl7 import interpreter
from transforms.canonical.to_fhir import plan

TYPES = ("Patient", "Encounter", "Appointment", "Coverage")
ASIDE = frozenset({"resourceType", "id", "meta", "text", "contained", "implicitRules"})
SPLIT = re.compile(rb"(?:^|(?<=[\r\n]))(?=MSH[^A-Za-z0-9\s])")
interpret = interpreter({})


class Element(NamedTuple):
    """One element of one resource on both sides; None where a side does not have it."""

    file: str
    type: str
    name: str
    ours: Any
    theirs: Any

    @property
    def verdict(self) -> str:
        if self.theirs is None:
            return "more"
        if self.ours is None:
            return "missing"
        return "matched" if self.ours == self.theirs or agree(self.ours, self.theirs) else "different"


def expected(corpus: Path, path: Path) -> Path | None:
    """The FHIR that somebody else made of a message."""
    folder = corpus / "expected" / path.parent.name
    found = (folder / f"{path.stem}-expected.json", folder / f"{path.stem}.fhir")
    return next((file for file in found if file.is_file()), None)


def compared(corpus: Path) -> Iterator[Element]:
    """All elements of all messages of which both sides made one resource of a type."""
    for path in sorted((corpus / "hl7v2").rglob("*.hl7")):
        other = expected(corpus, path)
        if other is None:
            continue
        parts = [
            one for one in SPLIT.split(path.read_bytes().removeprefix(b"\xef\xbb\xbf")) if one[:3] == b"MSH"
        ]
        if len(parts) != 1:
            continue
        try:
            entries = plan(interpret(Message(parts[0]), Meta()))
        except (HL7Error, StepError):
            continue
        mine = {
            entry.url: said({**entry.new, **said(entry.resource)})
            for entry in entries
            if entry.mode != "existing"
        }
        bundle = json.loads(other.read_text("utf-8-sig"))
        theirs = {
            entry.get("fullUrl", ""): entry["resource"]
            for entry in bundle.get("entry", ())
            if "resource" in entry
        }
        theirs |= {f"{one['resourceType']}/{one.get('id')}": one for one in list(theirs.values())}
        for type_ in TYPES:
            ours = [one for one in mine.values() if one["resourceType"] == type_]
            others = list({id(one): one for one in theirs.values() if one["resourceType"] == type_}.values())
            if len(ours) != 1 or len(others) != 1:
                continue
            left, right = read(ours[0], mine), read(others[0], theirs)
            for name in sorted({*left, *right}):
                yield Element(f"{path.parent.name}/{path.name}", type_, name, left.get(name), right.get(name))


def read(resource: dict[str, Any], around: dict[str, Any]) -> dict[str, Any]:
    """The elements of a resource, each as it is compared; parts of `period` and `hospitalization` are their own."""
    found: dict[str, Any] = {}
    for name, value in resource.items():
        if name in ASIDE:
            continue
        if name in ("period", "hospitalization") and isinstance(value, dict):
            for part, inner in value.items():
                found[f"{name}.{part}"] = said_by(part, inner, around)
        elif name == "participant":
            for item in value:
                person = said_by("actor", item.get("actor") or item.get("individual"), around)
                if person:
                    found["participant"] = found.get("participant", frozenset()) | person
        else:
            found[name] = said_by(name, value, around)
    return {name: value for name, value in found.items() if value not in (None, frozenset(), "")}


def said_by(name: str, value: Any, around: dict[str, Any]) -> Any:
    """What an element says."""
    if isinstance(value, list):
        sets = [said_by(name, item, around) for item in value]
        return frozenset().union(*(one if isinstance(one, frozenset) else {one} for one in sets if one))
    if isinstance(value, str):
        return instant(value) or value
    if not isinstance(value, dict):
        return value
    if name == "identifier":
        return frozenset({value["value"]}) if value.get("value") else frozenset()
    if name == "name":
        return frozenset({(value.get("family", ""), *value.get("given", ()))})
    if name == "telecom":
        text = value.get("value", "")
        return frozenset({text.lower() if "@" in text else re.sub(r"\D", "", text)} - {""})
    if name == "address":
        parts = [*value.get("line", ()), *(value.get(key, "") for key in ("city", "state", "postalCode"))]
        return frozenset({tuple(filter(None, parts))} - {()})
    if name == "location":
        return said_by("actor", value.get("location"), around)
    if name == "communication":
        return said_by("language", value.get("language"), around)
    if "reference" in value or ("display" in value and "code" not in value):
        return named(value, around)
    if "coding" in value or "text" in value:
        codes = frozenset(one["code"].lower() for one in value.get("coding", ()) if one.get("code"))
        words = [*(one.get("display", "") for one in value.get("coding", ())), value.get("text", "")]
        return codes or frozenset(word.lower() for word in words if word)
    if "code" in value:
        return frozenset({value["code"].lower()})
    if "url" in value:
        return frozenset({value["url"]})
    return frozenset(f"{key}={inner}" for key, inner in value.items() if isinstance(inner, (str, int, float)))


def named(reference: dict[str, Any], around: dict[str, Any]) -> frozenset[str]:
    """The names and numbers of what a reference points to."""
    target = around.get(reference.get("reference", ""), {})
    found = {one["value"] for one in target.get("identifier", ()) if one.get("value")}
    name = target.get("name")
    names = [name] if isinstance(name, str) else [one.get("family") for one in name or ()]
    found |= {one for one in names if one}
    if reference.get("display") and not found:
        found.add(reference["display"])
    return frozenset(word.lower() for word in found)


def instant(text: str) -> datetime | str | None:
    if not re.match(r"\d{4}-\d\d-\d\dT", text):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def agree(ours: Any, theirs: Any) -> bool:
    """Whether two readings say the same though one says more of it."""
    if isinstance(ours, datetime) and isinstance(theirs, str):
        return ours.date().isoformat().startswith(theirs)
    if isinstance(theirs, datetime) and isinstance(ours, str):
        return theirs.date().isoformat().startswith(ours)
    return False


def table(corpus: Path) -> dict[tuple[str, str], dict[str, int]]:
    """How often each element was matched, different, missing and more."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    for element in compared(corpus):
        counts = found.setdefault(
            (element.type, element.name), dict.fromkeys(("matched", "different", "missing", "more"), 0)
        )
        counts[element.verdict] += 1
    return found
