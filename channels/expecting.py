"""What a channel test expects, and in what the result differs from it.

Guarantees: everything that differs is told, each at the line of its expectation with what was expected and what
came; a subset is enough unless `exact` is set. Refuses (told by `form`): an expectation that expects nothing, and
names that mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.fhir.entries import Entry, operations
from engine.spec.document import Document, Where, did_you_mean
from engine.states import MessageState

KEYS = ("events", "operations", "filtered", "error", "ack", "variables", "sent", "responses")
MISSING = "(absent)"


@dataclass(frozen=True)
class Wrong:
    """One difference: where it is expected, what is meant, and either both values or a text."""

    where: str
    what: str
    expected: Any = None
    got: Any = None
    text: str = ""

    def __str__(self) -> str:
        told = self.text or f"expected {self.expected!r}, got {self.got!r}"
        return f"{self.where}: {f'{self.what}: ' if self.what else ''}{told}"


@dataclass
class Result:
    """What came of a message. `answers` are the codes of the acknowledgements."""

    state: str
    reason: str = ""
    code: str = ""
    text: str = ""
    place: str = ""
    answers: list[str] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)
    payloads: list[tuple[str, bytes]] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)
    responses: dict[str, Any] = field(
        default_factory=dict
    )  # by destination: what its answer makes of the delivery

    @property
    def operations(self) -> list[dict[str, Any]]:
        """The operations for all destinations, in order: of Odoo, and resources for FHIR servers."""
        found = [decoded(payload) for _, payload in self.payloads]
        return [item for made in found if is_operations(made) for item in made]

    @property
    def filter(self) -> str:
        """The filter that stopped it: `filters[0] message_type`."""
        return self.reason.partition(":")[0]

    @property
    def where(self) -> str:
        """The position that an error is about, without the step."""
        return self.place.rpartition(": ")[2]


@dataclass
class Expectation:
    """The `expect` of a test and its place."""

    document: Document
    at: Where

    @property
    def data(self) -> dict[str, Any]:
        """What is expected."""
        found = self.document.data
        for part in self.at:
            found = found[part]
        return dict(found)

    def wrong(self, path: Where, **told: Any) -> Wrong:
        """A difference at a path below `expect`."""
        return Wrong(str(self.document.mark((*self.at, *path))), name_of(path), **told)


def form(expect: Any) -> Iterator[tuple[Where, str]]:
    """What is wrong with the form of an expectation: the path inside it and the text."""
    known = (*KEYS, "exact")
    if not isinstance(expect, dict) or not set(expect) & set(KEYS):
        yield (), f"an expectation names some of {', '.join(KEYS)}"
        return
    for name in expect:
        if name not in known:
            yield (name,), f"unknown expectation. {did_you_mean(str(name), known)}"
    kinds: dict[str, tuple[type, str]] = {
        **dict.fromkeys(("events", "operations"), (list, "a list")),
        **dict.fromkeys(("error", "variables", "sent", "responses"), (dict, "a mapping")),
        "exact": (bool, "true or false"),
    }
    for name, (kind, what) in kinds.items():
        if name in expect and not isinstance(expect[name], kind):
            yield (name,), f"this must be {what}"


def compare(expectation: Expectation, result: Result) -> list[Wrong]:
    """What is not as expected."""
    expect = expectation.data
    if "error" not in expect and result.state == MessageState.ERROR:
        text = f"the message is in ERROR: {result.place}: {result.text} [{result.code}]"
        return [expectation.wrong((), text=text), *_ack(expectation, expect, result)]
    if "filtered" not in expect and result.state == MessageState.FILTERED:
        return [expectation.wrong((), text=f"the message is filtered: {result.reason}")]
    return list(_compare(expectation, expect, result))


def _compare(expectation: Expectation, expect: dict[str, Any], result: Result) -> Iterator[Wrong]:
    exact = expect.get("exact", False)
    if "filtered" in expect and str(expect["filtered"]) not in (result.filter or ""):
        yield expectation.wrong(
            ("filtered",), expected=expect["filtered"], got=result.filter or "not filtered"
        )
    if "error" in expect:
        got = {"code": result.code, "where": result.where, "text": result.text, "place": result.place}
        yield from _differ(expectation, ("error",), expect["error"], got, exact=False)
    if "events" in expect:
        wanted = [{"type": one} if isinstance(one, str) else one for one in expect["events"]]
        found = [msgspec.to_builtins(event) for event in result.events]
        if len(wanted) != len(found):
            types = [event["type"] for event in found]
            yield expectation.wrong(("events",), expected=[one.get("type", "?") for one in wanted], got=types)
        for index, (one, event) in enumerate(zip(wanted, found, strict=False)):
            named = isinstance(expect["events"][index], str)
            yield from _differ(expectation, ("events", index), one, event, exact=exact and not named)
    if "operations" in expect:
        yield from _operation_list(expectation, expect["operations"], result.operations, exact=exact)
    if "variables" in expect:
        found = msgspec.to_builtins(result.variables, enc_hook=str)
        yield from _differ(expectation, ("variables",), expect["variables"], found, exact=exact)
    if "responses" in expect:
        yield from _differ(expectation, ("responses",), expect["responses"], result.responses, exact=False)
    if "sent" in expect:
        sent = {name: decoded(payload) for name, payload in result.payloads}
        yield from _differ(expectation, ("sent",), expect["sent"], sent, exact=exact)
    yield from _ack(expectation, expect, result)


def _ack(expectation: Expectation, expect: dict[str, Any], result: Result) -> list[Wrong]:
    if "ack" not in expect:
        return []
    wanted = expect["ack"] if isinstance(expect["ack"], list) else [expect["ack"]]
    if wanted == result.answers:
        return []
    return [expectation.wrong(("ack",), expected=wanted, got=result.answers)]


def _operation_list(expectation: Expectation, wanted: Any, made: Any, *, exact: bool) -> Iterator[Wrong]:
    if len(made) != len(wanted):
        told = [f"{one['op']} {one['model']} {one['key']}" for one in made]
        text = f"{len(wanted)} are expected, {len(made)} were made: {', '.join(told) or 'none'}"
        yield expectation.wrong(("operations",), text=text)
    for index, (one, found) in enumerate(zip(wanted, made, strict=False)):
        path = ("operations", index)
        absent = one.get("absent", ()) if isinstance(one, dict) else ()
        plain = {name: value for name, value in one.items() if name != "absent"} if absent else one
        yield from _differ(expectation, path, plain, found, exact=exact)
        for place, name in enumerate(absent):
            if name in found.get("values", {}):
                got = found["values"][name]
                yield expectation.wrong((*path, "absent", place), text=f"{name} must be absent, got {got!r}")


def _differ(
    expectation: Expectation, path: Where, wanted: Any, found: Any, *, exact: bool
) -> Iterator[Wrong]:
    """A mapping needs what is named, and with `exact` nothing else; a list has just these items."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name, value in wanted.items():
            yield from _differ(expectation, (*path, name), value, found.get(name, MISSING), exact=exact)
        for name in found if exact else ():
            if name not in wanted:
                text = f"{name} is there and not expected: {found[name]!r}"
                yield expectation.wrong(path, text=text)
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for index, (one, other) in enumerate(zip(wanted, found, strict=True)):
            yield from _differ(expectation, (*path, index), one, other, exact=exact)
    elif wanted != found or isinstance(wanted, bool) != isinstance(found, bool):
        yield expectation.wrong(path, expected=wanted, got=found)


def decoded(payload: bytes) -> Any:
    """A payload as data when it is JSON, else as text with lines; what goes to a FHIR server as operations."""
    try:
        found = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return payload.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    if isinstance(found, list) and found and isinstance(found[0], dict) and "by" in found[0]:
        try:
            return operations(msgspec.convert(found, list[Entry]))
        except msgspec.ValidationError:
            pass  # somebody else's list
    return found


def is_operations(made: Any) -> bool:
    """Whether a payload, decoded, is a list of operations."""
    return isinstance(made, list) and all(isinstance(one, dict) and "op" in one for one in made)


def name_of(path: Where) -> str:
    """`("operations", 0, "values", "name")` as `operations[0].values.name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
