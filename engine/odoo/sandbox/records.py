"""The generic engine: create, write, read, search, delete records of any declared model.

Guarantees: what Odoo 16 and 19 do for the declared fields, inside the caller's transaction; hooks of a model
(`hooks.py`) see values before they are stored and records afterwards. SQL holds declared names only, values
are parameters. Refuses: fields that are not declared, with the error of the version.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from engine.odoo.sandbox.dangling import read_early, refused
from engine.odoo.sandbox.database import Database
from engine.odoo.sandbox.domain import Compiler
from engine.odoo.sandbox.faults import AccessFault, Crash, DatabaseFault, Fault, MissingFault
from engine.odoo.sandbox.schema import MANY, Field, Model
from engine.odoo.sandbox.values import from_column, sanitize, timezones, to_column

VERBS = {"read": "access", "write": "modify", "create": "create", "unlink": "delete"}
_REFUSED = (
    "You are not allowed to {} '{}' ({}) records.\n\nThis operation is allowed for the following groups:\n"
    "\t- {}\n\nContact your administrator to request access if necessary."
)
_NOT_NULL = (
    "Missing required value for the field '{}' ({}).\nModel: '{}' ({})\n- create/update: a mandatory field is "
    "not set\n- delete: another model requires the record being deleted, you can archive it instead\n"
)
_NOT_NULL_16 = (
    "\n- Create/update: a mandatory field is not set.\n- Delete: another model requires the record being deleted."
    " If possible, archive it instead.\n\nModel: {} ({})\nField: {} ({})\n"
)


class Records:
    """What one request may touch: the database as one user, with one context and one time."""

    def __init__(
        self, db: Database, major: int, uid: int, admin: bool, now: str, context: dict[str, Any]
    ) -> None:
        self.db = db
        self.models = db.models
        self.major = major
        self.uid = uid
        self.admin = admin
        self.now = now
        self.context = context
        self._langs: tuple[tuple[str, str], ...] | None = None

    def with_context(self, **more: Any) -> Records:
        """The same with another context."""
        twin = Records(self.db, self.major, self.uid, self.admin, self.now, {**self.context, **more})
        twin._langs = self._langs
        return twin

    def model(self, name: str) -> Model:
        """A declared model."""
        return self.models[name]

    def field(self, model: Model, name: str, why: str = "on") -> Field:
        """A declared field, or the version's error."""
        found = model.fields.get(name)
        if found is None:
            where = why if self.major >= 19 else "on model"
            raise Crash("builtins.ValueError", f"Invalid field {name!r} {where} {model.name!r}")
        return found

    def selection(self, field: Field) -> tuple[tuple[str, str], ...]:
        """The choices of a selection field now."""
        if field.dynamic == "lang":
            if self._langs is None:
                rows = self.db.rows("SELECT code, name FROM res_lang WHERE active = 1 ORDER BY name")
                self._langs = tuple((code, name) for code, name in rows)
            return self._langs
        return timezones() if field.dynamic == "tz" else field.selection

    def allow(self, model: Model, verb: str) -> None:
        """Raise AccessFault unless the user may."""
        if not self.admin and verb in model.groups:
            raise AccessFault(_REFUSED.format(VERBS[verb], model.description, model.name, model.groups[verb]))

    def existing(self, model: Model, ids: Iterable[int]) -> list[int]:
        """The ids of which a record is there, in their order."""
        return [record for record in ids if isinstance(record, int) and self.db.exists(model, record)]

    def require(self, model: Model, ids: Sequence[int]) -> None:
        """Raise MissingFault unless all records are there."""
        missing = [record for record in ids if not self.db.exists(model, record)]
        if missing:
            raise self.missing(model, missing)

    def missing(self, model: Model, ids: Sequence[int]) -> MissingFault:
        """The error for records that are not there."""
        shown = f"{model.name}({', '.join(map(str, ids))},)"
        return MissingFault(
            f"Record does not exist or has been deleted.\n(Record: {shown}, User: {self.uid})"
        )

    # --- writing

    def columns(self, model: Model, vals: dict[str, Any], creating: bool) -> dict[str, Any]:
        """The stored columns for `vals`; many2many and one2many are left out."""
        found: dict[str, Any] = {}
        for name, value in vals.items():
            field = self.field(model, name, "in")
            if not field.stored or name in ("id", "create_date", "create_uid", "write_date", "write_uid"):
                continue
            if field.type == "html":
                column = sanitize(str(value), self.major >= 19) if value else ("" if value == "" else None)
            else:
                column = to_column(model.name, field, value, self.selection(field))
            if field.type == "many2one" and creating and isinstance(value, str) and value:
                raise Crash(
                    "psycopg2.errors.InvalidTextRepresentation",
                    f'invalid input syntax for type integer: "{value}"\n',
                )
            found[name] = column
        return found

    def check(self, model: Model, columns: dict[str, Any], creating: bool) -> None:
        """NOT NULL and foreign keys, as PostgreSQL would refuse them."""
        for field in model.fields.values():
            name = field.name
            if not field.stored or (name not in columns and not creating):
                continue
            value = columns.get(name)
            if field.required and value is None:
                raise DatabaseFault(
                    _NOT_NULL.format(field.string, name, model.description, model.name),
                    field=name,
                    load16=f"Missing required value for the field '{field.string}' ({name})",
                    api16=_NOT_NULL_16.format(model.description, model.name, field.string, name),
                )
            if field.type == "many2one" and value is not None:
                target = self.models[field.relation]
                if not self.db.exists(target, value):
                    raise self.dangling(model, field, value, creating)

    def dangling(self, model: Model, field: Field, value: Any, creating: bool) -> Fault:
        """The error for a reference to a record that is not there."""
        if read_early(model, field, self.major, creating):
            return self.missing(self.models[field.relation], [value])
        return refused(model, field)

    def insert(self, model: Model, columns: dict[str, Any]) -> int:
        """Store a new record; its defaults are in `columns` already."""
        self.check(model, columns, creating=True)
        self._unique(model, columns)
        full = {**columns, **self._trace("create"), **self._trace("write")}
        names = ", ".join(f'"{name}"' for name in full)
        marks = ",".join("?" * len(full))
        return self.db.run(f"INSERT INTO {model.table} ({names}) VALUES ({marks})", full.values())

    def update(self, model: Model, ids: Sequence[int], columns: dict[str, Any]) -> None:
        """Store changed columns of records."""
        self.check(model, columns, creating=False)
        for record in ids:
            self._unique(model, columns, record)
        full = {**columns, **self._trace("write")}
        names = ", ".join(f'"{name}" = ?' for name in full)
        self.db.many(
            f"UPDATE {model.table} SET {names} WHERE id = ?", ((*full.values(), record) for record in ids)
        )

    def _trace(self, verb: str) -> dict[str, Any]:
        return {f"{verb}_uid": self.uid, f"{verb}_date": self.now}

    def _unique(self, model: Model, columns: dict[str, Any], record: int = 0) -> None:
        for names in model.unique:
            if not all(name in columns for name in names):
                continue
            values = [columns[name] for name in names]
            where = " AND ".join(f'"{name}" = ?' for name in names)
            if self.db.rows(f"SELECT 1 FROM {model.table} WHERE {where} AND id != ?", (*values, record)):
                index = f"{model.name.replace('.', '_')}_{'_'.join(names)}_uniq_index"
                keys, shown = ", ".join(names), ", ".join(map(str, values))
                text = (
                    f'duplicate key value violates unique constraint "{index}"\n'
                    f"DETAIL:  Key ({keys})=({shown}) already exists.\n"
                )
                raise DatabaseFault(text, api16=f" {text}")

    def link(self, model: Model, field: Field, record: int, commands: Any, creating: bool = False) -> None:
        """Carry out many2many commands (0 to 6) or a plain list of ids."""
        table = model.relation_table(field.name)
        target = self.models[field.relation]
        for command in commands or ():
            code, *rest = command if isinstance(command, (list, tuple)) else (4, command)
            if code in (5, 6):
                self.db.run(f"DELETE FROM {table} WHERE a = ?", (record,))
            if code in (4, 6):
                ids = rest[-1] if code == 6 else rest[:1]
                for item in ids:
                    if not self.db.exists(target, item):
                        raise self.dangling(model, field, item, creating)
                self.db.many(f"INSERT OR IGNORE INTO {table} VALUES (?, ?)", ((record, item) for item in ids))
            elif code in (2, 3):
                self.db.run(f"DELETE FROM {table} WHERE a = ? AND b = ?", (record, rest[0]))

    def linked(self, model: Model, field: Field, ids: Sequence[int]) -> dict[int, list[int]]:
        """The related ids of a many2many or one2many for each record, archived ones only if asked for."""
        target = self.models[field.relation]
        marks = ",".join("?" * len(ids))
        active = target.archivable and self.context.get("active_test", True) and field.name != "attendee_ids"
        condition = " AND t.active = 1" if active else ""
        order = self.order(target, target.order)
        if field.type == "one2many":
            sql = f't."{field.inverse}", t.id FROM {target.table} t WHERE t."{field.inverse}" IN ({marks})'
        else:
            table = model.relation_table(field.name)
            sql = f"r.a, t.id FROM {table} r JOIN {target.table} t ON t.id = r.b WHERE r.a IN ({marks})"
        found: dict[int, list[int]] = {record: [] for record in ids}
        for owner, item in self.db.rows(f"SELECT {sql}{condition} ORDER BY {order}", ids):
            found[owner].append(item)
        return found

    # --- reading

    def read(self, model: Model, ids: Sequence[int], names: Sequence[str] | None) -> list[dict[str, Any]]:
        """The records that exist, in the order of `ids`; many2one as [id, name], empty as False."""
        fields = [self.field(model, name) for name in names] if names else list(model.fields.values())
        columns: list[str] = ["t.id"]
        for field in fields:
            if field.type in MANY:
                continue
            columns.append(field.expression)
            if field.type == "many2one":
                target = self.models[field.relation]
                columns.append(f"(SELECT {self._named(target)} WHERE n.id = {field.expression})")
        marks = ",".join("?" * len(ids))
        sql = f"SELECT {', '.join(columns)} FROM {model.table} t WHERE t.id IN ({marks})"
        rows = {row[0]: row for row in self.db.rows(sql, ids)} if ids else {}
        found = [record for record in ids if record in rows]
        many = {
            field.name: self.linked(model, field, found) for field in fields if field.type in MANY and found
        }
        return [self._record(fields, rows[record], record, many) for record in found]

    def _named(self, target: Model) -> str:
        display = re.sub(r"\bt\.", "n.", target.display)
        return f"({display}) FROM {target.table} n"

    def _record(
        self, fields: list[Field], row: Sequence[Any], record: int, many: dict[str, dict[int, list[int]]]
    ) -> dict[str, Any]:
        values: dict[str, Any] = {"id": record}
        place = 1
        for field in fields:
            kind = field.type
            if kind in MANY:
                values[field.name] = many[field.name][record]
            elif kind == "many2one":
                values[field.name] = [row[place], row[place + 1] or ""] if row[place] is not None else False
                place += 2
            else:
                values[field.name] = from_column(kind, row[place])
                place += 1
        return values

    def search(
        self, model: Model, domain: Any, offset: int = 0, limit: int | None = None, order: str | None = None
    ) -> list[int]:
        """The ids that a domain finds."""
        compiler = Compiler(self.models, self.major)
        where = compiler.where(model, domain, bool(self.context.get("active_test", True)))
        sql = f"SELECT t.id FROM {model.table} t WHERE {where} ORDER BY {self.order(model, order or model.order)}"
        if limit or offset:
            sql += f" LIMIT {int(limit) if limit else -1} OFFSET {int(offset or 0)}"
        return [row[0] for row in self.db.rows(sql, compiler.values)]

    def count(self, model: Model, domain: Any, limit: int | None = None) -> int:
        """How many records a domain finds."""
        compiler = Compiler(self.models, self.major)
        where = compiler.where(model, domain, bool(self.context.get("active_test", True)))
        found = self.db.rows(f"SELECT count(*) FROM {model.table} t WHERE {where}", compiler.values)[0][0]
        return min(found, limit) if limit else found

    def order(self, model: Model, order: str) -> str:
        """ORDER BY as PostgreSQL sorts: empty last when ascending, first when descending."""
        terms = []
        for part in order.split(","):
            name, _, direction = part.strip().partition(" ")
            field = self.field(model, name, "on model")
            down = direction.strip().lower().startswith("desc")
            key = field.expression
            if field.type == "many2one":
                target = self.models[field.relation]
                key = f"(SELECT {self._named(target)} WHERE n.id = {field.expression})"
            terms.append(f"{key} {'DESC NULLS FIRST' if down else 'ASC NULLS LAST'}")
        return ", ".join(terms)
