"""Subscription resources: what one of ours looks like on a server, and how one that is there differs from it.

    Wanted(endpoint=…, criteria="Patient?").resource("R4")     R4: criteria
    Wanted(endpoint=…, topic="http://…").resource("R4B")       R4, R4B: Subscriptions R5 Backport
    Wanted(endpoint=…, topic="http://…").resource("R5")        R5

Guarantees: no secret is in a `repr` or in what `differs` gives; only what we asked for is compared, so what a server
adds is no difference. Refuses nothing: settings are checked where they are declared.

Sources: FHIR R4 and R5 `Subscription`; hl7.fhir.uv.subscriptions-backport 1.1; extensions of HAPI FHIR (deletions) and
Medplum (signature).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

Payload = Literal["empty", "id-only", "full-resource"]
CHANNEL, SLOT = "urn:isthmus:channel", "urn:isthmus:subscription"  # systems of our tags
JSON = "application/fhir+json"
BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
FILTER, CONTENT = f"{BACKPORT}backport-filter-criteria", f"{BACKPORT}backport-payload-content"
HEARTBEAT = f"{BACKPORT}backport-heartbeat-period"
DELETES = "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages"
SIGNATURE = "https://www.medplum.com/fhir/StructureDefinition/subscription-secret"
_OPEN = ("content", "heartbeat")  # the server's own choice where we say nothing
REST_HOOK = {
    "system": "http://terminology.hl7.org/CodeSystem/subscription-channel-type",
    "code": "rest-hook",
}


@dataclass(frozen=True)
class Wanted:
    """One Subscription that a server should have."""

    endpoint: str = field(repr=False)  # may hold a secret
    criteria: str = ""
    topic: str = ""
    filters: tuple[str, ...] = ()  # of a topic: `Encounter?patient=Patient/1`
    payload: Payload = "full-resource"
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    signature: str = field(default="", repr=False)
    heartbeat: int = 0  # seconds; of a topic
    extension: tuple[Mapping[str, Any], ...] = ()
    reason: str = "Isthmus"

    @property
    def name(self) -> str:
        """What it is about, for people and to tell it from others of its channel."""
        return self.criteria or self.topic

    def resource(self, version: str) -> dict[str, Any]:
        """As it is sent, but for its status, tags and end."""
        if version == "R5":
            return self._r5()
        made: dict[str, Any] = {"resourceType": "Subscription", "reason": self.reason}
        channel: dict[str, Any] = {"type": "rest-hook", "endpoint": self.endpoint}
        if self.payload != "empty" or self.topic:
            channel["payload"] = JSON
        if self.headers:
            channel["header"] = [f"{name}: {value}" for name, value in self.headers]
        extensions = list(self.extension)
        if self.topic:
            made["meta"] = {"profile": [f"{BACKPORT}backport-subscription"]}
            made["criteria"] = self.topic
            if self.filters:
                made["_criteria"] = {
                    "extension": [{"url": FILTER, "valueString": one} for one in self.filters]
                }
            channel["_payload"] = {"extension": [{"url": CONTENT, "valueCode": self.payload}]}
            if self.heartbeat:
                channel["extension"] = [{"url": HEARTBEAT, "valueUnsignedInt": self.heartbeat}]
        else:
            made["criteria"] = self.criteria
            channel["extension"] = [{"url": DELETES, "valueBoolean": True}]
            if self.signature:
                extensions.append({"url": SIGNATURE, "valueString": self.signature})
        if extensions:
            made["extension"] = extensions
        return {**made, "channel": channel}

    def _r5(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "resourceType": "Subscription", "name": self.reason, "topic": self.topic, "channelType": REST_HOOK,
            "endpoint": self.endpoint, "contentType": JSON, "content": self.payload,
        }  # fmt: skip
        if self.filters:
            made["filterBy"] = [one for text in self.filters for one in _filter(text)]
        if self.headers:
            made["parameter"] = [{"name": name, "value": value} for name, value in self.headers]
        if self.heartbeat:
            made["heartbeatPeriod"] = self.heartbeat
        return {**made, **({"extension": list(self.extension)} if self.extension else {})}


def differs(there: Mapping[str, Any], wanted: Mapping[str, Any]) -> frozenset[str]:
    """The names of what a server's Subscription says otherwise than ours."""
    have = _said(there)
    return frozenset(
        name
        for name, value in _said(wanted).items()
        if have.get(name) != value and not (value is None and name in _OPEN)
    )


def endpoint(there: Mapping[str, Any]) -> str:
    """Where it sends to."""
    found = there.get("endpoint") or _dict(there.get("channel")).get("endpoint")
    return found if isinstance(found, str) else ""


def about(there: Mapping[str, Any]) -> str:
    """Its criteria or topic."""
    found = there.get("topic") or there.get("criteria")
    return found if isinstance(found, str) else ""


def same(one: str, other: str) -> bool:
    """Whether two criteria or topics are the same: `Patient` and `Patient?` are."""
    return one.removesuffix("?") == other.removesuffix("?")


def tagged(there: Mapping[str, Any], system: str) -> str:
    """The code of our tag, or an empty text."""
    tags = _dicts(_dict(there.get("meta")).get("tag"))
    return next((str(tag.get("code", "")) for tag in tags if tag.get("system") == system), "")


def _said(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Every part by a name, in one form for R4 and R5."""
    channel = _dict(resource.get("channel"))
    said: dict[str, Any] = {
        "endpoint": endpoint(resource),
        "about": about(resource).removesuffix("?"),
        "payload": resource.get("contentType") or channel.get("payload"),
        "filters": _sorted(_dict(resource.get("_criteria")).get("extension"), resource.get("filterBy")),
        "headers": sorted(
            [str(one) for one in channel.get("header") or ()]
            + [f"{one.get('name')}: {one.get('value')}" for one in _dicts(resource.get("parameter"))]
        ),
        "content": resource.get("content"),
        "heartbeat": resource.get("heartbeatPeriod"),
    }
    for place in (resource, channel, _dict(channel.get("_payload"))):
        for one in _dicts(place.get("extension")):
            said[str(one.get("url"))] = {key: value for key, value in one.items() if key != "url"}
    return said


def _filter(text: str) -> Iterator[dict[str, Any]]:
    """`Encounter?patient=Patient/1` as `filterBy` of R5."""
    kind, _, query = text.partition("?")
    for name, value in parse_qsl(query, keep_blank_values=True):
        parameter, _, modifier = name.partition(":")
        made = {"resourceType": kind, "filterParameter": parameter, "value": value}
        yield {**made, **({"modifier": modifier} if modifier else {})}


def _sorted(*lists: Any) -> list[str]:
    return sorted(str(sorted(one.items())) for found in lists for one in _dicts(found))


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
