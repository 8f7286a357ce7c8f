"""DocumentReference and Immunization → events.

| DocumentReference | before | event |
|-------------------|--------|-------|
| current | none | document.available (it replaces another: document.replaced) |
| current | another value | document.updated |
| superseded | another status, none | document.status_changed |
| entered-in-error, deleted | another status, none | document.cancelled |

| Immunization | before | event |
|--------------|--------|-------|
| completed | none · another value | vaccination.recorded · updated |
| not-done | | vaccination.refused |
| entered-in-error, deleted | | vaccination.deleted |

Guarantee: the content of a document is told by type, size and SHA-256; plain text that came inside is kept up to
MAX_TEXT characters, a URL stands in the `ext` of the document (`url`) and is never fetched.
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import Any

from transforms.canonical.clinical import MAX_TEXT, Content, Document, Vaccination
from transforms.canonical.from_fhir.changes import Kind, differing
from transforms.canonical.from_fhir.finance import decimal
from transforms.canonical.from_fhir.people import patient_of, practitioner
from transforms.canonical.from_fhir.reader import Reader, Resource, dict_, dicts, text
from transforms.canonical.from_fhir.visit import encounter_of
from transforms.canonical.maker import Maker
from transforms.canonical.types import Code

COMPLETION = {"preliminary": "PA", "final": "AU", "amended": "AU"}
"""docStatus in the words of HL7 table 0271."""


def documents(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of a DocumentReference, if anything of it changed."""
    new = document(read)
    old = document(before) if before is not None else None
    if kind == "delete":
        new.status = "entered-in-error"
    changed = differing(old, new, "identifiers") if old is not None else []
    if old is not None and not changed:
        return
    if new.status == "entered-in-error":
        action = "cancelled"
    elif new.status == "superseded":
        action = "status_changed" if old is None or old.status != new.status else "updated"
    elif old is None and kind != "update":
        action = "replaced" if new.relates == "replaces" else "available"
    else:
        action = "updated"
    who = patient_of(read, read.data.get("subject"), "subject")
    context = read.data.get("context")
    visit = encounter_of(read, dict_(context).get("encounter") if isinstance(context, dict) else context)
    make.event(
        f"document.{action}", "Document", new.key, patient=who, encounter=visit, document=new, changed=changed
    )


def document(read: Reader) -> Document:
    """The document of a resource."""
    data = read.data
    kind = read.code(data.get("type"))
    attachments = [dict_(item.get("attachment")) for item in dicts(data.get("content"))]
    relates = next(
        (item for item in dicts(data.get("relatesTo")) if _relation(read, item) in ("replaces", "appends")),
        {},
    )
    target = dict_(relates.get("target"))
    other = read.resolve(target)
    parents = read.identifiers(other) if other is not None else read.identified(target)
    context = dict_(data.get("context"))
    titles = [text(item.get("title")) for item in attachments]
    confidentiality = read.codes(data.get("securityLabel"))
    return Document(
        identifiers=read.identifiers(),
        type=kind,
        title=text(data.get("description")) or next(filter(None, titles), "") or getattr(kind, "label", ""),
        status=text(data.get("status")) or "current",
        completion=COMPLETION.get(text(data.get("docStatus")), ""),
        confidentiality=confidentiality[0].code if confidentiality else "",
        created=read.moment(data.get("date")),
        activity=read.moment(dict_(context.get("period") or data.get("period")).get("start")),
        authors=[one for item in dicts(data.get("author")) if (one := practitioner(read, item)) is not None],
        relates=_relation(read, relates),
        parent=parents[0] if parents else None,
        content=[_content(item) for item in attachments],
        ext={"url": urls}
        if (urls := [url for item in attachments if (url := text(item.get("url")))])
        else {},
    )


def _relation(read: Reader, item: Resource) -> str:
    """R4 has a code, R5 a CodeableConcept."""
    code = item.get("code")
    return code if isinstance(code, str) else read.code_of(code)


def _content(item: Resource) -> Content:
    type_ = text(item.get("contentType"))
    size, hash_ = item.get("size"), ""
    said = ""
    if data := _decoded(text(item.get("data"))):
        size, hash_ = len(data), sha256(data).hexdigest()
        if type_.startswith("text/plain"):
            said = data.decode("utf-8", "replace")[:MAX_TEXT]
    size = int(size) if isinstance(size, (int, str)) and str(size).isdecimal() else 0
    return Content(content_type=type_, size=size, sha256=hash_, text=said)


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (ValueError, binascii.Error):
        return b""


def vaccinations(read: Reader, before: Reader | None, make: Maker, kind: Kind) -> None:
    """The event of an Immunization, if anything of it changed."""
    new = vaccination(read)
    old = vaccination(before) if before is not None else None
    if kind == "delete":
        new.status = "entered-in-error"
    changed = differing(old, new, "identifiers") if old is not None else []
    if old is not None and not changed:
        return
    action = {"not-done": "refused", "entered-in-error": "deleted"}.get(new.status, "")
    if not action:
        action = (
            "updated" if kind == "update" or (old is not None and old.status == new.status) else "recorded"
        )
    who = patient_of(read, read.data.get("patient"), "patient")
    visit = encounter_of(read, read.data.get("encounter"))
    make.event(
        f"vaccination.{action}", "Vaccination", new.key,
        patient=who, encounter=visit, vaccination=new, changed=changed,
    )  # fmt: skip


def vaccination(read: Reader) -> Vaccination:
    """The vaccination of a resource."""
    data = read.data
    dose = dict_(data.get("doseQuantity"))
    people = [dict_(item.get("actor")) for item in dicts(data.get("performer"))]
    performers = [one for item in people if (one := practitioner(read, item)) is not None]
    return Vaccination(
        identifiers=read.numbers("FILL", "PLAC"),
        status=text(data.get("status")) or "completed",
        code=read.code(data.get("vaccineCode")),
        at=read.moment(data.get("occurrenceDateTime")),
        amount=decimal(dose.get("value")),
        unit=text(dose.get("unit")) or text(dose.get("code")),
        lot=text(data.get("lotNumber")),
        expires=read.day(data.get("expirationDate")),
        manufacturer=_manufacturer(read, data.get("manufacturer")),
        refusal=read.code(data.get("statusReason")),
        route=read.code(data.get("route")),
        site=read.code(data.get("site")),
        performer=performers[0] if performers else None,
    )


def _manufacturer(read: Reader, found: Any) -> Any:
    """R4 has a Reference, R5 a CodeableReference."""
    item = dict_(found)
    if "concept" in item:
        return read.code(item)
    reference = item if isinstance(item.get("reference"), str) else dict_(item.get("reference")) or item
    data = read.resolve(reference) or {}
    name = text(data.get("name")) or text(reference.get("display"))
    number = dict_(reference.get("identifier"))
    if code := text(number.get("value")):
        return Code(code=code, display=name, system=text(number.get("system")))
    return Code(text=name) if name else read.absent
