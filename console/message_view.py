"""One message for people: its timeline (console.timeline), its relatives and its bodies; HL7 as a tree, too
(console.hl7_tree).

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
from console.timeline import Moment, linked, timeline
from engine.clock import Micros
from engine.store import search, servers
from engine.store.causes import DISMISSED
from engine.store.family import Relative, family, lineage
from engine.store.tx import Tx

SENT = (
    ("payload", N_("%(destination)s: operations")), ("request", N_("%(destination)s: request")),
    ("response", N_("%(destination)s: answer")),
)  # fmt: skip


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
    dismissed: bool  # ERROR: an operator discarded or replayed it
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
            "patient": shown["patient"], "dismissed": bool(shown["flags"] & DISMISSED),
            "family": relatives,
            "lineage": lineage(shown["parent_id"], shown["flags"]), "revealed": reveal,
            "has_content": shown["raw"] is not None, "deliveries": deliveries,
            "timeline": timeline(shown, places, relatives), "bodies": [body for body in bodies if body.text],
            "tree": tree(shown["raw"], reveal, first),
        }
    )  # fmt: skip
