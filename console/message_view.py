"""One message for people: its timeline, its relatives and its bodies; HL7 as a tree, too (console.hl7_tree).

Guarantees: without `reveal` nothing of it holds a value of the message (console.masking); what it says beside states
is in the language that was chosen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from console.hl7_tree import Tree, tree
from console.language import N_, gettext
from console.masking import masked, readable
from engine.clock import Micros
from engine.odoo import links
from engine.store import search, servers
from engine.store.family import Relative, family, lineage
from engine.store.tx import Tx

SENT = (
    ("payload", N_("%(destination)s: operations")), ("request", N_("%(destination)s: request")),
    ("response", N_("%(destination)s: answer")),
)  # fmt: skip
TONES = {"ERROR": "bad", "FILTERED": "note", "RECEIVED": "wait"}


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
    tree: Tree


def view(
    tx: Tx, message_id: int, reveal: bool, may: Callable[[str], bool], first: int = 1
) -> MessageView | None:
    """The message, or None. `may`: whether they may see a channel; relatives on others are left out. `first`: the
    segment that its tree begins with."""
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
    bodies = [Body(gettext(N_("Message")), text(shown["raw"])), Body("ACK", text(shown["answer"]))]
    for item in shown["deliveries"]:
        for key, title in SENT:
            if item[key]:
                bodies.append(Body(gettext(title) % {"destination": item["destination"]}, text(item[key])))
    relatives = [one for one in family(tx, message_id) if may(one.channel)]
    fields: dict[str, Any] = {name: shown.get(name) for name in MessageView.__struct_fields__}
    return MessageView(
        **fields
        | {
            "patient": shown["patient"],
            "family": relatives,
            "lineage": lineage(shown["parent_id"], shown["flags"]), "revealed": reveal,
            "has_content": shown["raw"] is not None, "deliveries": deliveries,
            "timeline": _timeline(shown, places, relatives), "bodies": [body for body in bodies if body.text],
            "tree": tree(shown["raw"], reveal, first),
        }
    )  # fmt: skip


def linked(server: str, record: str | None) -> list[Link]:
    """The records that a delivery touched, with where people see them."""
    return [Link(f"{one.model},{one.id}", links.record_url(server, *one)) for one in links.records(record)]


def _timeline(shown: dict[str, Any], places: dict[str, str], relatives: list[Relative]) -> list[Moment]:
    """What happened to it, and when its relatives came, over all channels."""
    moments = [
        Moment(
            shown["received_at"],
            "RECEIVED",
            shown["channel"],
            gettext(N_("%(size)s bytes from %(peer)s")) % {"size": shown["size"], "peer": shown["peer"]},
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
        tone = TONES.get(shown["state"], "ok")
        moments.append(Moment(shown["routed_at"], shown["state"], shown["channel"], why, tone))
    for item in shown["deliveries"]:
        tone = {"SENT": "ok", "ERROR": "bad", "DISCARDED": "note"}.get(item["state"], "wait")
        attempts = gettext(N_("%(num)s attempts")) % {"num": item["attempts"]} if item["attempts"] > 1 else ""
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
    moments += [
        Moment(
            one.received_at, one.lineage or "origin", one.channel, _outcome(one), TONES.get(one.state, "ok"),
            [Link(str(one.id), f"/messages/{one.id}")],
        )
        for one in relatives
        if one.id != shown["id"]
    ]  # fmt: skip
    return sorted(moments, key=lambda moment: moment.at or 2**62)


def _outcome(one: Relative) -> str:
    """What a relative is and where it stands."""
    return " ".join((one.type, one.state, *(f"{name} {state}" for name, state in one.deliveries.items())))


def _code(code: str | None) -> str:
    return f"[{code}]" if code else ""
