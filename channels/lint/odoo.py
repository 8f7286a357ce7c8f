"""Templates against what Odoo has: models, fields, what must be set and what a field can hold.

Guarantees: only what a constant or a name says for certain is told; what an expression gives is not known here.
Refuses nothing.

| finding            | when                                                                     |
|--------------------|--------------------------------------------------------------------------|
| `odoo.no_model`    | the database has no such model                                            |
| `odoo.no_field`    | the model has no such field, or not in this version of Odoo               |
| `odoo.readonly`    | a warning: Odoo computes the field, or lets nobody edit it                 |
| `odoo.required`    | an upsert leaves out a required field that has no default                 |
| `odoo.selection`   | a constant that the selection does not have                               |
| `odoo.type`        | a constant that the type of the field cannot hold                         |
"""

from __future__ import annotations

from typing import Any

import yaml

from channels.lint.findings import Findings
from channels.lint.templates import Asked, Entry, Sheet
from engine.odoo.documents import FORMS_ONLY
from engine.odoo.snapshot import Snapshot
from engine.spec.document import did_you_mean
from engine.spec.values import REFERENCE

RELATIONS = frozenset({"many2one", "many2many", "one2many", "reference"})
NUMBERS = frozenset({"integer", "float", "monetary"})


def check(sheet: Sheet, snapshot: Snapshot, findings: Findings) -> None:
    """Tell what Odoo would not take."""
    for asked in sheet.operations:
        if "{" in asked.model or asked.verb == "":
            continue
        fields = snapshot.fields(asked.model)
        if fields is None:
            if snapshot.knows(asked.model) and asked.model not in snapshot.names:
                hint = did_you_mean(asked.model, snapshot.names)
                text = f"{snapshot.title} has no model {asked.model!r}"
                findings.tell("odoo.no_model", asked.mark, text, hint or "Install the module that brings it.")
            continue
        _Checker(snapshot, findings, sheet, asked, fields).run()


class _Checker:
    """One operation."""

    def __init__(
        self, snapshot: Snapshot, findings: Findings, sheet: Sheet, asked: Asked, fields: dict[str, Any]
    ) -> None:
        self.snapshot = snapshot
        self.findings = findings
        self.sheet = sheet
        self.asked = asked
        self.fields = fields

    def run(self) -> None:
        model = self.asked.model
        for entry in (*self.asked.values, *self.asked.unless):
            info = self.fields.get(entry.name)
            if info is None:
                self.unknown(entry)
                continue
            editable = not info.get("readonly") or (model, entry.name) in FORMS_ONLY
            if not editable and entry in self.asked.values:
                text = f"{model}.{entry.name} is read-only: Odoo sets it itself"
                self.findings.tell("odoo.readonly", entry.key, text, "Leave it out.", "warning")
            self.value(entry.node, entry.name, info)
        if self.asked.verb == "archive" and "active" not in self.fields:
            text = f"records of {model} cannot be archived: it has no field 'active'"
            self.findings.tell("odoo.no_field", self.asked.mark, text)
        if self.asked.verb == "upsert":
            given = {entry.name for entry in self.asked.values}
            for name in self.snapshot.required(model):
                if name not in given:
                    label = self.fields[name].get("string", name)
                    text = f"{model}.{name} ({label}) is required and has no default, and nobody sets it"
                    self.findings.tell("odoo.required", self.asked.mark, text, f"Add {name} to `values`.")

    def unknown(self, entry: Entry) -> None:
        model = self.asked.model
        text = f"{model} has no field {entry.name!r} in {self.snapshot.title}"
        hint = did_you_mean(entry.name, self.fields)
        gone = self.snapshot.gone(model, entry.name)
        if gone:
            hint = f"Odoo {gone} had it."
        elif not hint.startswith("Did"):
            hint = "Take a field that it has, or install the module that adds this one."
        self.findings.tell("odoo.no_field", entry.key, text, hint)

    def value(self, node: yaml.Node, name: str, info: dict[str, Any]) -> None:
        """What is written down for a field, as far as it is constant."""
        kind = str(info.get("type"))
        if isinstance(node, yaml.MappingNode):
            self.mapping(node, name, kind, info)
        elif isinstance(node, yaml.SequenceNode):
            if kind not in ("many2many", "one2many"):
                self.wrong(node, name, kind, "a list")
            for item in node.value:
                if isinstance(item, yaml.MappingNode):
                    self.mapping(item, name, kind, info)
        elif isinstance(node, yaml.ScalarNode) and "{{" not in node.value and "{%" not in node.value:
            self.scalar(node, name, kind, info)

    def mapping(self, node: yaml.MappingNode, name: str, kind: str, info: dict[str, Any]) -> None:
        keys = {key.value: value for key, value in node.value}
        if kind not in RELATIONS and kind not in ("json", "properties"):
            self.wrong(node, name, kind, "a reference" if keys.keys() & set(REFERENCE) else "a mapping")
            return
        find = keys.get("find")
        relation = str(info.get("relation") or "")
        fields = self.snapshot.fields(relation)
        for key, _ in find.value if isinstance(find, yaml.MappingNode) and fields else ():
            first = key.value.partition(".")[0]
            if fields is not None and first not in fields:
                text = f"{relation} has no field {first!r} in {self.snapshot.title}"
                self.findings.tell("odoo.no_field", self.sheet.place(key), text, did_you_mean(first, fields))

    def scalar(self, node: yaml.ScalarNode, name: str, kind: str, info: dict[str, Any]) -> None:
        tag, text = node.tag.rpartition(":")[2], node.value
        if tag == "null":
            if info.get("required"):
                told = f"{self.asked.model}.{name} is required and cannot be emptied"
                self.findings.tell("odoo.required", self.sheet.place(node), told)
        elif kind == "selection":
            choices = [pair for pair in info.get("selection") or () if len(pair) == 2]
            if choices and not any(text in (str(key), label) for key, label in choices):
                told = f"{self.asked.model}.{name} cannot be {text!r}"
                hint = did_you_mean(text, [str(key) for key, _ in choices])
                self.findings.tell("odoo.selection", self.sheet.place(node), told, hint)
        elif kind in ("many2one", "many2many", "one2many"):
            self.wrong(node, name, kind, "a text" if tag == "str" else f"a {tag}")
        elif (
            (kind in NUMBERS and not _number(text))
            or (
                kind == "boolean"
                and tag == "str"
                and text.lower() not in ["1", "0", "true", "false", "yes", "no", "y", "n", "t", "f"]
            )
            or (kind in ("date", "datetime") and tag in ("bool", "int", "float"))
        ):
            self.wrong(node, name, kind, f"{text!r}")

    def wrong(self, node: yaml.Node, name: str, kind: str, what: str) -> None:
        hints = {
            "many2one": "Write a reference: {key: …}, {xml_id: …} or {find: {…}}.",
            "many2many": "Write a list of references: [{key: …}].",
            "one2many": "Lines are records of their own: upsert them.",
        }
        text = f"{self.asked.model}.{name} is a {kind} and cannot hold {what}"
        self.findings.tell("odoo.type", self.sheet.place(node), text, hints.get(kind, ""))


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
