"""What people ask for, as it comes in forms and JSON, and what the store is asked then.

Guarantees: a search never reaches channels that the asker may not see; identifiers of patients come in request
bodies, never in addresses; every filter is one that the store knows, so no text of a request becomes SQL.
Refuses (Refused 422): times, states and ids that cannot be read.
"""

from __future__ import annotations

from datetime import UTC
from itertools import islice
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import fastapi
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from console.content import ACTED, Looked, every, look
from console.problems import Refused
from console.stores import Stores
from engine import clock
from engine.clock import Micros
from engine.security.roles import Identity, Role
from engine.states import DeliveryState, MessageState
from engine.store import columns, search
from engine.store.tx import Tx

PRIVATE = (
    "mrn",
    "visit",
    "text",
    "columns",
)  # filters that may be patient data: never in an address or a log
MOST = 1_000_000  # messages of one act: whether they are stale is weighed in memory
LARGEST_ID = 2**51  # body ids are 4096 times as large
After = Annotated[int | None, fastapi.Query(ge=1, lt=LARGEST_ID, description="Continue below this id.")]


class Query(BaseModel):
    """Filters; all that are given must hold."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    ids: list[int] | None = Field(default=None, max_length=100_000, description="These messages.")
    channel: str | None = Field(default=None, max_length=200, description="Of this channel.")
    state: MessageState | None = Field(default=None, description="In this state.")
    delivery: DeliveryState | None = Field(default=None, description="With a delivery in this state.")
    destination: str | None = Field(default=None, max_length=200, description="To this destination.")
    cause: str | None = Field(default=None, max_length=64, description="With this cause of an open error.")
    code: str | None = Field(default=None, max_length=200, description="With this error code.")
    type: str | None = Field(default=None, max_length=100, description="Of this type: ADT, or ADT^A01.")
    control_id: str | None = Field(default=None, max_length=200, description="With this MSH-10.")
    mrn: str | None = Field(default=None, max_length=200, description="Of this patient, exactly.")
    visit: str | None = Field(default=None, max_length=200, description="Of this visit, exactly.")
    columns: dict[str, Annotated[str, Field(max_length=200)]] | None = Field(
        default=None,
        max_length=16,
        description="Searchable columns of channels, by name: the value, exactly.",
    )
    since: str | None = Field(
        default=None, max_length=40, description="Received since: a time, or 90m, 24h, 7d."
    )
    until: str | None = Field(default=None, max_length=40, description="Received before.")
    zone: str | None = Field(
        default=None,
        max_length=64,
        description="Time zone (IANA) of `since` and `until` without an offset; UTC.",
    )
    text: str | None = Field(
        default=None,
        max_length=200,
        description="With this text in what was received; needs the right to see it.",
    )

    @property
    def filters(self) -> dict[str, Any]:
        """The arguments of engine.store.search.find, without `text`."""
        return {
            "ids": self.ids and [id_of(one) for one in self.ids], "channel": self.channel or None, "state": self.state,
            "delivery_state": self.delivery, "destination": self.destination or None,
            "cause": (self.cause or "").lower() or None, "error_code": self.code or None,
            "type": self.type or None, "control_id": self.control_id or None, "mrn": self.mrn or None,
            "visit": self.visit or None, "columns": self.columns or None,
            "since": moment(self.since, self.zone), "until": moment(self.until, self.zone),
        }  # fmt: skip

    @property
    def named(self) -> bool:
        """Whether any filter is set."""
        return any(value not in (None, "") for value in self.model_dump(exclude={"zone"}).values())

    @property
    def only(self) -> dict[str, Any]:
        """What of a chosen message an act is about: see engine.store.operate."""
        return {
            "destination": self.destination or None, "state": self.delivery, "code": self.code or None,
            "cause": (self.cause or "").lower() or None,
        }  # fmt: skip


class Act(BaseModel):
    """An act on the messages that a query finds."""

    model_config = ConfigDict(extra="forbid")

    verb: Literal["replay", "resend", "discard"] = Field(description="What to do.")
    query: Query = Field(description="With what.")
    limit: int | None = Field(default=None, ge=1, le=MOST, description="The oldest so many.")
    rate: float | None = Field(default=None, gt=0, le=100_000, description="Messages a second, at most.")
    note: str = Field(default="", max_length=500, description="Why; kept with it; no patient data.")
    force: StrictBool = Field(default=False, description="Put older data over newer, too.")


def kept(query: Query) -> dict[str, Any]:
    """What is kept of a saved search. Refused with filters that are patient data: without them it would find others."""
    private = [field for field in PRIVATE if getattr(query, field)]
    if private:
        raise Refused(422, "query.private", f"{private[0]} is not kept in a saved search", "leave it out")
    return query.model_dump(exclude_none=True, mode="json")


def id_of(text: Any) -> int:
    """The id that a field of a form names."""
    text = str(text)
    number = int(text) if text.isdecimal() and len(text) <= len(str(LARGEST_ID)) else 0
    if not 0 < number < LARGEST_ID:
        raise Refused(422, "query.id", f"{text[:40]} cannot be the id of a message")
    return number


def moment(text: str | None, zone: str | None = None) -> Micros | None:
    """A time in a query (see engine.clock.moment), in `zone`. Refused with 422."""
    if not text:
        return None
    try:
        place = ZoneInfo(zone) if zone else UTC
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise Refused(
            422, "query.zone", "this is no time zone", "write Europe/Berlin, or leave it out"
        ) from None
    try:
        return clock.moment(text, place)
    except ValueError:
        raise Refused(
            422, "query.time", "this is not a time", "write 2026-11-22T03:00, or 90m, 24h, 7d"
        ) from None


def known(tx: Tx, identity: Identity, query: Query) -> None:
    """Refused 422 when a searchable column is of no channel that they may see, or is not found by its beginning."""
    declared = columns.declared(tx, identity.channels(Role.VIEWER))
    names = sorted({one.name for some in declared.values() for one in some})
    for name, wanted in (query.columns or {}).items():
        if name not in names:
            todo = f"Known: {', '.join(names) or 'none'}; see `search` of a channel"
            raise Refused(422, "column.unknown", f"no channel declares the column {name!r}", todo)
        columns.term(tx, name, wanted)


def found(
    stores: Stores, identity: Identity, query: Query, *, after: int | None = None, limit: int = 50
) -> Looked:
    """The newest messages that fit, below the id `after`."""
    filters = query.filters | {"channels": identity.channels(Role.VIEWER)}
    with stores.reading() as tx:
        known(tx, identity, query)
    if query.text:
        return look(stores, identity, query.text, filters, after, limit)
    with stores.reading() as tx:
        rows = search.find(tx, **filters, after=after, limit=limit)
    return Looked(rows, rows[-1].id if len(rows) == limit else None, 0, None)


def chosen(stores: Stores, identity: Identity, act: Act) -> list[int]:
    """The ids that an act is about, the oldest first; Refused when it names nothing."""
    query = act.query
    if not query.named:
        raise Refused(422, "query.empty", "name messages by id, or choose them with a filter")
    filters = query.filters | {
        "channels": identity.channels(Role.OPERATOR), "dismissed": None if query.ids else False
    }  # fmt: skip
    with stores.reading() as tx:
        known(tx, identity, query)
    if query.text:
        rows = every(stores, identity, query.text, filters, ACTED)
        return [row.id for row in islice(rows, act.limit)]
    found = search.ids(stores.reading, min(act.limit or MOST + 1, MOST + 1), **filters)
    if len(found) > MOST:
        raise Refused(
            422, "query.wide", f"more than {MOST:,} messages fit", "narrow it by time, or give a limit"
        )
    return found
