"""One message for people: its timeline, its relatives, its bodies, and HL7 as a tree with the fields' names.

Guarantees: without `reveal` nothing of it holds a value of the message (console.masking).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from console.masking import DOT, OPEN_SEGMENTS, masked, readable
from engine.clock import Micros
from engine.errors import HL7Error
from engine.hl7 import names
from engine.hl7.er7 import Message
from engine.odoo import links
from engine.store import search, servers
from engine.store.family import Relative, family, lineage
from engine.store.tx import Tx

PARTS = 400  # fields of a tree, at most


class Link(msgspec.Struct):
    """A record in a destination; `url` is where people see it, "" when there is no such place."""

    name: str
    url: str


class Moment(msgspec.Struct):
    """One step of the timeline. `tone`: ok, wait, bad or note."""

    at: Micros | None
    what: str
    where: str
    detail: str
    tone: str
    links: list[Link] = []


class Node(msgspec.Struct):
    """One segment, field or component of the tree."""

    path: str
    name: str
    value: str
    children: list[Node] = []


class Body(msgspec.Struct):
    """What was received, sent or answered."""

    title: str
    text: str


class MessageView(msgspec.Struct):
    """Everything about one message."""

    id: int
    channel: str
    state: str
    type: str
    control_id: str
    sender: str
    peer: str
    size: int
    received_at: Micros
    ack: str | None
    config_version: str | None
    parent_id: int | None
    patient: bool  # whether it names one
    lineage: str  # what it is of its parent: replay, edited copy, part
    children: list[int]
    family: list[Relative]
    error_code: str | None
    error_text: str | None
    error_place: str | None
    reason: str | None
    revealed: bool
    has_content: bool
    deliveries: list[dict[str, Any]]
    timeline: list[Moment]
    bodies: list[Body]
    tree: list[Node]


def view(tx: Tx, message_id: int, reveal: bool, may: Callable[[str], bool]) -> MessageView | None:
    """The message, or None. `may`: whether they may see a channel; relatives on others are left out."""
    shown = search.show(tx, message_id)
    if shown is None:
        return None
    text = readable if reveal else masked
    places = servers.known(tx).get(shown["channel"], {})
    deliveries = [
        {key: value for key, value in item.items() if key not in ("payload", "request", "response")}
        | {"links": linked(places.get(item["destination"], ""), item["record"])}
        for item in shown["deliveries"]
    ]
    bodies = [Body("Message", text(shown["raw"])), Body("ACK", text(shown["answer"]))]
    for item in shown["deliveries"]:
        for key, title in (("payload", "operations"), ("request", "request"), ("response", "answer")):
            if item[key]:
                bodies.append(Body(f"{item['destination']}: {title}", text(item[key])))
    fields: dict[str, Any] = {name: shown.get(name) for name in MessageView.__struct_fields__}
    return MessageView(
        **fields
        | {
            "patient": shown["patient"],
            "family": [one for one in family(tx, message_id) if may(one.channel)],
            "lineage": lineage(shown["parent_id"], shown["flags"]), "revealed": reveal,
            "has_content": shown["raw"] is not None, "deliveries": deliveries,
            "timeline": _timeline(shown, places), "bodies": [body for body in bodies if body.text],
            "tree": tree(shown["raw"], reveal),
        }
    )  # fmt: skip


def linked(server: str, record: str | None) -> list[Link]:
    """The records that a delivery touched, with where people see them."""
    return [Link(f"{one.model},{one.id}", links.record_url(server, *one)) for one in links.records(record)]


def _timeline(shown: dict[str, Any], places: dict[str, str]) -> list[Moment]:
    moments = [
        Moment(
            shown["received_at"],
            "RECEIVED",
            shown["channel"],
            f"{shown['size']} bytes from {shown['peer']}",
            "ok",
        )
    ]
    if shown["ack"]:
        tone = "ok" if shown["ack"] in ("AA", "CA") else "bad"
        moments.append(Moment(shown["received_at"], f"ACK {shown['ack']}", shown["channel"], "", tone))
    if shown["routed_at"]:
        why = shown["reason"] or " ".join(
            filter(None, (shown["error_text"], shown["error_place"], _code(shown["error_code"])))
        )
        tone = {"ERROR": "bad", "FILTERED": "note"}.get(shown["state"], "ok")
        moments.append(Moment(shown["routed_at"], shown["state"], shown["channel"], why, tone))
    for item in shown["deliveries"]:
        tone = {"SENT": "ok", "ERROR": "bad", "DISCARDED": "note"}.get(item["state"], "wait")
        attempts = f"{item['attempts']} attempts" if item["attempts"] > 1 else ""
        why = " ".join(filter(None, (attempts, item["error_text"], _code(item["error_code"]), item["note"])))
        at = item["finished_at"] or item["next_at"] or None
        records = linked(places.get(item["destination"], ""), item["record"])
        moments.append(Moment(at, item["state"], item["destination"], why, tone, records))
    for event in shown["events"]:
        moments.append(
            Moment(
                event["at"],
                event["kind"],
                event["destination"] or "",
                f"{event['actor']} {event['detail'] or ''}",
                "note",
            )
        )
    return sorted(moments, key=lambda moment: moment.at or 2**62)


def _code(code: str | None) -> str:
    return f"[{code}]" if code else ""


def tree(raw: bytes | None, reveal: bool) -> list[Node]:
    """The segments of an HL7 message with their fields and components by name; [] for anything else."""
    if raw is None:
        return []
    try:
        message = Message(raw)
    except HL7Error:
        return []
    version = message["MSH-12.1"] or names.DEFAULT
    nodes, left, counted = [], PARTS, {}  # type: ignore[var-annotated]
    for segment in message:
        name = segment.name
        counted[name] = counted.get(name, 0) + 1
        label = name if counted[name] == 1 else f"{name}[{counted[name]}]"
        children = []
        open_ = reveal or name in OPEN_SEGMENTS
        for number, field in enumerate(segment.fields[1:], 1):
            if not field or left <= 0:
                continue
            left -= 1
            children.append(_field(segment, name, label, number, field, version, open_))
        nodes.append(Node(label, _named(name, version), "", children))
    return nodes


def _field(segment: Any, name: str, label: str, number: int, field: str, version: str, open_: bool) -> Node:
    path = f"{name}-{number}"
    node = Node(f"{label}-{number}", _named(path, version), field if open_ else DOT)
    component = segment.wording.delimiters.component
    if component in field and path not in ("MSH-1", "MSH-2"):
        first = segment.repetitions(number)[0]
        parts = field.split(segment.wording.delimiters.repetition, maxsplit=1)[0].split(component)
        node.children = [
            Node(
                f"{label}-{number}.{place}",
                _named(f"{path}.{place}", version),
                first[place] if open_ else DOT,
            )
            for place, part in enumerate(parts, 1)
            if part
        ]
    return node


def _named(path: str, version: str) -> str:
    try:
        if "-" not in path:
            return names.segment_name(path)
        return names.describe(path, version).name
    except Exception:  # places that no version has
        return ""
