"""References in the values of operations: which records they mean, and the cells that say so.

Guarantees: all references of a batch are looked up together (external ids in one question for each module,
`find` in one for each model and column where it can be); a reference that means no record or more than one
is an error that names the field, never a guess.

Refuses: a reference that is neither `{"key"}`, `{"xml_id"}` nor `{"find"}`.

| reference | means no record | means several |
|---|---|---|
| key | waits if another delivery of the batch makes it, else PERMANENT `odoo.reference` | cannot be |
| xml_id | PERMANENT `odoo.reference` | cannot be |
| find, otherwise "error" (default) | PERMANENT `odoo.reference` | PERMANENT `odoo.ambiguous` |
| find, otherwise "leave" | the field is left alone | the field is left alone |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from engine.model import Operation
from engine.odoo.client import Fields, OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.externalid import encode
from engine.odoo.index import Found, XidIndex
from engine.odoo.values import RELATIONS, cell, refuse, same
from engine.states import Result

FIND_TTL = 3600.0
MISS_TTL = 60.0  # a country is not invented every hour, but somebody may be adding the missing one now
Find = tuple[str, tuple[tuple[str, Any], ...]]


class Waiting(Exception):
    """A reference by key to a record that is not there (yet)."""

    def __init__(self, model: str, key: str, where: str) -> None:
        super().__init__("reference to a record that does not exist")
        self.model = model
        self.key = key
        self.where = where


class Cell(NamedTuple):
    """One column of one row. `ids` are the database ids of a reference, None when they are not known."""

    field: str
    column: str
    text: str
    ids: frozenset[int] | None = None
    used: tuple[Any, ...] = ()  # external ids and finds, to forget when Odoo does not know them any more

    def unchanged(self, info: dict[str, Any], current: Any) -> bool:
        """Whether Odoo has this already; `current` is as `read` gives it."""
        if info.get("type") not in RELATIONS:
            return same(info, self.text, current)
        if self.ids is None:
            return False
        if info["type"] == "many2one":
            current = [current[0]] if current else []
        return self.ids == frozenset(current or ())


# As Cell(...), without a call of Python's.
_cell: Callable[[type[Cell], tuple[Any, ...]], Cell] = tuple.__new__


class Lookups:
    """`{"find": ...}`: searched on the relation's model, kept for an hour. `seconds` is a clock's."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._known: dict[Find, tuple[float, list[int]]] = {}

    async def resolve(self, client: OdooClient, finds: set[Find]) -> dict[Find, list[int]]:
        """Up to two ids for each."""
        now = self._seconds()
        for known in [known for known, (until, _) in self._known.items() if until < now]:
            del self._known[known]
        single: dict[tuple[str, str], list[Find]] = {}
        for find in finds - self._known.keys():
            model, terms = find
            if len(terms) == 1 and "." not in terms[0][0]:
                single.setdefault((model, terms[0][0]), []).append(find)
            else:
                domain = [[name, "=", value] for name, value in terms]
                rows = await client.search_read(model, domain, ["id"], limit=2)
                self._learn(find, [row["id"] for row in rows])
        for (model, name), asked in single.items():
            values = [find[1][0][1] for find in asked]
            rows = await client.search_read(model, [[name, "in", values]], [name])
            for find, value in zip(asked, values, strict=True):
                self._learn(find, [row["id"] for row in rows if _plain(row[name]) == value])
        return {find: self._known[find][1] for find in finds}

    def _learn(self, find: Find, ids: list[int]) -> None:
        self._known[find] = (self._seconds() + (FIND_TTL if ids else MISS_TTL), ids)

    def forget(self, find: Find) -> None:
        """Search it again."""
        self._known.pop(find, None)


def _plain(value: Any) -> Any:
    return value[0] if isinstance(value, list) else value


