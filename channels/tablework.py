"""One code of a code table, written into the file where it stands: YAML or CSV, everything else as it was.

Guarantees: comments, order and the other rows stay; what is written is read back before it is given, so that a text
with a form that this does not know is refused and not spoilt. Refuses (ConfigError `table.edit`): such a text, a code
or a value with line breaks.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from engine.errors import ConfigError
from engine.spec.tables import VALUE

_PLAIN = re.compile(r"[A-Za-z](?:[A-Za-z0-9_. ^-]*[A-Za-z0-9])?")
_BLANK = " \t\r\n"  # what YAML calls white space: others, as U+00A0, may end a value
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
Row = Mapping[str, str]


def changed(text: str, name: str, keys: Sequence[str], code: str, row: Row | None) -> str:
    """The text of file `name` with the code; `keys` lead to the table in a channel file. None takes it away."""
    if any("\n" in one or "\r" in one for one in (code, *(row or {}).values())) or not code:
        raise ConfigError("a code and its value are one line each", code="table.edit")
    if row is not None and not any(row.values()):
        raise ConfigError("a code needs a value", code="table.edit")
    is_yaml = name.endswith((".yaml", ".yml"))
    made = _yaml(text, keys, code, row) if is_yaml else _csv(text, code, row)
    read = (lambda one: _rows(one, keys)) if is_yaml else _records
    before, after = read(text), read(made)
    wanted = {one: values for one, values in before.items() if one != code}
    if row is not None:
        wanted[code] = dict(row)
    if after != wanted:
        raise ConfigError(
            f"the code cannot be written into {name} as it is", code="table.edit", todo="edit the file itself"
        )
    return made


def _rows(text: str, keys: Sequence[str]) -> dict[str, dict[str, str]]:
    data = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 (it makes texts only)
    for key in keys:
        data = (data or {}).get(key)
    return {
        code: value if isinstance(value, dict) else {VALUE: value} for code, value in (data or {}).items()
    }


def _records(text: str) -> dict[str, dict[str, str]]:
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    lines = [[cell.strip() for cell in cells] for cells in csv.reader(io.StringIO(text), delimiter=delimiter)]
    names, *rows = [cells for cells in lines if any(cells)] or [[]]
    return {
        cells[0]: {name: cell for name, cell in zip(names[1:], cells[1:], strict=False) if cell}
        for cells in rows
    }


def quoted(value: str) -> str:
    """A text as a YAML scalar."""
    plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
    return value if plain else json.dumps(value, ensure_ascii=False)


def _value(row: Row) -> str:
    if set(row) == {VALUE}:
        return quoted(row[VALUE])
    return "{" + ", ".join(f"{quoted(column)}: {quoted(value)}" for column, value in row.items()) + "}"


def _yaml(text: str, keys: Sequence[str], code: str, row: Row | None) -> str:
    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((value for name, value in pairs if name.value == key), None)
    if node is None and not keys and row is not None:
        return f"{text.rstrip(_BLANK)}\n{quoted(code)}: {_value(row)}\n".lstrip("\n")
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError("this table is not written as a mapping", code="table.edit", todo="edit its file")
    pair = next((one for one in node.value if one[0].value == code), None)
    if pair is None:
        return text if row is None else _added(text, node, f"{quoted(code)}: {_value(row)}")
    key, value = pair
    begin, end = value.start_mark.index, value.start_mark.index
    end += len(text[begin : value.end_mark.index].rstrip(_BLANK))
    if row is not None:
        return text[:begin] + ("" if begin > key.end_mark.index + 1 else " ") + _value(row) + text[end:]
    if not node.flow_style:
        first = text.rfind("\n", 0, key.start_mark.index) + 1
        last = text.find("\n", end)
        return text[:first] + ("" if last < 0 else text[last + 1 :])
    index = node.value.index(pair)
    if index + 1 < len(node.value):
        return text[: key.start_mark.index] + text[node.value[index + 1][0].start_mark.index :]
    if index:
        return text[: node.value[index - 1][1].end_mark.index] + text[end:]
    return text[: key.start_mark.index] + text[end:]


def _added(text: str, node: yaml.MappingNode, line: str) -> str:
    if not node.value:
        at = node.start_mark.index + 1
        return f"{text[:at]}{line}{text[at:]}"
    last = node.value[-1][1]
    end = last.start_mark.index + len(text[last.start_mark.index : last.end_mark.index].rstrip(_BLANK))
    if node.flow_style:
        return f"{text[:end]}, {line}{text[end:]}"
    indent = " " * node.value[0][0].start_mark.column
    at = text.find("\n", end)
    if at < 0:
        return f"{text}\n{indent}{line}\n"
    return f"{text[: at + 1]}{indent}{line}\n{text[at + 1 :]}"


def _csv(text: str, code: str, row: Row | None) -> str:
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    lines = text.splitlines(keepends=True)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    names: list[str] = []
    made: list[str] = []
    at, done = 0, False
    for cells in reader:
        source, at = "".join(lines[at : reader.line_num]), reader.line_num
        stripped = [cell.strip() for cell in cells]
        if not names and any(stripped):
            names = stripped[1:]
        elif stripped[:1] == [code]:
            source, done = _line(code, row, names, delimiter, end), True
        made.append(source)
    if not done and row is not None:
        if made and not made[-1].endswith("\n"):
            made[-1] += end
        made.append(_line(code, row, names, delimiter, end))
    return "".join(made)


def _line(code: str, row: Row | None, names: Sequence[str], delimiter: str, end: str) -> str:
    if row is None:
        return ""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerow(
        [code, *(row.get(name, "") for name in names)]
    )
    return out.getvalue()
