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
        former: list[Identifier] | None = None,
        new: Json | None = None,
        retires: bool = False,
    ) -> Json:
        """Write a resource that `key` names; gives a Reference to it. `also` are other identifiers that it may have,
        `former` those that it had before: `key` has taken their place. `retires`: it is taken out of use."""
        named = [key, *(item for item in identifiers or () if item != key)]
        ours = [identifier(item, self.systems) for item in named]
        gone = [item for item in former or () if item not in named]
        before = [identifier(item, self.systems) | {"use": "old"} for item in gone]
        if before:
            ours[0]["use"] = "usual"
        by = list(
            dict.fromkeys(condition(item, self.systems) for item in [key, *(also or ()), *(former or ())])
        )
        resource = {"resourceType": type_, "identifier": ours} | elements
        entry = Entry(by=by, resource=resource, mode=mode, new=new or {}, former=before, retires=retires)
        known = self._entries.get(entry.key)
        if known is None:
            self._entries[entry.key] = entry
        else:
            known.by = list(dict.fromkeys([*known.by, *by]))
            known.former += before
            known.retires = known.retires or retires
            known.mode = max(known.mode, mode, key=RANK.index)
            known.resource = merged(known.resource, entry.resource)
        return {"reference": entry.url}
