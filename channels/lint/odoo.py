"""Templates against what Odoo has: models, fields, what must be set and what a field can hold.

Guarantees: only what a constant or a name says for certain is told; what an expression gives is not known here.
Refuses nothing.

| finding            | when                                                                     |
|--------------------|--------------------------------------------------------------------------|
| `odoo.preset`      | the preset is for a module that the database has not                      |
| `odoo.no_model`    | the database has no such model                                            |
| `odoo.no_field`    | the model has no such field, or not in this version of Odoo               |
| `odoo.readonly`    | a warning: Odoo computes the field, or lets nobody edit it                 |
| `odoo.required`    | an upsert leaves out a required field that has no default                 |
| `odoo.selection`   | a constant that the selection does not have                               |
| `odoo.type`        | a constant that the type of the field cannot hold                         |
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import yaml

from channels.lint.findings import Findings
from channels.lint.templates import Asked, Entry, Sheet
from engine.odoo.documents import FORMS_ONLY
from engine.odoo.snapshot import Snapshot
from engine.spec.document import Mark, did_you_mean
from engine.spec.presets import Preset
from engine.spec.values import REFERENCE

RELATIONS = frozenset({"many2one", "many2many", "one2many", "reference"})
NUMBERS = frozenset({"integer", "float", "monetary"})


class Chosen(NamedTuple):
    """The preset of a destination, and where it is chosen."""

    preset: Preset
    mark: Mark

    def things(self) -> set[str]:
        """The models and fields of its modules that it names; such a field can be written, whatever forms say."""
        return {thing for things in self.preset.modules.values() for thing in things}


def _modules(chosen: Chosen, sheet: Sheet, snapshot: Snapshot, findings: Findings) -> set[str]:
    """Tell which modules of a preset this Odoo lacks, as far as the template uses them; gives what is not there."""
    used = {asked.model for asked in sheet.operations}
    used |= {f"{asked.model}.{entry.name}" for asked in sheet.operations for entry in asked.values}
    gone: set[str] = set()
    for module, things in chosen.preset.modules.items():
        missing = [thing for thing in things if thing in used and not _has(snapshot, thing)]
        missing = [
            thing for thing in missing if thing.rpartition(".")[0] not in missing
        ]  # the model says it all
        if missing:
            gone.update(missing)
            text = (
                f"preset {chosen.preset.name!r} is for an Odoo with the module {module!r}, and {snapshot.title} has "
                f"no {', '.join(missing)}"
            )
            hint = "Install the module, choose another preset, or ask Odoo anew with `lint --odoo`."
            findings.tell("odoo.preset", chosen.mark, text, hint)
    return gone


def _has(snapshot: Snapshot, thing: str) -> bool:
    """Whether there is a model, or a field of one; true where it is not known."""
    fields = snapshot.fields(thing)
    if fields is not None or thing in snapshot.names:
        return True
    model, _, name = thing.rpartition(".")
    fields = snapshot.fields(model)
    if fields is not None:
        return name in fields
    if model in snapshot.names:
        return True  # its fields were not asked
    return not snapshot.knows(thing)


def check(sheet: Sheet, snapshot: Snapshot, findings: Findings, chosen: Chosen | None = None) -> None:
    """Tell what Odoo would not take."""
    lacking = _modules(chosen, sheet, snapshot, findings) if chosen else set()
    writable = chosen.things() if chosen else set()
    for asked in sheet.operations:
        if "{" in asked.model or asked.verb == "" or asked.model in lacking:
            continue
        fields = snapshot.fields(asked.model)
        if fields is None:
            if snapshot.knows(asked.model) and asked.model not in snapshot.names:
                hint = did_you_mean(asked.model, snapshot.names)
                text = f"{snapshot.title} has no model {asked.model!r}"
                findings.tell("odoo.no_model", asked.mark, text, hint or "Install the module that brings it.")
            continue
        told = {name.rpartition(".")[2] for name in lacking if name.rpartition(".")[0] == asked.model}
        known = replace(asked, values=[entry for entry in asked.values if entry.name not in told])
        for name in writable:
            model, _, field = name.rpartition(".")
            if model == asked.model and field in fields:
                fields = {**fields, field: {**fields[field], "readonly": False}}
        _Checker(snapshot, findings, sheet, known, fields).run()


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
