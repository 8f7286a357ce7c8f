"""Which record an external id names: `ir.model.data`, asked in batches and kept for a while.

Guarantees: an id that is not known is asked again every time (only hits are kept); a record that turns out to
be gone is forgotten. Where the user may not read `ir.model.data`, `readable` is False for a while and every lookup
gives nothing: records are then loaded without a comparison.

Refuses: to keep a hit longer than TTL, because somebody in Odoo may merge or delete the record.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError

TTL = 300.0  # seconds
LARGEST = 50_000
CHUNK = 500


@dataclass(frozen=True, slots=True)
class Found:
    """The record that an external id names."""

    model: str
    id: int


class XidIndex:
    """External ids ("module.name") of one connection. `seconds` is a clock's."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._known: OrderedDict[str, tuple[float, Found]] = OrderedDict()
        self._refused_until = float("-inf")

    @property
    def readable(self) -> bool:
        """Whether the user may read external ids; after a refusal it is tried again every TTL seconds."""
        return self._seconds() >= self._refused_until

    async def resolve(self, client: OdooClient, xids: Iterable[str], fresh: bool = False) -> dict[str, Found]:
        """The records of those `xids` that Odoo knows; `fresh` asks for all of them."""
        wanted = dict.fromkeys(xids)
        now = self._seconds()
        found: dict[str, Found] = {}
        for xid in wanted:
            known = self._known.get(xid)
            if known is not None and not fresh and now - known[0] < TTL:
                found[xid] = known[1]
            else:
                self._known.pop(xid, None)
        modules: dict[str, list[str]] = {}
        for xid in wanted:
            if xid not in found:
                module, _, name = xid.partition(".")
                modules.setdefault(module, []).append(name)
        for module, names in modules.items():
            for start in range(0, len(names), CHUNK):
                for name, record in await self._ask(client, module, names[start : start + CHUNK]):
                    found[f"{module}.{name}"] = record
                    self.learn(f"{module}.{name}", record)
        return found

    async def _ask(self, client: OdooClient, module: str, names: list[str]) -> list[tuple[str, Found]]:
        if not self.readable:
            return []
        domain = [["module", "=", module], ["name", "in", names]]
        try:
            rows = await client.search_read("ir.model.data", domain, ["name", "model", "res_id"])
        except OdooError as error:
            if error.code != "odoo.access":
                raise
            self._refused_until = self._seconds() + TTL
            return []
        return [(row["name"], Found(row["model"], row["res_id"])) for row in rows if row["res_id"]]

    def learn(self, xid: str, record: Found) -> None:
        """Keep a hit."""
        self._known[xid] = (self._seconds(), record)
        self._known.move_to_end(xid)
        if len(self._known) > LARGEST:
            self._known.popitem(last=False)

    def forget(self, xids: Iterable[str]) -> None:
        """Ask for these again."""
        for xid in xids:
            self._known.pop(xid, None)
