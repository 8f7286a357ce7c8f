"""MDM → document events. The trigger says what happened.

| trigger | event | status |
|---------|-------|--------|
| T01, T02 | document.available | current |
| T03, T04 | document.status_changed | current |
| T05, T06 | document.available, which appends to TXA-13 | current |
| T07, T08 | document.updated | current |
| T09, T10 | document.replaced, in the place of TXA-13 | current |
| T11 | document.cancelled | entered-in-error |

Guarantee: a document in OBX-5 (ED) is told by type, size and SHA-256, plain text as it is up to MAX_TEXT characters.
Refused (`StepError`): a document without a number (`document.no_identifier`).
"""

from __future__ import annotations

import base64
import binascii
from hashlib import sha256
from typing import Any

from engine.errors import StepError
from transforms.canonical.clinical import MAX_TEXT, Content, Document
from transforms.canonical.events import Event
from transforms.canonical.from_hl7.groups import around
from transforms.canonical.from_hl7.maker import Maker
from transforms.canonical.from_hl7.orders import numbers
from transforms.canonical.from_hl7.reader import Reader

TRIGGERS = {
    **dict.fromkeys(("T01", "T02"), ("document.available", "current", "")),
    **dict.fromkeys(("T03", "T04"), ("document.status_changed", "current", "")),
    **dict.fromkeys(("T05", "T06"), ("document.available", "current", "appends")),
    **dict.fromkeys(("T07", "T08"), ("document.updated", "current", "")),
    **dict.fromkeys(("T09", "T10"), ("document.replaced", "current", "replaces")),
    "T11": ("document.cancelled", "entered-in-error", ""),
}


def mdm(read: Reader, make: Maker, trigger: str) -> list[Event]:
    """The event of an MDM message."""
    if trigger not in TRIGGERS:
        return []
    type_, status, relates = TRIGGERS[trigger]
    who, visit = around(read)
    document = _document(read, status, relates)
    make.event(type_, "Document", document.key, patient=who, encounter=visit, document=document)
    return make.events


def _document(read: Reader, status: str, relates: str) -> Document:
    segment = read.message.segment
    txa = segment("TXA")
    number = read.identifier(read.one(txa, 12), "", authority=2)
    if number is None:
        raise StepError(
            "the document has no number",
            code="document.no_identifier",
            where="TXA-12",
            todo="ask the sender to fill TXA-12 (unique document number)",
        )
    kind = read.code(read.one(txa, 2))
    return Document(
        identifiers=[number, *numbers(read, segment("ORC"), segment("OBR"))],
        type=kind,
        title=read.plain(txa, 16) or getattr(kind, "label", ""),
        status=status,
        completion=read.plain(txa, 17),
        availability=read.plain(txa, 19),
        confidentiality=read.plain(txa, 18),
        created=read.instant(txa, 6),
        activity=read.instant(txa, 4),
        authors=read.people(txa, 9),
        relates=relates if read.plain(txa, 13) else "",
        parent=read.identifier(read.one(txa, 13), "", authority=2),
        content=[item for obx in read.message.segments("OBX") if (item := _content(read, obx)) is not None],
    )


def _content(read: Reader, obx: Any) -> Content | None:
    kind, found = read.plain(obx, 2), read.all(obx, 5)
    if not found:
        return None
    if kind == "ED":  # source, type of data, subtype, encoding, data
        parts = found[0]
        data = _decoded(read.text(parts, 5), read.text(parts, 4))
        type_ = "/".join(filter(None, (read.text(parts, 2).lower(), read.text(parts, 3).lower())))
        return Content(
            content_type=type_, encoding=read.text(parts, 4), size=len(data), sha256=sha256(data).hexdigest()
        )
    if kind not in ("TX", "FT", "ST"):
        return None
    text = "\n".join(read.text(parts, 1) for parts in found)
    data = text.encode()
    return Content(
        content_type="text/plain", size=len(data), sha256=sha256(data).hexdigest(), text=text[:MAX_TEXT]
    )


def _decoded(text: str, encoding: str) -> bytes:
    """Base64 and hex as bytes; what cannot be decoded, as it was sent."""
    try:
        if encoding.lower() == "base64":
            return base64.b64decode("".join(text.split()), validate=True)
        if encoding.lower() == "hex":
            return bytes.fromhex(text)
    except (ValueError, binascii.Error):
        pass
    return text.encode()
