"""What is shown of a message to who may not see patient data: its form, without its values.

Guarantees: of HL7 only MSH, EVN, MSA, ERR and the segment names stay readable; of JSON only the keys, and the
values of keys that name a model, an operation or a code of ours; of XML only the names; anything else becomes one
block. Lengths of values are not told.
Refuses nothing: what cannot be read is masked as a whole.
"""

from __future__ import annotations

from typing import Any

import orjson
from lxml import etree

from engine.errors import HL7Error, IsthmusError
from engine.formats.xml import load
from engine.hl7.er7 import Message
from engine.hl7.segment import Segment

DOT = "•••"
OPEN_SEGMENTS = frozenset({"MSH", "EVN", "MSA", "ERR", "FHS", "BHS", "BTS", "FTS"})
OPEN_KEYS = frozenset({"op", "model", "method", "resourceType", "type", "event", "jsonrpc"})


def masked(data: bytes | None) -> str:
    """The form of a body."""
    if not data:
        return ""
    try:
        return orjson.dumps(_json(orjson.loads(data)), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        pass
    document = _xml(data, hide=True)
    if document is not None:
        return document
    try:
        message = Message(data)
    except HL7Error:
        return DOT
    return "\n".join(map(masked_line, message))


def masked_line(segment: Segment) -> str:
    """A segment without its values; those that only describe the message as they are."""
    if segment.name in OPEN_SEGMENTS:
        return segment.text
    separator = segment.wording.delimiters.field
    kept = [DOT if field else "" for field in segment.fields[1:]]
    return separator.join([segment.name if segment.name.isalnum() else DOT, *kept])


def _json(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _json(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_json(item, key) for item in value]
    if value is None or isinstance(value, bool) or value == "":
        return value
    return value if key in OPEN_KEYS and isinstance(value, str) else DOT


def readable(data: bytes | None) -> str:
    """A body as text for who may see it: JSON and XML indented, HL7 a segment a line in its own character set."""
    if not data:
        return ""
    try:
        return orjson.dumps(orjson.loads(data), option=orjson.OPT_INDENT_2).decode()
    except orjson.JSONDecodeError:
        pass
    document = _xml(data, hide=False)
    if document is not None:
        return document
    try:
        return "\n".join(segment.text for segment in Message(data))
    except HL7Error:
        return data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")


def _xml(data: bytes, hide: bool) -> str | None:
    """A document, an element a line; None when it is none."""
    if not data.lstrip().startswith(b"<"):
        return None
    try:
        root = load(data)
    except IsthmusError:
        return None
    if hide:
        for one in root.iter():
            one.text, one.tail = (DOT if text and text.strip() else text for text in (one.text, one.tail))
            for name in one.attrib:
                one.set(name, DOT)
    etree.indent(root)
    return str(etree.tostring(root, encoding="unicode"))
