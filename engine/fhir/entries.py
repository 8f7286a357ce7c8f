"""What is to be written to a FHIR server: one resource, how it is found, and how it is joined with what is there.

Guarantee: only what is said is written: an element that a resource does not name stays as the server has it, one that
is None is taken away; the name of an entry is a function of its type and its first search; what takes a resource out
of use (`retires`) leaves one that has that identifier only from before (`use: old`) as it is.

| mode | there already | not there |
|------|---------------|-----------|
| update | the elements that are said are written | made |
| ensure | left as it is | made |
| existing | the elements that are said are written | nothing |
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import unquote

import msgspec

NAMESPACE = uuid.UUID("0a4f6f0e-52b4-5d0c-8f61-6d2f5b7d9f10")
DEEP = ("period", "hospitalization", "actualPeriod", "admission")
"""Objects that are written part by part; any other object and every list is written as a whole."""
CHOICES = (("deceasedBoolean", "deceasedDateTime"), ("multipleBirthBoolean", "multipleBirthInteger"))
"""Elements of one choice: `true` says less than what is there already."""
Mode = Literal["update", "ensure", "existing"]
RANK = ("existing", "ensure", "update")
OPS = {"update": "upsert", "ensure": "ensure", "existing": "write"}
"""What people read of a mode: the words of Odoo operations."""


class Entry(msgspec.Struct, omit_defaults=True):
    """One resource. In `resource` None takes an element away; `new` is what only a new one needs."""

    by: list[str]  # searches, the first that finds one decides; the first one names it
    resource: dict[str, Any]
    mode: Mode = "update"
    new: dict[str, Any] = {}
    former: list[dict[str, Any]] = []  # identifiers of before: of one that has them, or is made
    retires: bool = False  # it is taken out of use

    @property
    def type(self) -> str:
        """The type of the resource."""
        return str(self.resource["resourceType"])

    @property
    def key(self) -> str:
        """`Patient?identifier=…`."""
        return f"{self.type}?{self.by[0]}"

    @property
    def search(self) -> str:
        """The key as people read it, and as others refer to what is not there yet."""
        return f"{self.type}?{unquote(self.by[0])}"

    @property
    def told(self) -> tuple[str, str, str]:
        """What people read of it: `("upsert", "Patient", "urn:mrn|1")`."""
        return OPS[self.mode], self.type, self.search.partition("=")[2]

    def after(self, current: Mapping[str, Any] | None) -> dict[str, Any]:
        """What is said of what is there, or of what is made, its identifiers of before included."""
        had = {_same(one) for one in (current or {}).get("identifier") or ()}
        former = [one for one in self.former if current is None or _same(one) in had]
        return merged(self.resource, {"identifier": former}) if former else self.resource

    def spares(self, current: Mapping[str, Any]) -> bool:
        """Whether what is there goes on under another identifier, and is not taken out of use by this one."""
        former = (one for one in current.get("identifier") or () if one.get("use") == "old")
        wanted = unquote(self.by[0])
        return self.retires and any(
            wanted == f"identifier={one.get('system')}|{one.get('value')}" for one in former
        )

    @property
    def named(self) -> bool:
        """Whether others only refer to it: nothing is written."""
        return self.mode == "existing" and len(self.resource) == 1

    @property
    def url(self) -> str:
        """What others in the message call it."""
        return f"urn:uuid:{uuid.uuid5(NAMESPACE, self.key)}"


def operations(entries: list[Entry]) -> list[dict[str, Any]]:
    """The entries as people read them, in the form of Odoo operations; what only is referred to is left out.

    `values` are the elements, with references by the search of what they name; `new`: what only a new one gets.
    """
    names = {entry.url: entry.search for entry in entries}
    made = []
    for entry in entries:
        if entry.named:
            continue
        op, model, key = entry.told
        values = {name: value for name, value in entry.after(None).items() if name != "resourceType"}
        told: dict[str, Any] = {"op": op, "model": model, "key": key, "values": _pointing(values, names)}
        if new := {name: value for name, value in entry.new.items() if name not in values}:
            told["new"] = new
        made.append(told)
    return made


def _pointing(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _pointing(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [_pointing(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the elements of `new` in it. Identifiers and links that `old` has besides stay."""
    made = dict(old)
    for name, value in new.items():
        if name in ("identifier", "link", "extension") and isinstance(value, list):
            value = _joined(old.get(name), value)
        elif name in DEEP and isinstance(value, dict) and isinstance(old.get(name), dict):
            value = merged(old[name], value)
        made[name] = value
    for whether, more in CHOICES:  # only one of them may stand there
        if made.get(whether) is True and made.get(more) is not None:
            del made[whether]
    return made


def _joined(old: Any, new: list[Any]) -> list[Any]:
    """The items of both, in the order of `old`; what is in both is one, with the elements of both."""
    kept = list(old) if isinstance(old, list) else []
    places = {_same(item): place for place, item in enumerate(kept)}
    for item in new:
        place = places.get(_same(item))
        if place is None:
            kept.append(item)
        else:
            kept[place] = {**kept[place], **item} if isinstance(kept[place], dict) else item
    return kept


def said(resource: Mapping[str, Any]) -> dict[str, Any]:
    """A resource without what is taken away."""
    made = {}
    for name, value in resource.items():
        if name in DEEP and isinstance(value, dict):
            value = {key: part for key, part in value.items() if part is not None}
        elif name == "extension" and isinstance(value, list):
            value = [
                item for item in value if not (isinstance(item, dict) and item.get("extension", 1) is None)
            ]
        if value not in (None, {}, []):
            made[name] = value
    return made


def _same(item: Any) -> Any:
    """By what an item of a list is known again."""
    if not isinstance(item, Mapping):
        return repr(item)
    if "url" in item:
        return item["url"]
    if "other" in item:
        return item["other"].get("reference"), item.get("type")  # of Patient.link
    return item.get("system"), item.get("value")
