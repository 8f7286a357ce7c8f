"""The variables of Mirth's maps under the names that they have here, and which of them steps have set."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

Kind = Literal["text", "number", "truth"]
_SECRET = re.compile(r"(?i)pass|secret|token|key|credential|pwd")
_TAKEN = frozenset(
    {"msg", "event", "events", "message", "vars", "table", "loop", "range", "namespace", "true", "false",
     "none", "not", "and", "or", "in", "is", "if", "else"}
)  # fmt: skip


class Variables:
    """What a filter or step may read at its place; `configuration` is the server's configuration map."""

    def __init__(self, configuration: Mapping[str, str] | None = None) -> None:
        self.configuration = dict(configuration or {})
        self._names: dict[tuple[str, str], str] = {}
        self._set: dict[tuple[str, str], tuple[Kind, bool, bool]] = {}

    def fork(self) -> Variables:
        """The same, for one destination: what it sets, others do not see."""
        twin = Variables(self.configuration)
        twin._names, twin._set = dict(self._names), dict(self._set)
        return twin

    def restore(self, known: Variables) -> None:
        """Forget what was set since `known` was forked."""
        self._names, self._set = known._names, known._set

    def put(self, scope: str, key: str, kind: Kind, sure: bool, always: bool) -> str:
        """Note that a step sets a variable (for every message when `always`); gives its name here."""
        known = self._set.get((scope, key))
        if known is not None:
            always = always or known[2]
            sure = sure and known[1]
            kind = kind if kind == known[0] else "text"
        self._set[scope, key] = (kind, sure, always)
        return self._name(scope, key)

    def read(self, scope: str, key: str) -> tuple[str, Kind, bool] | None:
        """The expression that reads a variable, its kind, and whether it is never empty; None when nobody set it."""
        for where in ("connector", "channel") if scope == "any" else (scope,):
            known = self._set.get((where, key))
            if known is not None:
                name = self._name(where, key)
                kind, sure, always = known
                return (name, kind, sure) if always else (f"{name} | default(ABSENT)", kind, False)
        return None

    def environment(self, key: str) -> str:
        """A value of the configuration map as a variable of the environment: `${NAME:-value}`."""
        name = re.sub(r"\W", "_", key, flags=re.ASCII)
        name = f"_{name}" if name[:1].isdigit() else name
        value = self.configuration.get(key, "")
        known = value and "}" not in value and not _SECRET.search(key)
        return f"${{{name}:-{value}}}" if known else f"${{{name}}}"

    def _name(self, scope: str, key: str) -> str:
        name = self._names.get((scope, key))
        if name is None:
            plain = re.sub(r"\W", "_", key, flags=re.ASCII).lstrip("_0123456789") or "value"
            taken = {*self._names.values(), *_TAKEN}
            name, number = plain, 2
            while name in taken:
                name, number = f"{plain}_{number}", number + 1
            self._names[scope, key] = name
        return name
