"""What a caller does with records: create, write, unlink and the external ids, with the hooks of the models.

Guarantees: one call is all or nothing (its transaction is the request's). Refuses: deleting what a required
reference points to, external ids with spaces or used twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.odoo.sandbox.dangling import refused
from engine.odoo.sandbox.faults import Crash, DatabaseFault
from engine.odoo.sandbox.hooks import GENERIC, HOOKS
from engine.odoo.sandbox.records import Records
from engine.odoo.sandbox.schema import MANY, Model


class Operations(Records):
    """Records with hooks."""

    _partner = 0

    def using(self, **more: Any) -> Operations:
        """The same user and time with another context."""
        return Operations(self.db, self.major, self.uid, self.admin, self.now, {**self.context, **more})

    def partner(self) -> int:
        """The contact of the user."""
        if not self._partner:
            self._partner = self.db.rows("SELECT partner_id FROM res_users WHERE id = ?", (self.uid,))[0][0]
        return self._partner

    def defaults(self, model: Model, names: Sequence[str] | None = None) -> dict[str, Any]:
        """`default_get`: context, then the model's rules, then the fields' own."""
        hook = HOOKS.get(model.name, GENERIC).defaults(self)
        found: dict[str, Any] = {}
        for field in model.fields.values():
            if names is not None and field.name not in names:
                continue
            asked = f"default_{field.name}"
            if asked in self.context:
                found[field.name] = self.context[asked]
            elif hook.get(field.name) is not None:
                found[field.name] = hook[field.name]
            elif field.default is not None:
                found[field.name] = field.default
        return found

    def create(self, model: Model, vals_list: Sequence[dict[str, Any]]) -> list[int]:
        """New records; gives their ids."""
        hooks = HOOKS.get(model.name, GENERIC)
        defaults = self.defaults(model)
        ids: list[int] = []
        for given in vals_list:
            for name in given:
                self.field(model, name, "in")
            vals = hooks.creating(self, {**defaults, **given})
            if model.name == "ir.model.data":
                self._check_name(vals.get("name"), vals.get("module"), vals.get("model"), vals.get("res_id"))
            record = self.insert(model, self.columns(model, vals, creating=True))
            self._relations(model, [record], vals, creating=True)
            ids.append(record)
        for record in ids:
            hooks.done(self, [record], {}, created=True)
        return ids

    def write(self, model: Model, ids: Sequence[int], vals: dict[str, Any]) -> bool:
        """Change records."""
        hooks = HOOKS.get(model.name, GENERIC)
        for name in vals:
            if name not in model.fields and self.major >= 19:
                raise Crash("builtins.KeyError", name)
            self.field(model, name, "in")
        if vals:
            self.require(model, ids)
        full = hooks.writing(self, ids, vals)
        if full:
            self.update(model, ids, self.columns(model, full, creating=False))
            self._relations(model, ids, full)
            hooks.done(self, ids, full, created=False)
        return True

    def _relations(
        self, model: Model, ids: Sequence[int], vals: dict[str, Any], creating: bool = False
    ) -> None:
        for name, value in vals.items():
            field = model.fields[name]
            if field.type == "many2many":
                for record in ids:
                    self.link(model, field, record, value, creating)
            elif field.type == "one2many":
                target = self.models[field.relation]
                for record in ids:
                    for command in value or ():
                        self._child(target, field.inverse, record, command)

    def _child(self, target: Model, inverse: str, record: int, command: Any) -> None:
        code = command[0]
        through = self.using(check_move_validity=False)  # Odoo's own word for "written with its parent"
        if code == 0:
            (made,) = through.create(target, [{**command[2], inverse: record}])
            if isinstance(command[1], str):  # the external id of a sub-row of load()
                self.name_record(command[1], target, made)
        elif code == 1:
            through.write(target, [command[1]], command[2])
        elif code == 2:
            self.unlink(target, [command[1]])
        elif code == 4:
            self.write(target, [command[1]], {inverse: record})
        elif code in (3, 5, 6):
            old = [
                row[0]
                for row in self.db.rows(f'SELECT id FROM {target.table} WHERE "{inverse}" = ?', (record,))
            ]
            kept = command[2] if code == 6 else []
            gone = [command[1]] if code == 3 else [item for item in old if item not in kept]
            self.write(target, gone, {inverse: False})
            self.write(target, [item for item in kept if item not in old], {inverse: record})

    def unlink(self, model: Model, ids: Sequence[int]) -> bool:
        """Delete records, with what depends on them and their external ids."""
        self.require(model, ids)
        if not ids:
            return True
        HOOKS.get(model.name, GENERIC).deleting(self, ids)
        marks = ",".join("?" * len(ids))
        for other in self.models.values():
            for field in other.fields.values():
                if field.relation != model.name or field.type in MANY or not field.stored:
                    if field.type == "many2many" and field.relation == model.name:
                        self.db.run(
                            f"DELETE FROM {other.relation_table(field.name)} WHERE b IN ({marks})", ids
                        )
                    continue
                if field.name in ("create_uid", "write_uid"):
                    continue
                found = [
                    row[0]
                    for row in self.db.rows(
                        f"SELECT id FROM {other.table} WHERE {field.column} IN ({marks})", ids
                    )
                ]
                found = [item for item in found if other is not model or item not in ids]
                if not found:
                    continue
                if field.ondelete == "restrict":
                    raise refused(other, field)
                if field.ondelete == "cascade":
                    self.unlink(other, found)
                else:
                    self.db.run(
                        f"UPDATE {other.table} SET {field.column} = NULL WHERE {field.column} IN ({marks})",
                        ids,
                    )
        for field in model.fields.values():
            if field.type == "many2many":
                self.db.run(f"DELETE FROM {model.relation_table(field.name)} WHERE a IN ({marks})", ids)
        self.db.run(f"DELETE FROM ir_model_data WHERE model = ? AND res_id IN ({marks})", (model.name, *ids))
        self.db.run(f"DELETE FROM {model.table} WHERE id IN ({marks})", ids)
        self.db.forget()
        return True

    # --- external ids

    def lookup(self, xml_id: str) -> tuple[int, str, int] | None:
        """(id of the ir.model.data row, model, record id) of an external id."""
        module, _, name = xml_id.partition(".")
        rows = self.db.rows(
            "SELECT id, model, res_id FROM ir_model_data WHERE module = ? AND name = ?", (module, name)
        )
        return rows[0] if rows else None

    def name_record(self, xml_id: str, model: Model, record: int) -> None:
        """Give a record an external id (as the system, whatever the user may)."""
        module, _, name = xml_id.partition(".")
        self._check_name(name, module, model.name, record)
        self.db.run(
            "INSERT INTO ir_model_data (module, name, model, res_id, noupdate, create_uid, create_date, write_uid,"
            " write_date) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?)",
            (module, name, model.name, record, self.uid, self.now, self.uid, self.now),
        )

    def _check_name(self, name: Any, module: Any, model: Any, record: Any) -> None:
        if name and " " in str(name):
            row = f"0, null, {self.now}, {self.now}, null, {record}, f, {name}, {module}, {model}"
            raise DatabaseFault(
                'new row for relation "ir_model_data" violates check constraint "ir_model_data_name_nospaces"\n'
                f"DETAIL:  Failing row contains ({row}).\n"
            )

    def fields_get(self, model: Model, names: Sequence[str] | None, attributes: Sequence[str] | None) -> Any:
        """The declared fields as `fields_get` tells them."""
        found: dict[str, Any] = {}
        for field in model.fields.values():
            if names and field.name not in names:
                continue
            told: dict[str, Any] = {
                "type": field.type,
                "string": field.string,
                "name": field.name,
                "required": field.required,
                "readonly": field.readonly,
                "store": not field.sql,
                "searchable": True,
                "sortable": field.type not in MANY,
                "depends": list(field.depends),
                "change_default": False,
                "company_dependent": False,
                "manual": False,
                "groups": None,
            }
            if field.relation:
                told |= {"relation": field.relation, "domain": [], "context": {}}
            if field.inverse:
                told["relation_field"] = field.inverse
            if field.type == "selection":
                told["selection"] = [list(pair) for pair in self.selection(field)]
            if field.type in ("char", "text", "html"):
                told |= {"translate": False, "trim": True}
            found[field.name] = {key: told[key] for key in attributes if key in told} if attributes else told
        return found

    def name_search(
        self, model: Model, name: str, domain: Any, operator: str, limit: int | None
    ) -> list[list[Any]]:
        """(id, name) of records by what their model is searched by; an exact code comes first."""
        ids: list[int] = []
        if not isinstance(name, str):
            raise Crash("builtins.TypeError", "name must be a string")
        terms: list[Any] = list(domain or [])
        if not name:
            ids = self.search(model, terms, limit=limit)
        elif "code" in model.rec_name:
            ids = self.search(model, [["code", "=ilike", name], *terms], limit=limit)
            ids += [
                item for item in self.search(model, [["name", operator, name], *terms]) if item not in ids
            ]
        else:
            either = ["|"] * (len(model.rec_name) - 1) + [[part, operator, name] for part in model.rec_name]
            ids = self.search(model, [*either, *terms], limit=limit)
        shown = self.read(model, ids[:limit] if limit else ids, ["display_name"])
        return [[record["id"], record["display_name"]] for record in shown]
