"""One channel of Mirth as a channel here.

Guarantees: a channel of which anything that decides what it does was not converted comes out with
`enabled: false`; one without a listener here, or without a format, as comments.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Protocol

from engine.mirth.destinations import Destination
from engine.mirth.findings import Findings
from engine.mirth.javascript import is_empty
from engine.mirth.parts import parts
from engine.mirth.responses import response
from engine.mirth.rules import filters
from engine.mirth.settings import Settings
from engine.mirth.sources import Source
from engine.mirth.steps import Steps
from engine.mirth.variables import Variables
from engine.mirth.xmltree import Node
from engine.mirth.yamltext import Remark, Said

_FORMATS = {
    "HL7V2": "hl7v2",
    "XML": "xml",
    "HL7V3": "xml",
    "JSON": "json",
    "DELIMITED": "delimited",
    "": "hl7v2",
}
_SCRIPTS = {
    "preprocessingScript": "change the message in a `python` step",
    "postprocessingScript": "what comes after the destinations has no place here",
    "deployScript": "a step gives the same on every run here and needs no set-up",
    "undeployScript": "a step gives the same on every run here and needs no end",
}
_STORAGE = {"METADATA": "metadata", "DISABLED": "metadata"}
_WEEK = 7


@dataclass
class Converted:
    """A channel as YAML: its name, its settings, and whether it can stand there as more than a comment."""

    name: str
    title: str
    body: dict[Any, Any]
    whole: bool
    inner: bool  # other channels write to it, and have its destinations
    missing: int  # parts that are not converted


class Export(Protocol):
    """What a channel shares with the others of its export."""

    tables: dict[str, Any]

    def written_to(self, number: str) -> bool:
        """Whether a channel of the export writes to the one with this id."""

    def channel(self, number: str) -> Converted | None:
        """The channel with this id, converted; None when it is not in the export, or writes to itself."""


class Channel:
    """Converts one `channel` element; `about` is what else is said of it, for a comment."""

    def __init__(
        self,
        node: Node,
        name: str,
        variables: Variables,
        about: list[str],
        findings: Findings,
        export: Export,
    ) -> None:
        self.node = node
        self.name = name
        self.variables = variables
        self.about = about
        self.export = export
        self.findings = findings
        self.tables = export.tables
        self.missing = 0
        self.inner: list[Converted] = []  # channels whose destinations stand here

    def convert(self) -> Converted:
        """Everything of the channel."""
        node = self.node
        self.findings.channel = self.name
        connector = node.child("sourceConnector") or Node("sourceConnector", {}, node.line)
        form = self._format(connector)
        source = Source(connector, self.variables, self.findings)
        written_to = self.export.written_to(node.value("id"))
        listener = source.listener(written_to)
        found = filters(parts(connector.child("filter")), self.variables, self.findings, form)
        steps = Steps(self.variables, self.findings, self.tables, form)
        steps.add(parts(connector.child("transformer")))
        destinations = self._destinations(steps, form)
        options = self._options() | source.options
        self._scripts()
        self._unanswered(connector)
        body: dict[Any, Any] = {}
        description = " ".join(node.value("description").split())
        if description:
            body["description"] = description
        body |= self._enabled()
        if form not in ("hl7v2", ""):
            body["format"] = {form: {"ignore_namespaces": True} if form == "xml" else {}}
        body |= options
        body["listener"] = listener or {"mllp": {"port": 0}}
        body |= {"filters": found} if found else {}
        body |= {"transformers": steps.items} if steps.items else {}
        body |= {"destinations": destinations} if destinations else {}
        inner = listener is None and written_to
        return Converted(self.name, self._title(), body, listener is not None, inner, self.missing)

    def _title(self) -> str:
        node = self.node
        name = " ".join(node.value("name").split())
        return ". ".join([f'Mirth channel "{name}", line {node.line}', *self.about])

    # Data types

    def _format(self, connector: Node) -> str:
        transformer = connector.child("transformer")
        if transformer is None:
            return "hl7v2"
        kind = transformer.value("inboundDataType").upper()
        form = _FORMATS.get(kind, "")
        if not form:
            self.findings.add(
                "not converted", "channel", transformer.line, f"messages of the data type {kind}",
                "no format reads them", "`format:` is hl7v2, fhir, json, xml or delimited",
            )  # fmt: skip
        self._outgoing(transformer, kind)
        self._acknowledging(transformer)
        return form

    def _outgoing(self, transformer: Node, kind: str) -> None:
        """What goes out in another data type, or from a template, is not converted."""
        outgoing = transformer.value("outboundDataType").upper()
        if outgoing and kind and outgoing != kind:
            self.findings.add(
                "not converted", "step", transformer.line, f"the message is made from {kind} into {outgoing}",
                "a step here keeps the format", "write the text that goes out in a `jinja` step",
            )  # fmt: skip

    def _acknowledging(self, transformer: Node) -> None:
        found = transformer.child("inboundProperties", "responseGenerationProperties")
        if found is None:
            return
        settings = Settings(found, self.variables, self.findings)
        settings.told(
            "ACK",
            {
                "successfulACKCode": (("AA",), "the code says what became of the message"),
                "errorACKCode": (("AE",), "the code says what became of the message"),
                "rejectedACKCode": (("AR",), "the code says what became of the message"),
                "successfulACKMessage": ((), "the text of an ACK is not free here"),
            },
        )

    # Options of the channel

    def _enabled(self) -> dict[Any, Any]:
        node = self.node
        flag = node.value("exportData", "metadata", "enabled") or node.value("enabled")
        state = node.value("properties", "initialState", default="STARTED")
        missing = len(self.findings.open_parts(self.name)) + sum(one.missing for one in self.inner)
        self.missing = missing
        if missing:
            text = (
                f"Not converted: {missing}. They stand below, and in the report; enable it when they are done"
            )
            return {"enabled": Said(False, text)}
        if flag == "false":
            return {"enabled": Said(False, "It is disabled in Mirth")}
        return (
            {} if state == "STARTED" else {"enabled": Said(False, f"Its initial state in Mirth is {state}")}
        )

    def _options(self) -> dict[str, Any]:
        node = self.node.child("properties")
        settings = Settings(node, self.variables, self.findings)
        options: dict[str, Any] = self._retention(settings)
        mode = settings.text("messageStorageMode", "DEVELOPMENT")
        storage = _STORAGE.get(mode)
        if settings.flag("removeContentOnCompletion"):
            storage = storage or "no-content"
        if storage:
            options["storage"] = storage
        if mode == "DISABLED":
            settings.note(
                "messageStorageMode", "no message is stored", "a message is stored before it is acknowledged"
            )
        for column in settings.node.inside("metaDataColumns"):
            name = column.value("name")
            if name not in ("SOURCE", "TYPE", "VERSION"):
                self.findings.add(
                    "note", "setting", column.line, f"metadata column {name}",
                    "messages are found by type, control id, sender, patient and visit number",
                )  # fmt: skip
        if settings.node.value("attachmentProperties", "type", default="None") != "None":
            settings.note("attachmentProperties", "attachments", "a message is kept whole, and compressed")
        return options

    def _retention(self, settings: Settings) -> dict[str, Any]:
        """Pruning: days that content and rows are kept; 3.0 to 3.4 say so in the channel's properties."""
        pruning = self.node.child("exportData", "metadata", "pruningSettings") or settings.node
        found = Settings(pruning, self.variables, self.findings)
        rows, content = found.number("pruneMetaDataDays", 0), found.number("pruneContentDays", 0)
        kept: dict[str, Any] = {}
        if content and (not rows or content < rows):
            kept["content"] = f"{content}d"
        if rows:
            kept["messages"] = f"{rows}d"
        if rows and found.flag("pruneErroredMessages"):
            kept["errors"] = f"{rows}d"
        options: dict[str, Any] = {"retention": kept} if kept else {}
        if 0 < rows < _WEEK:
            options["duplicates"] = {"window": rows * 86400}
        return options

    def _scripts(self) -> None:
        for name, hint in _SCRIPTS.items():
            found = self.node.child(name)
            if found is not None and not is_empty(found.text):
                self.findings.add(
                    "not converted", "script", found.line, name, "a script of the channel", hint, found.text
                )

    def _unanswered(self, connector: Node) -> None:
        """Response transformers of what has no answer here."""
        for part in parts(connector.child("responseTransformer")):
            if part.enabled:
                self.findings.add(
                    "not converted", "step", part.line, part.label("response transformer"),
                    "there is no answer here that it could look at", "", part.script,
                )  # fmt: skip

    # Destinations

    def _destinations(self, steps: Steps, form: str) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for node in self.node.inside("destinationConnectors"):
            one = Destination(node, self.variables, self.findings)
            if node.value("enabled", default="true") == "false":
                label = f'destination "{one.name}"'
                self.findings.add(
                    "note", "connector", node.line, label, "it is disabled in Mirth and left out"
                )
                continue
            variables = self.variables.fork()
            rules = filters(parts(node.child("filter")), variables, self.findings, form)
            own = Steps(variables, self.findings, self.tables, form)
            own.add(parts(node.child("transformer")))
            transformer = node.child("transformer")
            if transformer is not None:
                self._outgoing(transformer, transformer.value("inboundDataType").upper())
            if one.is_sink:
                self._unanswered(node)
                self.findings.add(
                    "converted", "connector", one.line, one.label, "it writes to no channel: left out"
                )
                continue
            rules = _skips(steps, one.number) + rules
            if self._inner(one, rules, own.items, found):
                self._unanswered(node)
                continue
            made = one.made()
            if made is None:
                self._unanswered(node)
                found[
                    Remark(f'Not converted, line {one.line}: destination "{one.name}" ({one.transport})')
                ] = None
                continue
            made |= {"filters": rules} if rules else {}
            made |= {"transformers": own.items} if own.items else {}
            answered = parts(node.child("responseTransformer"))
            steps_on = response(answered, variables, self.findings, self.tables)
            made |= {"response": steps_on} if steps_on else {}
            found[unique(slug(one.name, "destination"), found)] = Said(made, f"Line {one.line}")
        return found

    def _inner(self, one: Destination, rules: list[Any], items: list[Any], found: dict[Any, Any]) -> bool:
        """The destinations of a channel that a channel writer hands the message to, in its place."""
        other = self.export.channel(one.writes_to) if one.writes_to else None
        self.findings.channel = self.name
        if other is None or not other.inner:
            return False
        why = f"the destinations of {other.name} stand in its place, after its filters and steps"
        self.findings.add("adapted", "connector", one.line, one.label, why)
        self.inner.append(other)
        before = {"filters": rules + other.body.get("filters", []), "transformers": []}
        before["transformers"] = items + other.body.get("transformers", [])
        if items and other.body.get("filters"):
            self.findings.add(
                "not converted", "step", one.line, one.label,
                "its steps come before the filters of the channel that it writes to",
                "filters come before steps here: look whether these filters need what those steps do",
            )  # fmt: skip
        for key, value in other.body.get("destinations", {}).items():
            if isinstance(key, Remark):
                found[key] = None
                continue
            made = dict(value.value)
            for name, ahead in before.items():
                if ahead or name in made:
                    made[name] = ahead + made.get(name, [])
            name = unique(f"{other.name}_{key}", found)
            found[name] = Said(made, f"Line {one.line}, then {value.comment.lower()} in {other.name}")
        return True


def _skips(steps: Steps, number: str) -> list[Any]:
    """Filters that leave a destination out when a destination set filter says so."""
    found: list[Any] = []
    for behavior, numbers, name in steps.skips:
        hit = behavior == "REMOVE_ALL" or (number in numbers) == (behavior == "REMOVE")
        if hit:
            found.append({"condition": {"expression": f"not {name}", "reason": "destination set filter"}})
    return found


def slug(name: str, otherwise: str) -> str:
    """A name as a key of YAML: `ADT to Lab (new)` is `adt_to_lab_new`."""
    return re.sub(r"[^\w]+", "_", name.lower()).strip("_") or otherwise


def unique(name: str, taken: Any) -> str:
    """`name`, with a number when it is taken."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name}_{number}", number + 1
    return found