def references(value: Any) -> Iterator[dict[str, Any]]:
    """The references in a value."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from references(item)


def find_of(relation: str, reference: dict[str, Any]) -> Find | None:
    """The search that a `find` asks for; None when one of its values is empty: nothing to look for."""
    terms = reference["find"]
    if not isinstance(terms, dict) or not terms or any(value in ("", None) for value in terms.values()):
        return None
    return relation, tuple(sorted(terms.items()))


class Resolver:
    """The references of one batch, looked up once."""

    def __init__(self, client: OdooClient, index: XidIndex, lookups: Lookups, module: str) -> None:
        self._client = client
        self._index = index
        self._lookups = lookups
        self._module = module
        self._found: dict[str, Found] = {}
        self._finds: dict[Find, list[int]] = {}
        self.planned: set[str] = set()  # external ids that a plan would make

    def xid(self, model: str, key: str) -> str:
        """The external id of a record that Isthmus makes."""
        return f"{self._module}.{encode(model, key)}"

    async def learn(self, model: str, fields: Fields, values: list[dict[str, Any]]) -> None:
        """Look up what the values of several operations on one model refer to."""
        xids: list[str] = []
        finds: set[Find] = set()
        related = {name: info for name, info in fields.items() if info["type"] in RELATIONS}
        for row in values:
            if related.keys().isdisjoint(row):
                continue
            for name, value in row.items():
                info = related.get(name)
                if info is None:
                    continue
                for reference in references(value):
                    with suppress(OdooError):  # a malformed one: `cells` says so of its own operation
                        xid = self._xid_of(info["relation"], reference, f"{model}.{name}")
                        if xid:
                            xids.append(xid)
                        elif find := find_of(info["relation"], reference):
                            finds.add(find)
        self._found |= await self._index.resolve(self._client, xids)
        self._finds |= await self._lookups.resolve(self._client, finds)

    def _xid_of(self, relation: str, reference: dict[str, Any], where: str) -> str:
        """The external id that a reference names, or "" for a find."""
        names = reference.keys() - {"otherwise"}
        if names == {"key"}:
            return self.xid(relation, str(reference["key"]))
        if names == {"xml_id"} and "." in str(reference["xml_id"]):
            return str(reference["xml_id"])
        if names == {"find"}:
            return ""
        raise refuse(where, "a reference is {key: ...}, {xml_id: module.name} or {find: {field: value}}")

    def cells(self, operation: Operation, fields: Fields) -> list[Cell]:
        """The columns of an operation; raises Waiting or OdooError."""
        made: list[Cell] = []
        for name, value in operation.values.items():
            info = fields.get(name)
            if info is not None and info["type"] == "char" and type(value) is str:  # most are
                made.append(_cell(Cell, (name, name, value, None, ())))
                continue
            where = f"{operation.model}.{name}"
            if info is None:
                raise OdooError(
                    "Odoo has no such field", result=Result.PERMANENT, code="odoo.unknown_field", where=where
                )
            kind = info["type"]
            if kind == "one2many":
                raise refuse(where, "lines are operations of their own, with a reference to the parent")
            if kind not in RELATIONS:
                made.append(Cell(name, name, cell(info, value, where)))
            elif (found := self._reference(name, info, value, where)) is not None:
                made.append(found)
        return made

    def _reference(self, name: str, info: dict[str, Any], value: Any, where: str) -> Cell | None:
        if value is None or value in ("", []):
            return Cell(name, f"{name}/id", "", frozenset())
        items = value if isinstance(value, (list, tuple)) else [value]
        if info["type"] == "many2one" and len(items) > 1:
            raise refuse(where, "a list of references in a field that takes one")
        xids: list[str] = []
        ids: list[int | None] = []
        used: list[Any] = []
        for item in items:
            if isinstance(item, int) and not isinstance(item, bool):
                ids.append(item)
                continue
            if not isinstance(item, dict):
                raise refuse(where, "text is no reference: write {find: {name: ...}}")
            xid = self._xid_of(info["relation"], item, where)
            if xid:
                ids.append(self._by_xid(info["relation"], item, xid, where))
                xids.append(xid)
                used.append(xid)
            else:
                found = self._by_find(info["relation"], item, where)
                if found is None and info["type"] == "many2one":
                    return None
                if found is not None:
                    ids.append(found)
                    used.append(find_of(info["relation"], item))
        known = [number for number in ids if number is not None]
        whole = frozenset(known) if len(known) == len(ids) else None
        if len(xids) == len(items):
            return Cell(name, f"{name}/id", ",".join(dict.fromkeys(xids)), whole, tuple(used))
        if not ids:
            return None  # every `find` of a many2many left it alone
        if whole is None:
            raise OdooError(
                "external ids cannot be read, so this mix of references cannot be sent",
                result=Result.CONFIG,
                code="odoo.access",
                where=where,
            )
        return Cell(name, f"{name}/.id", ",".join(map(str, dict.fromkeys(known))), whole, tuple(used))

    def _by_xid(self, relation: str, item: dict[str, Any], xid: str, where: str) -> int | None:
        found = self._found.get(xid)
        if found is not None and found.model == relation:
            return found.id
        if not self._index.readable or xid in self.planned:
            return None
        if "key" in item and found is None:
            raise Waiting(relation, str(item["key"]), where)
        raise OdooError(
            "the reference names a record that Odoo does not have",
            result=Result.PERMANENT,
            code="odoo.reference",
            where=where,
            todo="install the module that brings it, or correct the xml_id",
        )

    def _by_find(self, relation: str, item: dict[str, Any], where: str) -> int | None:
        find = find_of(relation, item)
        ids = self._finds.get(find, []) if find else []
        if len(ids) == 1:
            return ids[0]
        if find is None or item.get("otherwise") == "leave":
            return None
        self._lookups.forget(find)  # it is mended in Odoo and resent at once
        raise OdooError(
            "a search for the referenced record finds several" if ids else "no record matches the reference",
            result=Result.PERMANENT,
            code="odoo.ambiguous" if ids else "odoo.reference",
            where=where,
            todo=f"correct the value, add the record to {relation}, or set `otherwise: leave`",
        )
