"""What a FHIR server makes of Subscriptions, for tests: it activates them, keeps them, and tells of changes.

`how` is the kind of server: `hapi` activates by itself a moment later, `medplum` keeps the status that it is given,
`topic` asks the endpoint with a handshake first and gives numbers and heartbeats. It sends what the Subscription says:
address, headers, signature. `reach(method, url, headers, body, done)` is how: `done` is told the status of the answer,
0 without one.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO
from typing import Any

from fhir_server import Failed, FhirServer
from twisted.web.client import Agent, FileBodyProducer, readBody
from twisted.web.http_headers import Headers

SECRET = "https://www.medplum.com/fhir/StructureDefinition/subscription-secret"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
Reach = Callable[[str, str, list[str], bytes, Callable[[int], None]], None]


def over_http(reactor: Any) -> Reach:
    """Requests to listeners on this machine."""

    def reach(method: str, url: str, headers: list[str], body: bytes, done: Callable[[int], None]) -> None:
        pairs = (one.split(": ", 1) for one in headers)
        given = Headers({name: [value] for name, value in pairs})
        producer = FileBodyProducer(BytesIO(body))
        sent = Agent(reactor, connectTimeout=5).request(method.encode(), url.encode(), given, producer)
        sent.addCallback(lambda response: readBody(response).addCallback(lambda _: done(response.code)))
        sent.addErrback(lambda failure: done(0))

    return reach


class Subscriptions:
    """Of one server. `clock` gives the reactor of now, for restarts change it."""

    def __init__(self, server: FhirServer, clock: Callable[[], Any], reach: Reach, how: str = "hapi") -> None:
        self.server, self.clock, self.reach, self.how = server, clock, reach, how
        self.counts: dict[str, int] = {}
        self.answers: list[int] = []
        self.lost = 0  # so many notifications are not sent
        self.deaf = False  # no handshake is sent
        self.sent: dict[str, dict[int, dict[str, Any]]] = {}  # of each topic Subscription, event by number
        server.changed = self.changed
        server.operations["$status"] = self.told

    def all(self) -> list[dict[str, Any]]:
        """Those that there are."""
        return list(self.server.all("Subscription").values())

    def set(self, id_: str, **values: Any) -> None:
        """Change one, as the server or somebody else does."""
        now = self.server.current("Subscription", id_)
        assert now is not None
        self.server.changed = lambda *_: None
        self.server.put({**now, **values})
        self.server.changed = self.changed

    def changed(self, kind: str, resource: dict[str, Any], interaction: str) -> None:
        """Of any resource."""
        if kind != "Subscription":
            for one in self.all():
                if one.get("status") == "active":
                    self.notify(one, resource, interaction)
        elif interaction != "delete" and resource.get("status") == "requested":
            if self.how == "hapi":
                self.clock().callLater(1.5, self._activate, resource["id"])
            elif self.how == "topic" and not self.deaf:
                self.clock().callLater(1.5, self._shake, resource["id"])

    def _activate(self, id_: str, status: int = 200) -> None:
        now = self.server.current("Subscription", id_)
        if now is not None and now["status"] == "requested":
            self.set(id_, status="active" if 200 <= status < 300 else "error")

    def _shake(self, id_: str) -> None:
        one = self.server.current("Subscription", id_)
        if one is not None:
            self.send(one, self.bundle(one, "handshake"), done=lambda status: self._activate(id_, status))

    def bundle(self, one: dict[str, Any], kind: str, *events: dict[str, Any]) -> dict[str, Any]:
        """A notification of a topic."""
        status = {
            "resourceType": "SubscriptionStatus", "type": kind, "status": one["status"],
            "eventsSinceSubscriptionStart": str(self.counts.get(one["id"], 0)), "notificationEvent": list(events),
            "subscription": {"reference": f"{self.server.base}/Subscription/{one['id']}"},
        }  # fmt: skip
        return {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}]}

    def beat(self) -> None:
        """A heartbeat of every one that is active."""
        for one in self.all():
            if one["status"] == "active":
                self.send(one, self.bundle(one, "heartbeat"))

    def told(self, id_: str, query: dict[str, str]) -> dict[str, Any]:
        """`$status`."""
        one = self.server.current("Subscription", id_)
        if one is None:
            raise Failed(404, "not-found")
        return {**self.bundle(one, "query-status"), "type": "searchset"}

    def keep_events(self) -> None:
        """Know `$events`."""
        self.server.operations["$events"] = self.events

    def events(self, id_: str, query: dict[str, str]) -> dict[str, Any]:
        """`$events`: those that it still has, by number."""
        one = self.server.current("Subscription", id_)
        if one is None:
            raise Failed(404, "not-found")
        first, last = int(query["eventsSinceNumber"]), int(query["eventsUntilNumber"])
        found = [event for number, event in self.sent.get(id_, {}).items() if first <= number <= last]
        return self.bundle(one, "query-event", *found)

    def notify(self, one: dict[str, Any], resource: dict[str, Any], interaction: str) -> None:
        """Of one change; criteria are only a type here."""
        named = f"{resource['resourceType']}/{resource['id']}"
        if self.how == "topic":
            number = self.counts[one["id"]] = self.counts.get(one["id"], 0) + 1
            event = {"eventNumber": str(number), "focus": {"reference": named}}
            self.sent.setdefault(one["id"], {})[number] = event
            if not self._is_lost():
                self.send(one, self.bundle(one, "event-notification", event))
        elif one["criteria"].partition("?")[0] == resource["resourceType"] and not self._is_lost():
            if interaction == "delete":
                self.send(one, b"", "DELETE", f"/{named}")
            elif "payload" not in one["channel"]:
                self.send(one, b"")
            else:
                self.send(one, resource, "PUT", f"/{named}")

    def _is_lost(self) -> bool:
        self.lost -= 1
        return self.lost >= 0

    def send(
        self, one: dict[str, Any], body: Any, method: str = "POST", below: str = "", done: Any = None
    ) -> None:
        """As the Subscription says."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        channel = one.get("channel") or {}
        headers = list(channel.get("header", ()))
        headers += [f"{item['name']}: {item['value']}" for item in one.get("parameter", ())]
        for extension in one.get("extension", ()):
            if extension["url"] == SECRET:
                key = extension["valueString"].encode()
                headers.append(f"X-Signature: {hmac.new(key, raw, sha256).hexdigest()}")
        url = channel.get("endpoint") or one.get("endpoint")

        def answered(status: int) -> None:
            self.answers.append(status)
            if done is not None:
                done(status)

        self.reach(method, url + below, headers, raw, answered)
