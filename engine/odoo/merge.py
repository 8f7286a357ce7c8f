"""`merge`: two records are one person (HL7 A40 and its like); the survivor is `key`.

Design. After a merge every key, the survivor's and the retired ones, names the survivor's record, so that a
later message for an old number updates the survivor. Contacts go through Odoo's own merge
(`base.partner.merge.automatic.wizard`), which moves everything that refers to them; other models have none:
there the external id is moved and the retired record archived. A retired key is marked by one more external id
(`externalid.retired`), so that its deletion is none of the survivor.

Guarantees: doing it again changes nothing. After an unknown outcome the external ids are read anew before
anything is decided.

Refuses: to merge contacts that Odoo refuses (parent and child, contacts with several users).

| survivor | retired | done |
|---|---|---|
| known | unknown | the retired key becomes a second external id of the survivor |
| unknown | known | the survivor's key becomes a second external id of the retired record |
| known | the same record | nothing |
| known | another record | merged |
| unknown | unknown | nothing: there is no record |
| e-mails differ | | the retired contact gets the survivor's first: Odoo demands it |
| was retired before | | not any more: its mark goes, where the user may delete external ids |
| more than two retired | | at most two in a call: Odoo merges three contacts at a time |
"""

from __future__ import annotations

from typing import Any

from engine.odoo.acts import existing
from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.externalid import encode
from engine.odoo.externalid import retired as marked
from engine.odoo.index import Found, XidIndex
from engine.odoo.jobs import Job
from engine.odoo.loading import Loader
from engine.odoo.records import name_record
from engine.states import Result

CONTACT = "res.partner"
WIZARD = "base.partner.merge.automatic.wizard"


class Merger:
    """Merges for one connection and one module of external ids."""

    def __init__(self, client: OdooClient, index: XidIndex, module: str) -> None:
        self._client = client
        self._index = index
        self._module = module

    async def run(self, job: Job) -> None:
        """Run the head of `job`."""
        operation = job.head
        model = operation.model
        names = [f"{self._module}.{encode(model, key)}" for key in (operation.key, *operation.retired)]
        target, *retired = list(dict.fromkeys(names))
        marks = {name: marked(name) for name in (target, *retired)}
        records = await self._records(model, [*names, *marks.values()])
        there = {name for name, mark in marks.items() if records.pop(mark, None) is not None}
        if not records:
            job.done(model, None, {"result": "nothing to merge"})
            return
        said: list[dict[str, Any]] = []
        if target not in records:
            source = next(name for name in retired if name in records)
            await self._name(job, target, records[source], said)
            records[target] = records[source]
        survivor = records[target]
        others: dict[int, str] = {}  # two keys may name one record already: it is merged once
        for name in retired:
            if name not in records:
                await self._name(job, name, survivor, said)
            elif records[name].id != survivor.id:
                others[records[name].id] = name
        losers = list(others)
        if losers and model == CONTACT:
            await self._same_email({survivor.id: target, **others}, said)
            for start in range(0, len(losers), 2):
                await self._merge(job, survivor.id, losers[start : start + 2])
        elif losers:
            job.sent({"op": "merge", "model": model, "id": survivor.id, "retired": losers})
            await self._load(model, "active", dict.fromkeys(others.values(), "0"))
            moved = [name for name in retired if name in records and records[name].id in others]
            await self._move(job, survivor, moved)
        for name in retired:
            if name not in there:
                await self._name(job, marks[name], survivor, said)
        if target in there:
            await self._unmark(job, marks[target], said)
        self._index.forget([*names, *marks.values()])
        result = "merged" if losers else "alias" if said else "done already"
        job.done(model, survivor.id, {"id": survivor.id, "result": result, "retired": losers, "did": said})

    async def _records(self, model: str, names: list[str]) -> dict[str, Found]:
        """The records that exist, asked anew."""
        found = await self._index.resolve(self._client, names, fresh=True)
        if not self._index.readable:
            await existing(self._client, self._index, names[0])  # says that the right is missing
        ids = sorted({record.id for record in found.values()})
        there = await self._client.existing(model, ids)
        return {name: record for name, record in found.items() if record.id in there}

    async def _name(self, job: Job, xid: str, record: Found, said: list[dict[str, Any]]) -> None:
        job.sent({"op": "merge", "alias": xid, "id": record.id})
        await name_record(self._client, self._index, xid, record)
        said.append({"alias": xid, "id": record.id})

    async def _unmark(self, job: Job, mark: str, said: list[dict[str, Any]]) -> None:
        """The survivor was retired before. One that stays marked is only not archived by a deletion."""
        rows = await self._client.search_read("ir.model.data", self._named([mark]), ["id"])
        job.sent({"op": "merge", "unmark": mark})
        try:
            await self._client.call("ir.model.data", "unlink", [row["id"] for row in rows])
        except OdooError as error:
            if error.code != "odoo.access":
                raise
        said.append({"unmark": mark})

    async def _merge(self, job: Job, survivor: int, losers: list[int]) -> None:
        job.sent({"op": "merge", "model": CONTACT, "id": survivor, "retired": losers})
        values = {
            "state": "selection",
            "partner_ids": [[6, 0, [survivor, *losers]]],
            "dst_partner_id": survivor,
        }
        archived = {"active_test": False}  # else Odoo 16 overlooks archived contacts, and says nothing
        created = await self._client.call(WIZARD, "create", vals_list=[values], context=archived)
        try:
            await self._client.call(WIZARD, "action_merge", created, context=archived)
        except OdooError as error:
            # Odoo deletes the retired contacts when it merges.
            if error.result != Result.UNKNOWN or await self._client.existing(CONTACT, losers):
                raise

    async def _same_email(self, names: dict[int, str], said: list[dict[str, Any]]) -> None:
        """Odoo merges contacts of one e-mail only; the survivor's counts, or else the first that there is.

        `names` are external ids by record, the survivor's first.
        """
        rows = await self._client.read(CONTACT, list(names), ["email"])
        emails = {row["id"]: row["email"] or "" for row in rows}
        wanted = next((emails[number] for number in names if emails.get(number)), "")
        other = {number: email for number, email in emails.items() if email != wanted}
        said += [{"id": number, "email_before": email} for number, email in other.items()]
        if other:
            await self._load(CONTACT, "email", {names[number]: wanted for number in other})

    async def _load(self, model: str, column: str, cells: dict[str, str]) -> None:
        """Write one column of several records; raises the first error."""
        for verdict in await Loader(self._client, model, ("id", column)).load(list(cells.items())):
            if isinstance(verdict, OdooError):
                raise verdict

    async def _move(self, job: Job, survivor: Found, names: list[str]) -> None:
        """Let the retired external ids name the survivor."""
        rows = await self._client.search_read("ir.model.data", self._named(names), ["id"])
        job.sent({"op": "merge", "move": names, "id": survivor.id})
        await self._client.call(
            "ir.model.data", "write", [row["id"] for row in rows], vals={"res_id": survivor.id}
        )

    def _named(self, names: list[str]) -> list[Any]:
        return [["module", "=", self._module], ["name", "in", [name.partition(".")[2] for name in names]]]
