"""An export of Mirth Connect or Open Integration Engine (3.0 to 4.x): a channel, a group, a list, or a whole server.

Files are read into a `Server` and converted together; `text` gives the YAML of the results. Nothing is run.
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


@dataclass
class Result:
    """What became of one export."""

    channels: list[Converted]
    findings: Findings


class Server:
    """The exports that are converted together: channels of one may write to those of another."""

    def __init__(self) -> None:
        self.tables: dict[str, Any] = {}
        self.channels: list[tuple[Node, str, Findings]] = []
        self.files: list[Findings] = []
        self._groups: dict[str, str] = {}
        self._tags: dict[str, list[str]] = {}
        self._configuration: dict[str, str] = {}
        self._code: dict[tuple[str, str], tuple[Node, Findings]] = {}
        self._targets: set[str] = set()
        self._made: dict[int, Converted | None] = {}

    def read(self, path: Path) -> None:
        """Take in a file. Raises ConfigError."""
        self.take(xmltree.read(path), str(path))

    def take(self, root: Node, file: str) -> None:
        """Take in an export that was read. Raises ConfigError."""
        findings, before = Findings(file), (len(self.channels), len(self._code))
        self._walk(root, "", findings)
        if (len(self.channels), len(self._code)) == before:
            named = "it names channels, but holds none" if self._groups else f"its root is <{root.tag}>"
            raise ConfigError(
                f"this is no channel export of Mirth: {named}",
                code="mirth.export",
                where=f"{file}:{root.line}:1",
                todo="export channels, groups with their channels, or the server's configuration",
            )
        self.files.append(findings)

    def _walk(self, node: Node, group: str, findings: Findings) -> None:
        """Collect what an export holds, whatever it is wrapped in."""
        match node.tag:
            case "channel":
                self._groups.setdefault(node.value("id"), group)
                if node.child("sourceConnector") is not None:
                    self._channel(node, findings)
            case "channelGroup":
                group = node.value("name")
            case "channelTag":
                for one in node.inside("channelIds"):
                    self._tags.setdefault(one.text.strip(), []).append(node.value("name"))
            case "codeTemplate":
                code = node.child("properties", "code") or node.child("code")
                if code is not None:
                    self._code.setdefault((node.value("name"), code.text), (code, findings))
            case "globalScripts":
                for key, value in _entries(node):
                    if not is_empty(value.text):
                        self._code.setdefault((key, value.text), (value, findings))
            case "configurationMap":
                self._configuration |= {key: value.value("value") for key, value in _entries(node)}
        for child in node:
            if child.tag not in ("sourceConnector", "destinationConnectors"):
                self._walk(child, group, findings)

    def _channel(self, node: Node, findings: Findings) -> None:
        name = unique(slug(node.value("name"), "channel"), {name for _, name, _ in self.channels})
        self.channels.append((node, name, findings))
        for connector in node.inside("destinationConnectors"):
            if connector.value("enabled", default="true") != "false":
                self._targets.add(Destination(connector, Variables(), findings).writes_to)

    def convert(self) -> list[Result]:
        """Everything that was taken in, a result for each file."""
        made = [self._converted(at) for at in range(len(self.channels))]
        for (name, _), (code, findings) in self._code.items():
            findings.channel = ""
            findings.add(
                "not converted", "script", code.line, f'code "{name}"', "JavaScript that channels share", _PYTHON,
                code.text,
            )  # fmt: skip
        return [
            Result(
                [one for (_, _, mine), one in zip(self.channels, made, strict=True) if mine is file and one],
                file,
            )
            for file in self.files
        ]

    def _converted(self, at: int) -> Converted | None:
        if at not in self._made:
            self._made[at] = None  # while it is under way: a channel that writes to itself finds nothing
            node, name, findings = self.channels[at]
            variables = Variables(self._configuration)
            self._made[at] = Channel(node, name, variables, self._about(node), findings, self).convert()
        return self._made[at]

    def written_to(self, number: str) -> bool:
        """See engine.mirth.channel.Export."""
        return bool(number) and number in self._targets

    def channel(self, number: str) -> Converted | None:
        """See engine.mirth.channel.Export."""
        at = next((at for at, (node, _, _) in enumerate(self.channels) if node.value("id") == number), None)
        return None if at is None else self._converted(at)

    def _about(self, node: Node) -> list[str]:
        number = node.value("id")
        tags = [
            *dict.fromkeys(
                [*self._tags.get(number, ()), *(one.text for one in node.inside("properties", "tags"))]
            )
        ]
        group = self._groups.get(number, "")
        return [*([f"Group: {group}"] if group else []), *([f"Tags: {', '.join(tags)}"] if tags else [])]


def _entries(node: Node) -> list[tuple[str, Node]]:
    """The pairs of a map of XStream."""
    return [(one.children[0].text.strip(), one.children[1]) for one in node if len(one.children) > 1]


def text(results: list[Result], tables: dict[str, Any]) -> str:
    """The configuration."""
    files = ", ".join(Path(result.findings.file).name for result in results)
    lines = [f"# Converted by `isthmus import-mirth` from {files}; lines are those of the XML.", ""]
    if tables:
        lines += [*render({"tables": tables}), ""]
    whole = [one for result in results for one in result.channels if one.whole]
    partly = [one for result in results for one in result.channels if not (one.whole or one.inner)]
    lines += ["channels:"] if whole else ["channels: {}"]
    for one in whole:
        lines += [*render({Remark(one.title): None, one.name: one.body}, 2), ""]
    for one in partly:
        lines.append(f"# {one.title}. It has no listener here: put one in the place of port 0.")
        lines += [f"# {line}" for line in render({one.name: one.body}, 2)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"
