"""The SQLite file behind the sandbox: tables made of the declarations, seed data, transactions.

Guarantees: one request is one transaction; a write takes the lock at its start, so that nothing read in it is
stale; a commit is durable (WAL, synchronous FULL) and a killed process leaves the last commit. Several
processes may open the same file. Refuses: a file that another version flavour made.

| failure | what happens |
|---|---|
| another process writes for more than `BUSY` seconds | ConcurrencyFault, as Odoo's serialization failure |
| killed before the commit | SQLite rolls back at the next opening |
| killed while the file is first made | the seed is one transaction: all or nothing |
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from engine.odoo.sandbox.faults import ConcurrencyFault
from engine.odoo.sandbox.geography import LANGUAGES, countries, states
from engine.odoo.sandbox.schema import SQL_TYPES, Model

BUSY = 5.0
FORMAT = "1"
ADMIN, ENGINE_16, ENGINE_19 = 2, 6, 5
_MISMATCH = "this sandbox file was made for Odoo {}; open it with that version or use another file"


class Database:
    """One connection. `path` may be ":memory:"."""

    def __init__(
        self, path: Path | str, models: dict[str, Model], version: str, now: str, login: str
    ) -> None:
        self.models = models
        if str(path) != ":memory:":
            Path(path).touch(mode=0o600)  # patients are in it: nobody else reads it, nor its WAL
        self.connection = sqlite3.connect(
            path, timeout=BUSY, isolation_level=None, cached_statements=1024, check_same_thread=False
        )
        run = self.connection.execute
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA case_sensitive_like=ON")
        self.connection.create_function("fold", 1, _fold, deterministic=True)
        self._found: set[tuple[str, int]] = set()
        with self.transaction(write=True):
            run("CREATE TABLE IF NOT EXISTS sandbox (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
            made = dict(run("SELECT name, value FROM sandbox").fetchall())
            self._create()  # also what a file of before does not have
            if not made:
                self._seed(now, login)
            self._complete(now)
            if not made:
                run("INSERT INTO sandbox VALUES ('version', ?), ('format', ?)", (version, FORMAT))
        if made and made["version"] != version:
            self.close()
            raise ValueError(_MISMATCH.format(made["version"]))

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    @contextlib.contextmanager
    def transaction(self, write: bool) -> Iterator[None]:
        """All or nothing."""
        run = self.connection.execute
        self._found = set()
        try:
            run("BEGIN IMMEDIATE" if write else "BEGIN")
        except sqlite3.OperationalError:
            raise ConcurrencyFault from None
        try:
            yield
        except BaseException:
            run("ROLLBACK")
            raise
        try:
            run("COMMIT")
        except sqlite3.OperationalError:
            run("ROLLBACK")
            raise ConcurrencyFault from None

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what the block did when it raises."""
        run = self.connection.execute
        run("SAVEPOINT part")
        try:
            yield
        except BaseException:
            self._found = set()
            run("ROLLBACK TO part")
            run("RELEASE part")
            raise
        run("RELEASE part")

    def rows(self, sql: str, values: Iterable[Any] = ()) -> list[Any]:
        """All rows of a query."""
        return self.connection.execute(sql, tuple(values)).fetchall()

    def run(self, sql: str, values: Iterable[Any] = ()) -> int:
        """Run a statement; gives the id of an inserted row."""
        return self.connection.execute(sql, tuple(values)).lastrowid or 0

    def many(self, sql: str, values: Iterable[Iterable[Any]]) -> None:
        """Run a statement for many rows."""
        self.connection.executemany(sql, (tuple(row) for row in values))

    def exists(self, model: Model, record: int) -> bool:
        """Is there such a record (remembered within the transaction)."""
        if (model.name, record) in self._found:
            return True
        found = bool(self.rows(f"SELECT 1 FROM {model.table} WHERE id = ?", (record,)))
        if found:
            self._found.add((model.name, record))
        return found

    def forget(self) -> None:
        """Records were deleted: look again."""
        self._found = set()

    def _create(self) -> None:
        run = self.connection.execute
        for model in self.models.values():
            columns = [
                f"{item.column} {SQL_TYPES.get(item.type, 'TEXT')}"
                for item in model.fields.values()
                if item.stored and item.name != "id"
            ]
            columns += [f"UNIQUE ({', '.join(names)})" for names in model.unique]
            run(
                f"CREATE TABLE IF NOT EXISTS {model.table} (id INTEGER PRIMARY KEY AUTOINCREMENT, {', '.join(columns)})"
            )
            for item in model.fields.values():
                if item.indexed:
                    name = f'"{model.name.replace(".", "_")}_{item.name}_index"'
                    run(f"CREATE INDEX IF NOT EXISTS {name} ON {model.table} ({item.column})")
                if item.type == "many2many":
                    table = model.relation_table(item.name)
                    run(
                        f"CREATE TABLE IF NOT EXISTS {table} (a INTEGER, b INTEGER, PRIMARY KEY (a, b)) WITHOUT ROWID"
                    )
                    run(f'CREATE INDEX IF NOT EXISTS {table[:-1]}_b" ON {table} (b)')
        run("CREATE INDEX IF NOT EXISTS ir_model_data_record ON ir_model_data (model, res_id)")

    def _put(self, now: str, model: str, xml_id: str = "", /, **values: Any) -> int:
        names = [*values, "create_uid", "create_date", "write_uid", "write_date"]
        record = self.run(
            f"INSERT INTO {self.models[model].table} ({', '.join(names)}) VALUES ({','.join('?' * len(names))})",
            (*values.values(), 1, now, 1, now),
        )
        if xml_id:
            self._put(
                now, "ir.model.data", module="base", name=xml_id, model=model, res_id=record, noupdate=1
            )
        return record

    def _seed(self, now: str, login: str) -> None:
        put = partial(self._put, now)
        for code, name in LANGUAGES:
            active = int(code == "en_US")
            put(
                "res.lang",
                f"lang_{code.split('_')[0]}" if active else "",
                name=name,
                code=code,
                active=active,
            )
        place = {code: put("res.country", xml, name=name, code=code) for xml, code, name in countries()}
        for country, xml, code, name in states():
            put("res.country.state", xml, country_id=place[country], name=name, code=code)
        person: dict[str, Any] = {"active": 1, "lang": "en_US", "tz": "UTC", "type": "contact"}
        put("res.partner", "main_partner", name="My Company", is_company=1, **person)
        robot = put("res.partner", "partner_root", name="OdooBot", **{**person, "active": 0})
        admin = put("res.partner", "partner_admin", name="Administrator", email="admin@example.com", **person)
        engine = put("res.partner", name="HL7 engine", email="engine@example.com", **person)
        put("res.users", "user_root", id=1, partner_id=robot, login="__system__", active=0)
        put("res.users", "user_admin", id=ADMIN, partner_id=admin, login=login, active=1)
        for user in (ENGINE_19, ENGINE_16):
            put("res.users", id=user, partner_id=engine, login=f"{login}-{user}", active=1)

    def _complete(self, now: str) -> None:
        """What a file of before does not have: models that were declared since, and accounting."""
        put = partial(self._put, now)
        if not self.rows("SELECT 1 FROM res_currency LIMIT 1"):
            for name, symbol, active in (("USD", "$", 1), ("EUR", "€", 0), ("GBP", "£", 0)):
                put("res.currency", name, name=name, symbol=symbol, active=active)
            put("account.journal", name="Sales", code="INV", type="sale", active=1)
            put("account.journal", name="Miscellaneous Operations", code="MISC", type="general", active=1)
        known = {name for (name,) in self.rows("SELECT model FROM ir_model")}
        for model in self.models.values():
            if model.name in known:
                continue
            record = put("ir.model", name=model.description, model=model.name)
            for item in model.fields.values():
                put(
                    "ir.model.fields",
                    name=item.name,
                    model=model.name,
                    model_id=record,
                    field_description=item.string,
                    ttype=item.type,
                    relation=item.relation or None,
                )


def _fold(text: Any) -> Any:
    return text.casefold() if isinstance(text, str) else text
