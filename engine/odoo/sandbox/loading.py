"""`load()`: rows of strings with external ids become records, all of them or none.

Guarantees: the messages, their order and the rollback of Odoo 16 and 19: every conversion error is listed;
then the rows are stored in one batch, and when that fails one by one, up to ten errors. 19 puts the text of
a Python constraint that broke the batch first and blames the batch's first row for it, as the real one does.
Sub-rows of one2many fields: see subrows.py.

| what is wrong with a row | answer |
|---|---|
| a cell cannot be converted | message with `field` and `moreinfo`; the rest of the row is tried all the same |
| PostgreSQL refuses it | message with the database's text, `field` for NOT NULL only |
| a constraint in Python | 19: its text; 16: "Unknown error during import: <class ...>" |
| unknown column | exception for the whole call |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.odoo.sandbox import subrows
from engine.odoo.sandbox.faults import (
    ConcurrencyFault,
    Crash,
    DatabaseFault,
    Fault,
    UserFault,
    ValidationFault,
)
from engine.odoo.sandbox.operations import Operations
from engine.odoo.sandbox.schema import Field, Model
from engine.odoo.sandbox.values import parse_date, parse_datetime, to_utc

_TRUE, _FALSE = {"1", "true", "yes"}, {"", "0", "false", "no"}
_TOO_MANY = (
    "Found more than 10 errors and more than one error per 10 records, interrupted to avoid showing too many"
    " errors."
)
_OTHER_MODEL = (
    "For external id {} when trying to create/update a record of model {} found record of different model"
    " {} ({})"
)
_REFERENCES = (None, "id", ".id")
Message = dict[str, Any]


class _Cell(Exception):
    """A cell that cannot be converted."""

    def __init__(self, text: str, more: Any = None) -> None:
        super().__init__(text)
        self.text = text
        self.more = more


class Loader:
    """One call of `load()`."""

    def __init__(self, env: Operations, model: Model, owner: Field | None = None) -> None:
        self.env = env
        self.model = model
        self.owner = owner  # the one2many field, for the loader of its sub-rows
        self.messages: list[Message] = []
        self.ids: list[int] = []
        self.batch: list[tuple[str, dict[str, Any], Message]] = []
        self.pending: set[str] = set()
        self._xml_ids: dict[tuple[str, str], int] = {}
        self._records: set[tuple[str, int]] = set()

    def run(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
        """The answer of `load()`."""
        paths = [self._path(column) for column in columns]
        for name, _ in paths:
            if name not in self.model.fields and name != ".id":
                if self.env.major >= 17:
                    raise Crash("builtins.ValueError", f"Invalid field name {name!r}")
                raise Crash("builtins.KeyError", name)
        lines = [
            name
            for name in dict.fromkeys(name for name, sub in paths if sub)
            if name in self.model.fields and self.model.fields[name].type == "one2many"
        ]
        for count, (first, last, group) in enumerate(subrows.split(paths, set(lines), rows)):
            info: Message = {"rows": {"from": first, "to": last}, "record": count}
            main = [(path, cell) for path, cell in zip(paths, group[0], strict=False) if path[0] not in lines]
            xml_id, dbid, cells = self._extract([path for path, _ in main], [cell for _, cell in main])
            if dbid:
                dbid = self._known(dbid, info)
            vals = self._convert(cells, info)
            for name in lines:
                vals[name] = self._lines(self.model.fields[name], *subrows.parts(paths, name, group), info)
            if xml_id:
                xml_id = xml_id if "." in xml_id else f"{self._module()}.{xml_id}"
                self.pending.add(xml_id)
            elif dbid:
                vals["id"] = dbid
            self.batch.append((xml_id, vals, info))
        self._flush()
        failed = any(message["type"] == "error" for message in self.messages)
        return {"ids": False if failed else self.ids, "messages": self.messages, "nextrow": 0}

    @property
    def failed(self) -> bool:
        """Is there an error: then nothing of this call may stay."""
        return any(message["type"] == "error" for message in self.messages)

    @staticmethod
    def _path(column: str) -> tuple[str, str | None]:
        if column == ".id":
            return ".id", None
        name, slash, rest = column.partition("/")
        if not slash and column.endswith((".id", ":id")):
            name, _, _ = column.replace(":", ".").rpartition(".")
            return name, ".id" if column.endswith(".id") else "id"
        return name, rest if slash else None

    def _module(self) -> str:
        return str(self.env.context.get("module", "__import__"))

    def _extract(
        self, paths: list[tuple[str, str | None]], row: Sequence[Any]
    ) -> tuple[str, str, list[tuple[Field, str | None, Any]]]:
        """(external id, database id, cells): plain fields first, then the relational ones."""
        plain: list[tuple[Field, str | None, Any]] = []
        related: list[tuple[Field, str | None, Any]] = []
        xml_id = dbid = ""
        for (name, sub), value in zip(paths, row, strict=False):
            if name == "id" and sub is None:
                xml_id = value or ""
            elif name == ".id":
                dbid = value or ""
            else:
                field = self.model.fields[name]
                (related if field.relation else plain).append((field, sub, value))
        return xml_id, dbid, plain + related

    def _known(self, dbid: str, info: Message) -> str:
        try:
            record: Any = int(dbid)
        except ValueError:
            record = dbid
        if not self.env.search(self.model, [["id", "=", record]]):
            text = f"Unknown database identifier '{record}'"
            self.messages.append(
                {
                    "rows": info["rows"],
                    "type": "error",
                    "record": info["record"],
                    "field": ".id",
                    "message": text,
                }
            )
            return ""
        return record

    def _lines(
        self, field: Field, columns: list[str], rows: list[Sequence[Any]], info: Message
    ) -> list[list[Any]]:
        """The commands that make or change the lines of one record."""
        target = self.env.models[field.relation]
        inner = Loader(self.env, target, field)
        paths = [self._path(column) for column in columns]
        commands: list[list[Any]] = []
        for row in rows:
            xml_id, dbid, cells = inner._extract(paths, row)
            vals = inner._convert(cells, info)
            known = int(dbid) if dbid else inner._by_xml_id(target, xml_id) if xml_id else None
            commands.append([1, known, vals] if known else [0, xml_id or 0, vals])
        self.messages += inner.messages
        return commands

    def _label(self, field: Field) -> str:
        """The label of a field, behind that of the lines it belongs to."""
        return f"{self.owner.string}/{field.string}" if self.owner else field.string

    # --- cells

    def _convert(self, cells: list[tuple[Field, str | None, Any]], info: Message) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field, sub, value in cells:
            if not value:
                found[field.name] = [[6, 0, []]] if field.type == "many2many" else False
                continue
            try:
                found[field.name] = self._cell(field, sub, value)
            except _Cell as wrong:
                if field.type == "boolean":
                    found[field.name] = True  # Odoo goes on with it; the error undoes the call anyway
                message: Message = {
                    "rows": info["rows"],
                    "type": "error",
                    "record": info["record"],
                    "field": (self.owner or field).name,
                    "message": wrong.text,
                }
                if wrong.more is not None:
                    message["moreinfo"] = wrong.more
                if wrong.more is not None or self.owner:
                    message["field_name"] = (self.owner or field).string
                self.messages.append(message)
        return found

    def _cell(self, field: Field, sub: str | None, value: Any) -> Any:
        kind = field.type
        if kind == "many2one":
            return self._reference(field, sub, value)
        if kind == "many2many":
            return [[6, 0, [self._reference(field, sub, item) for item in value.split(",")]]]
        if kind == "one2many":
            raise _Cell(f"The sandbox loads the lines of '{self._label(field)}' by sub-rows alone")
        if kind == "boolean":
            return self._boolean(field, value)
        if kind == "selection":
            return self._selection(field, value)
        try:
            if kind == "datetime":
                return to_utc(parse_datetime(value), str(self.env.context.get("tz") or "UTC"))
            if kind == "date":
                return parse_date(value)
        except Crash:
            shape = "2012-12-31 23:59:59" if kind == "datetime" else "2012-12-31"
            text = f"'{value}' does not seem to be a valid {kind} for field '{self._label(field)}'"
            raise _Cell(text, f"Use the format '{shape}'") from None
        if kind in ("integer", "many2one_reference", "float"):
            try:
                return float(value) if kind == "float" else int(value)
            except ValueError:
                what = "a number" if kind == "float" else "an integer"
                raise _Cell(
                    f"'{value}' does not seem to be {what} for field '{self._label(field)}'"
                ) from None
        return value

    def _boolean(self, field: Field, value: Any) -> bool:
        if not isinstance(value, str):
            raise Crash(
                "builtins.AttributeError", f"{type(value).__name__!r} object has no attribute 'lower'"
            )
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
        text = f"Unknown value '{value}' for boolean field '{self._label(field)}'"
        raise _Cell(text, "Use '1' for yes and '0' for no")

    def _selection(self, field: Field, value: str) -> str:
        choices = self.env.selection(field)
        if any(value == key for key, _ in choices):
            return value
        for key, label in choices:
            if value.lower() in (key.lower(), label.lower()):
                return key
        raise _Cell(
            f"Value '{value}' not found in selection field '{self._label(field)}'",
            [label for _, label in choices],
        )

    def _reference(self, field: Field, sub: str | None, value: str) -> Any:
        target = self.env.models[field.relation]
        if sub == ".id":
            kind, found = "database id", self._by_dbid(field, target, value)
            if found is False:
                return False
        elif sub == "id":
            kind = "external id"
            if value.lower() in _FALSE:
                return False
            found = self._by_xml_id(target, value if "." in value else f"{self._module()}.{value}")
        elif sub is None:
            kind = "name"
            self._flush(model=target.name)
            hits = self.env.name_search(target, value, [], "=", 100)
            found = hits[0][0] if hits else None
        else:
            raise _Cell("Can not create Many-To-One records indirectly, import the field separately")
        if found is None:
            text = f"No matching record found for {kind} '{value}' in field '{self._label(field)}'"
            raise _Cell(text, self._action(target, sub))
        return found

    def _by_dbid(self, field: Field, target: Model, value: str) -> Any:
        if value.lower() in _FALSE:
            return False
        try:
            record = int(value)
        except ValueError:
            text = f"Invalid database id '{value}' for the field '{self._label(field)}'"
            raise _Cell(text, self._action(target, ".id")) from None
        return record if self.env.db.exists(target, record) else None

    def _by_xml_id(self, target: Model, xml_id: str) -> int | None:
        if xml_id in self.pending:
            self._flush()
        known = self._xml_ids.get((target.name, xml_id))
        if known:
            return known
        row = self.env.lookup(xml_id)
        if row is None or not self.env.db.exists(target, row[2]):
            return None
        if row[1] != target.name:
            raise _Cell(f"Invalid external ID {xml_id}: expected model {target.name!r}, found {row[1]!r}")
        self._xml_ids[target.name, xml_id] = row[2]
        return row[2]

    def _action(self, target: Model, sub: str | None) -> dict[str, Any]:
        view = "list,form" if self.env.major >= 18 else "tree,form"
        action: dict[str, Any] = {
            "name": "Possible Values",
            "type": "ir.actions.act_window",
            "target": "new",
            "view_mode": view,
            "views": [[False, "list"], [False, "form"]],
            "context": {"create": False},
            "help": "See all possible values",
            "res_model": "ir.model.data" if sub else target.name,
        }
        if sub:
            action["domain"] = [["model", "=", target.name]]
        return action

    # --- storing

    def _flush(self, model: str = "") -> None:
        """Store what is pending (before a look-up that may need it, and at the end)."""
        if not self.batch or (model and model != self.model.name):
            return
        batch, self.batch = self.batch, []
        self.pending.clear()
        try:
            with self.env.db.savepoint():
                done = self._store(batch)
            self.ids += done
            return
        except ConcurrencyFault:
            raise
        except UserFault as fault:
            blamed: Message | None = {**batch[0][2], "type": "error", "message": fault.message}
        except Fault:
            blamed = None
        errors = self._one_by_one(batch)
        if errors and blamed and self.env.major >= 17 and blamed not in self.messages:
            self.messages.insert(0, blamed)

    def _one_by_one(self, batch: list[tuple[str, dict[str, Any], Message]]) -> int:
        errors = 0
        for count, row in enumerate(batch, 1):
            try:
                with self.env.db.savepoint():
                    done = self._store([row])
                self.ids += done
            except ConcurrencyFault:
                raise
            except Fault as fault:
                self.messages.append({**row[2], "type": "error", **self._explain(fault)})
                errors += 1
            if errors >= 10 and errors >= count / 10:
                self.messages.append({"type": "warning", "message": _TOO_MANY})
                break
        return errors

    def _explain(self, fault: Fault) -> Message:
        if isinstance(fault, DatabaseFault):
            return fault.load_message(self.env.major)
        if isinstance(fault, UserFault) and self.env.major >= 17:
            return {"message": fault.message}
        text = f"Unknown error during import: {fault.python}: {fault.message}"
        return {"message": text, "moreinfo": "Resolve other errors first"}

    def _store(self, batch: list[tuple[str, dict[str, Any], Message]]) -> list[int]:
        """Update the records that their external ids name, create the others."""
        env, model = self.env, self.model
        done: list[int] = []
        for xml_id, vals, _ in batch:
            if not xml_id:
                record = vals.get("id")
                if record:
                    env.write(model, [record], {name: value for name, value in vals.items() if name != "id"})
                else:
                    record = env.create(model, [vals])[0]
                done.append(record)
                continue
            row = env.lookup(xml_id)
            if row is not None and row[1] != model.name:
                raise ValidationFault(_OTHER_MODEL.format(xml_id, model.name, row[1], row[0]))
            if row is not None and env.db.exists(model, row[2]):
                env.allow(model, "write")
                env.write(model, [row[2]], vals)
                done.append(row[2])
                continue
            if row is not None:
                env.db.run("DELETE FROM ir_model_data WHERE id = ?", (row[0],))
            env.allow(model, "create")
            record = env.create(model, [vals])[0]
            env.name_record(xml_id, model, record)
            done.append(record)
        return done
