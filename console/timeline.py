"""What happened to a message, in the order of time: its own steps, its deliveries, what people did, its relatives.

Guarantees: no value of the message; what it says beside states, kinds and errors is in the language that was chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from console.language import N_, gettext
from engine.clock import Micros
from engine.odoo import links
from engine.store.family import Relative

TONES = {"ERROR": "bad", "FILTERED": "note", "RECEIVED": "wait"}
SAID = (
    (re.compile(r"replayed as (?P<number>\d+)"), N_("replayed as message %(number)s")),
    (re.compile(r"edited and replayed as (?P<number>\d+)"), N_("edited and replayed as message %(number)s")),
    (re.compile(r"job (?P<job>\d+) failed on it: (?P<code>\S+)"), N_("job %(job)s failed on it: %(code)s")),
    (
        re.compile("given up by retention: its error was older than the channel keeps errors"),
        N_("given up by retention: its error was older than the channel keeps errors"),
    ),
)
"""What the engine notes of its own acts (engine.store.operate, jobs, retention), and how it is shown."""
_AS = re.compile(r"^(?P<number>\d+)")
_OF = re.compile(r"^of (?P<number>\d+)")


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


def linked(server: str, record: str | None) -> list[Link]:
    """The records that a delivery touched, with where people see them."""
    return [Link(f"{one.model},{one.id}", links.record_url(server, *one)) for one in links.records(record)]


def timeline(shown: dict[str, Any], places: dict[str, str], relatives: list[Relative]) -> list[Moment]:
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
        why = " ".join(
            filter(None, (attempts, item["error_text"], _code(item["error_code"]), _said(item["note"])))
        )
        at = item["finished_at"] or item["next_at"] or None
        records = linked(places.get(item["destination"], ""), item["record"])
        moments.append(Moment(at, item["state"], item["destination"], why, tone, records))
    moments += [
        Moment(event["at"], event["kind"], event["destination"] or "", _told(event), "note")
        for event in shown["events"]
    ]
    moments += [
        Moment(
            one.received_at, one.lineage or "origin", one.channel, _outcome(one), TONES.get(one.state, "ok"),
            [Link(str(one.id), f"/messages/{one.id}")],
        )
        for one in relatives
        if one.id != shown["id"]
    ]  # fmt: skip
    return sorted(moments, key=lambda moment: moment.at or 2**62)


def _told(event: dict[str, Any]) -> str:
    """Who did it, and what is kept of it."""
    actor = gettext(N_("engine")) if event["actor"] == "engine" else event["actor"]
    detail = event["detail"] or ""
    if event["kind"] == "replay":
        detail = _AS.sub(_put(N_("as message %(number)s")), detail)
    elif event["kind"] == "edit":
        detail = _AS.sub(_put(N_("as message %(number)s")), detail)
        detail = _OF.sub(_put(N_("of message %(number)s")), detail)
    return f"{actor} {_said(detail)}".strip()


def _said(note: str | None) -> str:
    """What the engine keeps of its own acts, in the reader's language; what people noted as it is."""
    for pattern, text in SAID:
        if found := pattern.fullmatch(note or ""):
            return gettext(text) % found.groupdict()
    return note or ""


def _put(text: str) -> Callable[[re.Match[str]], str]:
    return lambda found: gettext(text) % found.groupdict()


def _outcome(one: Relative) -> str:
    """What a relative is and where it stands."""
    return " ".join((one.type, one.state, *(f"{name} {state}" for name, state in one.deliveries.items())))


def _code(code: str | None) -> str:
    return f"[{code}]" if code else ""
