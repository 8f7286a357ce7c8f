"""One Subscription that a channel wants on a FHIR server: what is known of it, and when it is to be looked at again.

Guarantee: what is told of it holds no secret. What is done about it: `engine.fhirserver.registrar`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from engine.fhir.moment import moment, updated
from engine.fhir.subscription import CHANNEL, SLOT, Wanted, about, differs, same, tagged
from engine.fhirserver.errors import FhirError

CHECK = 300.0  # seconds between two looks when all is well
SOON = 1.0  # seconds
PROMPT = (
    (2.0, SOON),
    (30.0, 3.0),
    (120.0, 15.0),
)  # seconds since it was asked for, seconds until the next look
ACTIVATION = 10.0  # seconds that a server may take to activate by itself
HANDSHAKE = 300.0  # seconds until a server is asked again for one
AGAIN, LONGEST = 60.0, 1800.0  # seconds between two repairs of what goes wrong again
LIFE = timedelta(days=30)
GRACE = 10.0  # seconds that a heartbeat may be late
VITAL = frozenset({"about", "endpoint", "filters", "payload"})  # without these it is another Subscription


class Slot:
    """One Subscription that is wanted, and what is known of it."""

    def __init__(self, wanted: Wanted, version: str, identity: str) -> None:
        self.wanted = wanted
        self.ours = wanted.resource(version)
        self.key = f"{identity}-{sha256(wanted.name.encode()).hexdigest()[:12]}"
        tags = [{"system": CHANNEL, "code": identity}, {"system": SLOT, "code": self.key}]
        self.ours["meta"] = {**self.ours.get("meta", {}), "tag": tags}
        self.there: dict[str, Any] = {}  # as the server has it
        self.tried: frozenset[str] = frozenset()  # what the last write should have changed
        self.kept: frozenset[str] = frozenset()  # what the server keeps otherwise, whatever we write
        self.asked = 0.0  # when it was last asked to be active
        self.by_us = False  # the server leaves it to us to make it active
        self.live = False  # it was active when we looked last
        self.repairs = 0
        self.again = 0.0  # not repaired before
        self.heard = 0.0
        self.total: int | None = None  # events that the server has told of
        self.why = ""
        self.failed: FhirError | None = None  # of the last look

    @property
    def id(self) -> str:
        """On the server."""
        return str(self.there.get("id", ""))

    @property
    def state(self) -> str:
        """As the server says; empty while there is none."""
        return str(self.there.get("status", "")).lower()

    def is_of(self, one: dict[str, Any]) -> bool:
        """Whether this resource stands for it."""
        return tagged(one, SLOT) == self.key or same(about(one), self.wanted.name)

    def wrong(self) -> frozenset[str]:
        """What has to be changed; nothing of one that is not there."""
        if "status" not in self.there:
            return frozenset()
        found = differs(self.there, self.ours)
        if tagged(self.there, SLOT) != self.key:
            found |= {"tag"}
        return found - self.kept

    def ends(self, now: datetime) -> bool:
        """Half of its life is over."""
        end, since = moment(self.there.get("end")), updated(self.there)
        return end is not None and now >= end - (end - (since or end - LIFE)) / 2

    def next(self, now: float) -> float:
        """Seconds until it should be looked at."""
        if self.state != "active":
            waited = now - self.asked
            prompt = next((pause for until, pause in PROMPT if waited < until), AGAIN)
            return prompt if self.state in ("", "requested") else max(self.again - now, 1.0)
        if now - self.asked < PROMPT[0][0]:
            return SOON  # a search may not have found yet what is there
        return min(CHECK, max(self.overdue() - now, 1.0)) if self.wanted.heartbeat else CHECK

    def overdue(self) -> float:
        """When a heartbeat is missed."""
        return self.heard + 2 * self.wanted.heartbeat + GRACE

    def trouble(self, now: float) -> str:
        """For people; empty while all is well."""
        label = f"the Subscription for {self.wanted.name}"
        if self.why:
            return f"{label}: {self.why}"
        if self.kept & VITAL:
            return f"{label}: the server has another {', '.join(sorted(self.kept & VITAL))}, and keeps it"
        if self.state in ("", "requested"):
            late = self.asked and now - self.asked > 3 * ACTIVATION
            does = "does it reach `subscribe.url`?" if self.wanted.topic else "see its log"
            return f"{label} is not active yet: the server has it as requested; {does}" if late else ""
        return (
            "" if self.state == "active" else f"{label} is {self.state} on the server; it is asked for again"
        )

    def status(self) -> dict[str, Any]:
        """For `status --json`."""
        return {
            "id": self.id,
            "about": self.wanted.name,
            "status": self.state,
            "end": self.there.get("end"),
            "events": self.total,
        }
