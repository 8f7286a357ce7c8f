"""Collects what is to be written to a FHIR server for one message, and who refers to whom.

Guarantee: what one message says of one thing is one entry (`engine.fhir.entries`), whatever number of events say it;
a reference to an entry is its `urn:uuid`, the same whenever the message is read.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.fhir.entries import RANK, Entry, Mode, merged
from transforms.canonical.to_fhir.datatypes import Json, condition, identifier
from transforms.canonical.types import Identifier

__all__ = ["Mode", "Plan"]


class Plan:
    """Collects the entries of one message, in the order in which they depend on each other."""

    def __init__(self, systems: Mapping[str, str]) -> None:
        self.systems = systems
        self._entries: dict[str, Entry] = {}

    @property
    def entries(self) -> list[Entry]:
        """What is to be written."""
        return list(self._entries.values())

    def add(
        self,
        type_: str,
        key: Identifier,
        elements: Json,
        *,
        mode: Mode = "update",
        identifiers: list[Identifier] | None = None,
        also: list[Identifier] | None = None,
        new: Json | None = None,
    ) -> Json:
        """Write a resource that `key` names; gives a Reference to it. `also` are other identifiers that it may have."""
        named = [key, *(item for item in identifiers or () if item != key)]
        resource = {"resourceType": type_, "identifier": [identifier(item, self.systems) for item in named]}
        by = list(dict.fromkeys(condition(item, self.systems) for item in [key, *(also or ())]))
        entry = Entry(by=by, resource=resource | elements, mode=mode, new=new or {})
        known = self._entries.get(entry.key)
        if known is None:
            self._entries[entry.key] = entry
        else:
            known.by = list(dict.fromkeys([*known.by, *by]))
            known.mode = max(known.mode, mode, key=RANK.index)
            known.resource = merged(known.resource, entry.resource)
        return {"reference": entry.url}
