"""How two configurations differ, in plain words: `channel adt: destination odoo: batch_size 200 → 50`.

Guarantees: what is written is compared, as text: variables stay `${NAME}`, secrets are not read, and the value of
what is called a password, token or API key is not told; moving a channel to another file is no change of it.
Refuses nothing: a file that is no YAML is told by its changed lines.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from engine.spec.include import TOP

Contents = Mapping[str, bytes]
LONG = 60  # characters of a value that are told
HIDDEN = re.compile(r"api_key|password|token|secret", re.IGNORECASE)
"""Keys whose values are not told."""
_STEPS = {"filters": "filter", "transformers": "transformer", "response": "response step"}
_ONE = {"channels": "channel", "connections": "connection", "tables": "table", "fragments": "fragment"}


class _Loader(yaml.CBaseLoader):
    """Every value as it is written."""


_Loader.add_constructor(
    "!secret",
    lambda loader, node: f"!secret {node.value if isinstance(node, yaml.ScalarNode) else '{…}'}",
)


def told(before: Contents, after: Contents) -> list[str]:
    """A sentence for each thing that changed; none when the files say the same."""
    old, new = sections(before), sections(after)
    found = []
    for section in [*TOP, *sorted({*old, *new} - {*TOP})]:
        one, other = old.get(section), new.get(section)
        if section == "tables":
            one, other = _with_rows(one or {}, before), _with_rows(other or {}, after)
        if section in _ONE:
            found += list(_named(_ONE[section], one or {}, other or {}))
        elif one != other and section != "include":
            found += [f"{section}: {text}" for text in _values("", one, other)]
    rows = {file for side in (old, new) for _, file in _table_files(side.get("tables") or {})}
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name) and name not in rows and not is_channels(name, before, after):
            found.append(_file(name, before.get(name), after.get(name)))
    return found


def _parsed(name: str, data: bytes | None) -> Any:
    if data is None or not name.endswith((".yaml", ".yml")):
        return None
    try:
        return yaml.load(data.decode("utf-8-sig"), Loader=_Loader)  # noqa: S506 (it makes texts only)
    except (yaml.YAMLError, UnicodeDecodeError):
        return None


def is_channels(name: str, *sides: Contents) -> bool:
    """Whether a file, wherever it is there, is a channel file that can be read."""
    parsed = [_parsed(name, side[name]) for side in sides if name in side]
    return all(isinstance(data, dict) and not data.keys().isdisjoint(TOP) for data in parsed)


def sections(files: Contents) -> dict[str, Any]:
    """What all channel files say together, by section; values as texts."""
    made: dict[str, Any] = {}
    for name in sorted(files):
        if not is_channels(name, files):
            continue
        for section, body in _parsed(name, files[name]).items():
            if isinstance(body, dict):
                into = made.setdefault(section, {})
                for key, value in body.items():
                    into[key] = _placed(value, name) if section == "tables" else value
            elif isinstance(body, list):
                made[section] = [*made.get(section, []), *body]
            elif body:
                made[section] = body
    return made


def _placed(table: Any, by: str) -> Any:
    """A table whose file is named as the history names it."""
    if not isinstance(table, dict) or not isinstance(table.get("file"), str):
        return table
    return {**table, "file": posixpath.normpath(posixpath.join(posixpath.dirname(by), table["file"]))}


def _table_files(tables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, body in tables.items():
        if isinstance(body, dict) and isinstance(body.get("file"), str):
            yield name, body["file"]


def _with_rows(tables: Mapping[str, Any], files: Contents) -> dict[str, Any]:
    """The tables with the codes of their files among their own."""
    made = dict(tables)
    for name, file in _table_files(tables):
        codes = _parsed(file, files.get(file))
        if not isinstance(codes, dict) and file in files:
            text = files[file].decode("utf-8-sig", "replace")
            header = text.partition("\n")[0]
            lines = [
                row for row in csv.reader(io.StringIO(text), delimiter=max(",;\t", key=header.count)) if row
            ]
            codes = {row[0]: ", ".join(row[1:]) for row in lines[1:]}
        made[name] = {**tables[name], "values": {**(codes or {}), **(tables[name].get("values") or {})}}
    return made


def _named(kind: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*old, *new]):
        if name not in old or name not in new:
            yield f"{kind} {name} {'added' if name in new else 'removed'}"
        elif old[name] != new[name]:
            yield f"{kind} {name}: " + "; ".join(_body(kind, old[name], new[name]))


def _body(kind: str, old: Any, new: Any) -> Iterator[str]:
    if not isinstance(old, dict) or not isinstance(new, dict):
        yield from _steps("step", old, new) if kind == "fragment" else _values("", old, new)
        return
    for key in dict.fromkeys([*old, *new]):
        one, other = old.get(key), new.get(key)
        if one == other and (key in old) == (key in new):
            continue
        if key in _STEPS:
            yield from _steps(_STEPS[key], one, other)
        elif key == "destinations":
            yield from _named("destination", one or {}, other or {})
        elif kind == "table" and key == "values":
            yield from (f"code {text}" for text in _values("", one or {}, other or {}))
        elif key == "listener":
            yield from (f"listener: {text}" for text in _component(one, other))
        elif kind in ("destination", "connection") and isinstance(one, dict) and isinstance(other, dict):
            yield from _values("", one, other) if key != "retry" else _values("retry", one, other)
        else:
            yield from _change(key, key in old, one, key in new, other)


def _component(old: Any, new: Any) -> Iterator[str]:
    """One type with its settings below it."""
    if isinstance(old, dict) and isinstance(new, dict) and len(old) == 1 and old.keys() == new.keys():
        ((name, one),) = old.items()
        yield from _values("" if isinstance(one, dict) else name, one, new[name])
    else:
        yield f"{_label(old)} → {_label(new)}"


def _label(item: Any) -> str:
    return next(iter(item), "") if isinstance(item, dict) else str(item)


def _steps(word: str, old: Any, new: Any) -> Iterator[str]:
    """Items added, removed, moved or changed."""
    before, after = (side if isinstance(side, list) else [] for side in (old, new))
    one, other = ([json.dumps(item, sort_keys=True) for item in side] for side in (before, after))
    gone: list[Any] = []
    come: list[Any] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if tag != "equal":
            gone += before[a:b]
            come += after[c:d]
    for item in [item for item in gone if item in come]:
        gone.remove(item)
        come.remove(item)
        yield f"{word} {_label(item)} moved"
    for item in gone:
        same = next((one for one in come if _label(one) == _label(item)), None)
        if same is None:
            yield f"{word} {_label(item)} removed"
            continue
        come.remove(same)
        was, now = (side[_label(side)] if isinstance(side, dict) else "" for side in (item, same))
        if isinstance(was, dict) and isinstance(now, dict):
            yield f"{word} {_label(item)} changed: " + ", ".join(_values("", was, now))
        else:
            yield f"{word} {_label(item)} changed: {_text(was)} → {_text(now)}"
    for item in come:
        yield f"{word} {_label(item)} added"


def _values(at: str, old: Any, new: Any) -> Iterator[str]:
    """Plain settings, by their path."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        yield from _change(at, True, old, True, new)
        return
    for key in dict.fromkeys([*old, *new]):
        path = f"{at}.{key}" if at else str(key)
        if key not in old or key not in new:
            yield from _change(path, key in old, old.get(key), key in new, new.get(key))
        elif old[key] != new[key]:
            yield from _values(path, old[key], new[key])


def _change(path: str, was: bool, old: Any, now: bool, new: Any) -> Iterator[str]:
    if HIDDEN.search(path):
        yield f"{path} {'changed' if was and now else 'added' if now else 'removed'}"
    elif not was:
        yield f"{path} added: {_text(new)}"
    elif not now:
        yield f"{path} removed (was {_text(old)})"
    else:
        yield f"{path} {_text(old)} → {_text(new)}".strip()


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join((text or '""').split())
    return text if len(text) <= LONG else text[: LONG - 1] + "…"


def _file(name: str, old: bytes | None, new: bytes | None) -> str:
    """A file of another kind: a template, macros, a module."""
    kind = "template" if "template" in name else "file"
    if old is None or new is None:
        return f"{kind} {name} {'removed' if new is None else 'added'}"
    one, other = (data.decode("utf-8", "replace").splitlines() for data in (old, new))
    places = [
        str(c + 1) if d - c < 2 else f"{c + 1}-{d}"
        for tag, _, _, c, d in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes()
        if tag != "equal"
    ]
    return f"{kind} {name} changed lines {', '.join(places) or '(line ends only)'}"
