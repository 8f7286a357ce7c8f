"""What entries would change on a FHIR server, element by element, before anything is sent.

Guarantees: the same search and the same joining as a delivery, and nothing is written. Entries are followed in order:
what an earlier message of the plan would write counts as what is there for a later one. What only is referred to is
not told. Refuses (FhirError): what a delivery refuses before it writes. What the server itself would refuse of a
transaction is not known before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import unquote

from engine.change import Change
from engine.fhir.entries import Entry
from engine.fhirserver.writer import FhirWriter, Resource, joined, together, unified

_BESIDE = frozenset({"resourceType", "id", "meta"})


class Planner:
    """Plans the entries of messages, one after the other, against one server."""

    content: ClassVar[Any] = list[Entry]

    def __init__(self, writer: FhirWriter) -> None:
        self._writer = writer
        self._planned: dict[str, Resource] = {}  # by `Patient/7`, or the search of one that would be made
        self._found: dict[str, str] = {}  # `Patient?identifier=…`, of every identifier of those

    async def plan(self, entries: list[Entry]) -> list[Change]:
        """The changes, in order; a resource that stays as it is gives one Change with a note."""
        wanted = together([entries])
        found = await self._writer.look_up(wanted.values(), {})
        known: dict[str, str] = {}
        there: dict[str, Resource | None] = {}
        for key, entry in wanted.items():
            known[key], there[key] = self._known(entry, found.get(key))
        names = {
            entry.url: known[key]
            for key, entry in wanted.items()
            if there[key] is not None or entry.mode != "existing"
        }
        placed = {key: name for key, name in known.items() if there[key] is not None}
        changes: list[Change] = []
        for key, entry in unified(wanted, placed).items():
            after = joined(entry, there[key], names)
            if not entry.named:
                changes += _changes(entry, there[key], after)
            if after is not None:
                self._keep(known[key], after)
        return changes

    def _known(self, entry: Entry, found: Resource | None) -> tuple[str, Resource | None]:
        """What a reference to it says, and how it stands after the plan so far."""
        for by in entry.by:
            name = self._found.get(f"{entry.type}?{unquote(by)}")
            if name is not None:
                return name, self._planned[name]
        if found is not None:
            name = f"{entry.type}/{found['id']}"
            return name, self._planned.get(name, found)
        return entry.search, None

    def _keep(self, name: str, resource: Resource) -> None:
        self._planned[name] = resource
        for item in resource.get("identifier", ()):
            search = f"identifier={item.get('system', '')}|{item.get('value', '')}"
            self._found[f"{resource['resourceType']}?{search}"] = name


def _changes(entry: Entry, before: Resource | None, after: Resource | None) -> list[Change]:
    record = str(before["id"]) if before is not None and "id" in before else None
    start = (*entry.told, record)
    if after is None:
        return [Change(*start, note="skipped: no such resource")]
    new = dict(_leaves(after))
    if before is None:
        return [Change(*start, field, None, value) for field, value in new.items()]
    old = dict(_leaves(before))
    changes = [
        Change(*start, field, old.get(field, ""), new.get(field, ""))
        for field in {**new, **old}
        if old.get(field) != new.get(field)
    ]
    return changes or [Change(*start, note="unchanged")]


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each primitive value by its path (`name[0].family`), as FHIR writes it."""
    if isinstance(value, dict):
        for name, item in value.items():
            if path or name not in _BESIDE:
                yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _leaves(item, f"{path}[{place}]")
    else:
        yield path, str(value).lower() if isinstance(value, bool) else str(value)
