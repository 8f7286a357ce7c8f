"""The settings of one element of an export, read one by one, so that none is passed over in silence."""

from __future__ import annotations

import re
from collections.abc import Mapping

from engine.mirth.findings import Findings
from engine.mirth.syntax import Unreadable
from engine.mirth.variables import Variables
from engine.mirth.xmltree import Node

_VARIABLE = re.compile(r"\$\{([^}]*)\}|\$([A-Za-z_]\w*)")
_MESSAGE = re.compile(r"(?i)(?:message|date|count|system|uuid|channel|originalfilename|error)\b")
_NESTED = ("pluginProperties", "responseConnectorPluginProperties")


class Settings:
    """The children of an element; `rest` tells of those that nobody read."""

    def __init__(self, node: Node | None, variables: Variables, findings: Findings) -> None:
        self.node = node or Node("", {}, 0)
        self.variables = variables
        self.findings = findings
        self._read: set[str] = set(_NESTED)

    @property
    def line(self) -> int:
        """The line of the element."""
        return self.node.line

    def line_of(self, name: str) -> int:
        """The line of a setting, or of the element when it is not there."""
        found = self.node.child(name)
        return found.line if found else self.node.line

    def text(self, name: str, default: str = "") -> str:
        """A setting as it is written."""
        self._read.add(name)
        return self.node.value(name, default=default) or default

    def flag(self, name: str, default: bool = False) -> bool:
        """A setting that is true or false."""
        return self.text(name, str(default).lower()) == "true"

    def number(self, name: str, default: int) -> int:
        """A whole number; the default when it is none."""
        found = self.text(name, str(default))
        return int(found) if found.isdigit() else default

    def seconds(self, name: str, default: int) -> int | float:
        """Milliseconds of Mirth as seconds."""
        found = self.number(name, default) / 1000
        return int(found) if found == int(found) else found

    def known(self, name: str, default: str = "") -> str:
        """A text in which variables of Mirth become variables of the environment. Raises Unreadable."""
        return self.filled(self.text(name, default))

    def filled(self, text: str) -> str:
        """`text` with `${name}` as a variable of the environment. Raises Unreadable."""

        def one(found: re.Match[str]) -> str:
            name = found[1] or found[2]
            if not re.fullmatch(r"[\w.-]+", name) or _MESSAGE.match(name):
                raise Unreadable(0, f"`{found[0]}` is filled in for each message")
            return self.variables.environment(name)

        return _VARIABLE.sub(one, text)

    def port(self, name: str) -> int | str:
        """A port: a number, or a text with a variable of the environment. Raises Unreadable."""
        found = self.known(name)
        if found.isdigit() and int(found) < 65536:
            return int(found)
        if "${" not in found:
            raise Unreadable(0, "the port is no number")
        return found

    def skip(self, *names: str) -> None:
        """These need no equal: what they do is always so here, or has no meaning."""
        self._read.update(names)

    def told(self, what: str, usual: Mapping[str, tuple[tuple[str, ...], str]]) -> None:
        """Tell of settings that are not as usual: by name, the values that are, and why others have no equal."""
        for name, (values, why) in usual.items():
            found = self.text(name)
            if found and found not in values:
                shown = found if len(found) <= 40 and not _secret(name) else "…"
                self.note(name, f"{what}: {name} = {shown}", why)

    def note(self, name: str, what: str, why: str, hint: str = "") -> None:
        """Tell of one setting."""
        self._read.add(name)
        self.findings.add("note", "setting", self.line_of(name), what, why, hint)

    def rest(self, what: str) -> None:
        """Tell of what nobody read and that says something."""
        for child in self.node:
            value = child.text.strip()
            if child.tag not in self._read and value and value not in ("false", "0"):
                shown = value if len(value) <= 40 and not _secret(child.tag) else "…"
                self.findings.add(
                    "note",
                    "setting",
                    child.line,
                    f"{what}: {child.tag} = {shown}",
                    "this setting is not known here",
                )


def _secret(name: str) -> bool:
    return bool(re.search(r"(?i)pass|secret|token|key|user|template|content|body|script", name))
