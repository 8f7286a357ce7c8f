"""What a FHIR server sends to a subscriber: which kind it is, and the messages that it carries.

    detect(method, headers, path, body) -> Notification(kind, messages, reason, …)

Guarantees: looks at method, headers and parsed JSON, never at Content-Type, for servers send what they like; one
message for each event, named by what makes it the same when it is sent again; an event is never dropped: what came
without its resource becomes a note that says which resource has to be read. Refuses (FormatError): what is not JSON
with a `resourceType`, a PUT whose path names another resource than its body.

Sources: FHIR R4 and R5 `Subscription`, `SubscriptionStatus`; Subscriptions R5 Backport (hl7.fhir.uv.subscriptions);
CloudEvents 1.0 (engine.fhir.cloudevents).

| order | what arrives                                                        | kind             |
|-------|---------------------------------------------------------------------|------------------|
| 1     | DELETE, or `X-Medplum-Interaction: delete`                          | `r4-delete`      |
| 2     | no body                                                             | `r4-ping`        |
| 3     | Bundle that begins with SubscriptionStatus; by its type             | `r5` or `r4b`    |
| 4     | Bundle that begins with Parameters that name subscription and type  | `r4-backport`    |
| 5     | any other Bundle of type transaction                                | `r4-transaction` |
| 6     | any other resource                                                  | `r4-resource`    |
| 7     | a CloudEvent of Azure, or a batch of them                           | `cloudevent`     |

A note is a history Bundle of one entry without resource, tagged `deleted` or `unread`: `DELETE Appointment/1`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson

from engine.fhir import cloudevents
from engine.formats import tree
from engine.formats.base import bad, name

TAGS = "urn:isthmus:notification"
_SILENT = ("handshake", "heartbeat", "query-status")


class Event(NamedTuple):
    """One event of a SubscriptionStatus, or of the Parameters that stand for it in R4."""

    number: str = ""  # accepted as text and as number
    id: str = ""
    focus: str = ""
    context: tuple[str, ...] = ()


class Status(NamedTuple):
    """What a notification Bundle says of its subscription."""

    type: str
    status: str
    subscription: str
    events: tuple[Event, ...]
    total: int | None = None  # events since the subscription began; servers may not count
    errors: tuple[str, ...] = ()  # codes of what is wrong with the subscription


class Notification(NamedTuple):
    """One request of a server. Without a `reason` the message is `messages[0]`, as it came."""

    kind: str
    messages: tuple[tuple[bytes, str], ...]  # bytes, and the control id where the bytes name none
    reason: str = ""  # why the body itself goes no further: it only carries messages
    control_id: str = ""  # of the body
    bundle: bool = False  # the server wants a Bundle for an answer
    status: Status | None = None  # what a notification of a topic says of its subscription
    vague: bool = False  # something changed, and it does not say what


def detect(
    method: str,
    headers: Callable[[str], str],
    below: str,
    body: bytes,
    *,
    counter: bool = False,
) -> Notification:
    """What a request is. Raises FormatError.

    `headers` gives a header's value or an empty text, `below` is the path below the listener's (`Patient/1`),
    `counter` says that the server's event numbers never begin again.
    """
    if method == "DELETE" or headers("X-Medplum-Interaction").lower() == "delete":
        gone = relative(headers("X-Medplum-Deleted-Resource") or below)
        if not gone:
            raise bad("the deletion names no resource", "send DELETE to …/Type/id", "fhir.no_reference")
        return Notification("r4-delete", ((note(gone, "deleted"), _deleted(gone, headers("x-trace-id"))),))
    if not body.strip():
        return Notification("r4-ping", ((note("", "unread"), ""),), vague=True)
    data = tree.load(body, "FHIR JSON")
    kind = data.get("resourceType") if isinstance(data, dict) else None
    if kind == "Bundle":
        if noted(data)[0]:
            raise bad("the Bundle has a tag that only the engine gives", f"leave out {TAGS}", "fhir.tag")
        found = notified(data, counter)
        if found is not None:
            return found
    elif kind is None and cloudevents.enveloped(data):
        return _cloudevents(data)
    if not isinstance(kind, str) or not name(kind):
        raise bad("the body is no FHIR resource", "send JSON with a resourceType", "fhir.no_type")
    own = f"{kind}/{data.get('id', '')}"
    if method == "PUT" and below and below != own:
        raise bad("the path names another resource than the body", "PUT to …/Type/id of it", "fhir.path")
    version = headers("If-Match").removeprefix("W/").strip('"')
    control_id = f"{own}/_history/{version}" if version and data.get("id") else ""
    return Notification("r4-resource", ((body, control_id),), bundle=kind == "Bundle")


def note(reference: str, tag: str, context: tuple[str, ...] = ()) -> bytes:
    """The message for a resource that is `deleted`, or `unread`: its content did not come along."""
    method = "DELETE" if tag == "deleted" else "GET"
    entries = [{"request": {"method": method, "url": reference or "/"}}]
    entries += [{"request": {"method": "GET", "url": one}} for one in context]
    return orjson.dumps(
        {
            "resourceType": "Bundle",
            "meta": {"tag": [{"system": TAGS, "code": tag}]},
            "type": "history",
            "entry": entries,
        }
    )


def noted(data: Mapping[str, Any]) -> tuple[str, list[str]]:
    """`deleted` or `unread` and the references of a note, first the resource; an empty text when it is none."""
    meta = data.get("meta") if data.get("resourceType") == "Bundle" else None
    for tag in _dicts(meta.get("tag")) if isinstance(meta, dict) else ():
        if tag.get("system") == TAGS and tag.get("code") in ("deleted", "unread"):
            urls = [_text(_dict(entry.get("request")).get("url")) for entry in _dicts(data.get("entry"))]
            return str(tag["code"]), [url.strip("/") for url in urls] or [""]
    return "", []


def relative(reference: str) -> str:
    """A reference without server and version: `Patient/1`. Empty when it names no resource."""
    parts = reference.partition("/_history/")[0].strip("/").rsplit("/", 2)[-2:]
    return "/".join(parts) if len(parts) == 2 and all(map(name, parts)) else ""


def notified(data: dict[str, Any], counter: bool) -> Notification | None:
    """What a Bundle tells of a Subscription or a transaction; None when it is any other."""
    entries = _dicts(data.get("entry"))
    first = _dict(entries[0].get("resource")) if entries else {}
    if data.get("type") == "message" and first.get("resourceType") == "MessageHeader":
        inner = [_dict(entry.get("resource")) for entry in entries[1:]]
        found = [notified(one, counter) for one in inner if one.get("resourceType") == "Bundle"]
        return next((one for one in found if one is not None and one.kind != "r4-transaction"), None)
    own = f"Bundle/{data['id']}" if isinstance(data.get("id"), str) else ""
    status = stated(first)
    if status is not None:
        kind = "r4-backport" if first["resourceType"] == "Parameters" else "r4b"
        kind = "r5" if data.get("type") == "subscription-notification" and kind == "r4b" else kind
    elif data.get("type") == "transaction":
        messages = tuple(_changed(entries))
        reason = (
            f"a transaction of {len(messages)}; they follow" if messages else "a transaction without changes"
        )
        return Notification("r4-transaction", messages, reason, own, bundle=True)
    else:
        return None
    if status.type in _SILENT:
        reason = f"{status.type} of {status.subscription}: status {status.status}, no event"
        return Notification(kind, (), reason, own, bundle=True, status=status)
    messages = tuple(dict.fromkeys(_events(status, entries[1:], counter)))
    vague = any(not relative(event.focus) for event in status.events)
    if not messages and status.type == "event-notification":
        messages, vague = ((note("", "unread"), ""),), True
    reason = f"{status.type} of {status.subscription}: {len(messages)} to do" if messages else (
        f"{status.type} of {status.subscription}: status {status.status}, no event"
    )  # fmt: skip
    return Notification(kind, messages, reason, own, bundle=True, status=status, vague=vague)


def stated(resource: Mapping[str, Any]) -> Status | None:
    """What a SubscriptionStatus, or the Parameters that stand for it in R4, says; None when it is neither."""
    if resource.get("resourceType") == "SubscriptionStatus":
        return _r5_status(resource)
    params = _named(resource) if resource.get("resourceType") == "Parameters" else {}
    return _r4_status(params) if params.keys() >= {"subscription", "type"} else None


def answered(data: Mapping[str, Any]) -> Status | None:
    """What the answer to `$status` says: a Bundle of them, or one alone."""
    entries = _dicts(data.get("entry")) if data.get("resourceType") == "Bundle" else [{"resource": data}]
    told = (stated(_dict(entry.get("resource"))) for entry in entries)
    return next((one for one in told if one is not None), None)


def _events(status: Status, entries: list[dict[str, Any]], counter: bool) -> Iterator[tuple[bytes, str]]:
    """The message of each event: its resource, or a note. Several events of one resource take its entries in order."""
    if not status.events:
        yield from _changed(entries)
        return
    waiting: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        for reference in dict.fromkeys(_references(entry)):
            waiting.setdefault(reference, []).append(entry)
    for event in status.events:
        focus = relative(event.focus)
        own = waiting.get(focus, [])
        entry = own.pop(0) if len(own) > 1 else own[0] if own else {}
        number = f"{status.subscription}/events/{event.number}" if counter and event.number else ""
        known = name(f"event/{event.id}") if event.id else name(number)
        if focus and _dict(entry.get("request")).get("method") == "DELETE":
            yield note(focus, "deleted"), known
        elif focus and isinstance(entry.get("resource"), dict):
            yield orjson.dumps(entry["resource"]), known
        else:
            version = event.focus.partition("/_history/")[2]
            context = tuple(filter(None, map(relative, event.context)))
            yield (
                note(focus, "unread", context),
                known or (name(f"{focus}/_history/{version}") if version else ""),
            )


def _changed(entries: list[dict[str, Any]]) -> Iterator[tuple[bytes, str]]:
    """The resources of entries, and what they delete."""
    for entry in entries:
        request = _dict(entry.get("request"))
        url = relative(_text(request.get("url")))
        if request.get("method") == "DELETE" and url:
            yield note(url, "deleted"), ""
        elif isinstance(entry.get("resource"), dict):
            yield orjson.dumps(entry["resource"]), ""


def _references(entry: dict[str, Any]) -> Iterator[str]:
    resource = _dict(entry.get("resource"))
    if isinstance(resource.get("id"), str):
        yield f"{resource.get('resourceType')}/{resource['id']}"
    yield relative(_text(entry.get("fullUrl")))
    yield relative(_text(_dict(entry.get("request")).get("url")))


def _r5_status(status: Mapping[str, Any]) -> Status:
    """Of a SubscriptionStatus (R4B, R5); athenahealth names its events by `id` and counts none."""
    events = tuple(
        Event(
            name(event.get("eventNumber")),
            _text(event.get("id")),
            _reference(event.get("focus")),
            tuple(map(_reference, _dicts(event.get("additionalContext")))),
        )
        for event in _dicts(status.get("notificationEvent"))
    )
    return _status(status, status.get("eventsSinceSubscriptionStart"), events, _dicts(status.get("error")))


def _r4_status(params: dict[str, list[dict[str, Any]]]) -> Status:
    """Of the Parameters of the backport; Microsoft gives no numbers, references as `valueUri`, and capitals."""
    events = []
    for parameter in params.get("notification-event", ()):
        parts = _named(parameter, "part")
        context = tuple(_reference(_value(part)) for part in parts.get("additional-context", ()))
        one = {key: _value(found[0]) for key, found in parts.items()}
        number, focus = name(one.get("event-number")), _reference(one.get("focus"))
        events.append(Event(number, _text(parameter.get("id")), focus, context))
    first = {key: _value(found[0]) for key, found in params.items()}
    errors = _dicts([_value(one) for one in params.get("error", ())])
    return _status(first, first.get("events-since-subscription-start"), tuple(events), errors)


def _status(
    first: Mapping[str, Any], count: Any, events: tuple[Event, ...], errors: list[dict[str, Any]]
) -> Status:
    told = _text(first.get("type")).lower()
    if told not in (*_SILENT, "event-notification", "query-event"):
        told = "event-notification" if events else "notification"
    state = name(_text(first.get("status")).lower()) or "unknown"
    codes = (name(coding.get("code")) for error in errors for coding in _dicts(error.get("coding")))
    number = name(count)
    return Status(
        told,
        state,
        relative(_reference(first.get("subscription"))) or "a subscription",
        events,
        int(number) if re.fullmatch(r"[0-9]{1,18}", number) else None,
        tuple(filter(None, codes)),
    )


def _cloudevents(data: Any) -> Notification:
    told = cloudevents.read(data)
    messages = tuple(
        (note(change.resource, "deleted" if change.deleted else "unread"), change.control_id)
        for change in told.changes
    )
    return Notification("cloudevent", messages, told.reason, told.control_id)


def _deleted(reference: str, trace: str) -> str:
    """Deletions have no version: the request that caused it, else nothing, for there may be more than one."""
    return name(f"{reference}/deleted/{name(trace)}") if name(trace) else ""


def _named(data: Mapping[str, Any], key: str = "parameter") -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for item in _dicts(data.get(key)):
        found.setdefault(_text(item.get("name")), []).append(item)
    return found


def _value(item: dict[str, Any]) -> Any:
    return next((value for key, value in item.items() if key.startswith("value")), None)


def _reference(value: Any) -> str:
    return _text(value.get("reference") if isinstance(value, dict) else value)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
