"""Rows into Odoo by `load()`, however bad one of them is.

Design. `load()` writes all rows of a call or none, and names the bad ones. So the named rows are taken out
and the rest is sent again; where nothing is named, the call is halved until the bad row stands alone. Sending
a row twice is safe: its external id makes it the same record. That is why an unknown outcome is answered by
sending the same rows again, unchanged.

Guarantees: every row gets exactly one verdict, the id of its record or an `OdooError`; no row is twice in a
call; a bad row costs no good row its write.

| failure | done |
|---|---|
| messages name rows | with `field`: bad; without: sent once more, alone; the rest goes again |
| "could not serialize" | the rest goes again; these rows are RETRY |
| messages or a permanent error without a row | halved, down to one row |
| connection lost before the answer | the same once more; again: halved; more than LOSSES in all: UNKNOWN |
| refused, timeout, database down, key, right | all rows get that error: halving would not help |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError, row_error
from engine.states import Result

Row = tuple[str, ...]
Verdict = int | OdooError
LOSSES = 12  # enough to corner one deadly row in 200
LARGEST = 200


class Loader:
    """One `load` of rows with the same model and columns."""

    def __init__(self, client: OdooClient, model: str, columns: Sequence[str], limit: int = LARGEST) -> None:
        self._client = client
        self._model = model
        self._columns = list(columns)
        self._limit = max(1, min(limit, LARGEST))
        self._losses = 0
        self._verdicts: dict[int, Verdict] = {}
        self._rows: list[Row] = []

    async def load(self, rows: Sequence[Row]) -> list[Verdict]:
        """A verdict for each row, in order."""
        self._rows = list(rows)
        for start in range(0, len(rows), self._limit):
            await self._send(list(range(start, min(start + self._limit, len(rows)))))
        return [self._verdicts[number] for number in range(len(rows))]

    async def _send(self, numbers: list[int], again: bool = False) -> None:
        """Load these rows; `again` marks a row that is sent once more alone."""
        while numbers:
            try:
                answer = await self._client.load(self._model, self._columns, [self._rows[n] for n in numbers])
            except OdooError as error:
                await self._failed(numbers, error)
                return
            ids = answer.get("ids")
            if isinstance(ids, list):
                self._take(numbers, ids)
                return
            bad, unsure = self._named(numbers, answer.get("messages") or [], again)
            if not bad and not unsure:
                await self._unnamed(numbers, answer.get("messages") or [])
                return
            self._verdicts.update(bad)
            numbers = [number for number in numbers if number not in bad and number not in unsure]
            if numbers:
                await self._send(numbers)
            for number in unsure:
                await self._send([number], again=True)
            return

    def _take(self, numbers: list[int], ids: list[Any]) -> None:
        if len(ids) != len(numbers):
            return self._all(numbers, _miscounted(self._model))
        for number, found in zip(numbers, ids, strict=True):
            self._verdicts[number] = int(found) if found else _miscounted(self._model)
        return None

    def _all(self, numbers: list[int], error: OdooError) -> None:
        for number in numbers:
            self._verdicts[number] = error

    def _named(
        self, numbers: list[int], messages: list[dict[str, Any]], again: bool
    ) -> tuple[dict[int, Verdict], list[int]]:
        """The bad rows, and those to send once more alone; the first message of a row counts."""
        bad: dict[int, Verdict] = {}
        unsure: list[int] = []
        for message in messages:
            record = message.get("record")
            if message.get("type") == "warning" or not isinstance(record, int):
                continue
            if not 0 <= record < len(numbers):
                continue
            number = numbers[record]
            if number in bad or number in unsure:
                continue
            error = row_error(message, self._model, self._rows[number])
            # Without a field it may be the database's message for two writers, in another language.
            if message.get("field") or error.result == Result.RETRY or again:
                bad[number] = error
            else:
                unsure.append(number)
        return bad, unsure

    async def _unnamed(self, numbers: list[int], messages: list[dict[str, Any]]) -> None:
        values = [value for number in numbers for value in self._rows[number]]
        errors = [row_error(message, self._model, values) for message in messages]
        retry = next((error for error in errors if error.result == Result.RETRY), None)
        if retry is not None or len(numbers) == 1:
            self._all(numbers, retry or (errors[0] if errors else _miscounted(self._model)))
        else:
            await self._halve(numbers)

    async def _failed(self, numbers: list[int], error: OdooError) -> None:
        if error.code == "odoo.disconnected":
            self._losses += 1
            if self._losses > LOSSES:
                self._all(numbers, error)
            elif self._losses == 1:
                await self._send(numbers)
            elif len(numbers) == 1:
                self._all(numbers, error)
            else:
                await self._halve(numbers)
        elif error.result != Result.PERMANENT or error.code == "odoo.unknown_field" or len(numbers) == 1:
            self._all(numbers, error)
        else:
            await self._halve(numbers)

    async def _halve(self, numbers: list[int]) -> None:
        middle = len(numbers) // 2
        await self._send(numbers[:middle])
        await self._send(numbers[middle:])


def _miscounted(model: str) -> OdooError:
    return OdooError(
        "Odoo answered load() without saying what became of a row",
        result=Result.UNKNOWN,
        code="odoo.answer",
        where=model,
        todo="it is sent again unchanged",
    )
