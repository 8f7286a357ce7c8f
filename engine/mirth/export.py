"""An export of Mirth Connect or Open Integration Engine (3.0 to 4.x): a channel, a group, a list, or a whole server.

`convert(path)` gives a `Result`: the YAML, and what is to be told. Nothing of the export is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ConfigError
from engine.mirth import xmltree
from engine.mirth.channel import Channel, Converted, slug, unique
from engine.mirth.destinations import Destination
from engine.mirth.findings import Findings
from engine.mirth.javascript import is_empty
from engine.mirth.variables import Variables
from engine.mirth.xmltree import Node
from engine.mirth.yamltext import Remark, render

_PYTHON = "write what of it is still needed in Python, for a `python` step"
_UNTOLD = ("channel", "channelGroup", "serverConfiguration")


@dataclass
class Result:
    """What became of one export."""

    channels: list[Converted]
    tables: dict[str, Any]
    findings: Findings

    @property
    def yaml(self) -> str:
        """The configuration."""
        return text([self])


def convert(path: Path, taken: frozenset[str] = frozenset()) -> Result:
    """Convert one file; `taken` are names of channels that are in use already. Raises ConfigError."""
    return of_tree(xmltree.read(path), str(path), taken)


def of_tree(root: Node, file: str, taken: frozenset[str] = frozenset()) -> Result:
    """Convert an export that was read."""
    export = _Export(root, Findings(file))
    if not export.channels:
        raise ConfigError(
            f"this is no channel export of Mirth: its root is <{root.tag}>",
            code="mirth.export",
            where=f"{file}:{root.line}:1",
            todo="export channels, groups or the server's configuration in the Administrator",
        )
    return export.convert(set(taken))


class _Export:
    def __init__(self, root: Node, findings: Findings) -> None:
        self.findings = findings
        self.channels: list[Node] = []
        self.groups: dict[str, str] = {}
        self.tags: dict[str, list[str]] = {}
        self.configuration: dict[str, str] = {}
        self.code: dict[tuple[str, str], Node] = {}
        self.tables: dict[str, Any] = {}
        self.names: list[str] = []
        self.targets: set[str] = set()
        self.made: dict[int, Converted | None] = {}
        self._walk(root, "")

    def _walk(self, node: Node, group: str) -> None:
        """Collect what an export holds, whatever it is wrapped in."""
        if node.tag == "channel":
            self.groups.setdefault(node.value("id"), group)
            if node.child("sourceConnector") is not None:
                self.channels.append(node)
        elif node.tag == "channelGroup":
            group = node.value("name")
        elif node.tag == "channelTag":
            for one in node.inside("channelIds"):
                self.tags.setdefault(one.text.strip(), []).append(node.value("name"))
        elif node.tag == "codeTemplate":
            code = node.child("properties", "code") or node.child("code")
            if code is not None:
                self.code.setdefault((node.value("name"), code.text), code)
        elif node.tag == "globalScripts":
            for entry in node:
                if len(entry.children) > 1 and not is_empty(entry.children[1].text):
                    self.code[entry.children[0].text, entry.children[1].text] = entry.children[1]
        elif node.tag == "configurationMap":
            for entry in node:
                if len(entry.children) > 1:
                    self.configuration[entry.children[0].text.strip()] = entry.children[1].value("value")
        for child in node:
            if child.tag not in ("sourceConnector", "destinationConnectors"):
                self._walk(child, group)

    def convert(self, taken: set[str]) -> Result:
        for node in self.channels:
            name = unique(slug(node.value("name"), "channel"), taken)
            taken.add(name)
            self.names.append(name)
        self.targets = {
            one.writes_to
            for node in self.channels
            for connector in node.inside("destinationConnectors")
            if connector.value("enabled", default="true") != "false"
            and (one := Destination(connector, Variables(), self.findings))
        }
        made = [self._made(at) for at in range(len(self.channels))]
        self.findings.channel = ""
        for (name, _), code in self.code.items():
            self.findings.add(
                "not converted", "script", code.line, f'code "{name}"', "JavaScript that channels share", _PYTHON,
                code.text,
            )  # fmt: skip
        return Result([one for one in made if one is not None], self.tables, self.findings)

    def _made(self, at: int) -> Converted | None:
        if at not in self.made:
            self.made[at] = None  # while it is under way: a channel that writes to itself finds nothing
            node = self.channels[at]
            variables = Variables(self.configuration)
            self.made[at] = Channel(node, self.names[at], variables, self._about(node), self).convert()
        return self.made[at]

    def written_to(self, number: str) -> bool:
        """See engine.mirth.channel.Export."""
        return bool(number) and number in self.targets

    def channel(self, number: str) -> Converted | None:
        """See engine.mirth.channel.Export."""
        at = next((at for at, node in enumerate(self.channels) if node.value("id") == number), None)
        return None if at is None else self._made(at)

    def _about(self, node: Node) -> list[str]:
        number = node.value("id")
        tags = [
            *dict.fromkeys(
                [*self.tags.get(number, ()), *(one.text for one in node.inside("properties", "tags"))]
            )
        ]
        group = self.groups.get(number, "")
        return [*([f"Group: {group}"] if group else []), *([f"Tags: {', '.join(tags)}"] if tags else [])]


def text(results: list[Result]) -> str:
    """One configuration of several exports."""
    files = ", ".join(Path(result.findings.file).name for result in results)
    lines = [f"# Converted by `isthmus import-mirth` from {files}; lines are those of the XML.", ""]
    tables = {name: table for result in results for name, table in result.tables.items()}
    if tables:
        lines += [*render({"tables": tables}), ""]
    whole = [one for result in results for one in result.channels if one.whole]
    partly = [one for result in results for one in result.channels if not (one.whole or one.inner)]
    lines += ["channels:"] if whole else ["channels: {}"]
    for one in whole:
        lines += [*render({Remark(one.title): None, one.name: one.body}, 2), ""]
    for one in partly:
        lines.append(f"# {one.title}: there is no listener for it; its port 0 is nobody's.")
        lines += [f"# {line}" for line in render({one.name: one.body}, 2)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
