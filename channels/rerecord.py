"""Channel tests written from what the channel does today: a new test of a message, or new expectations of a test.

Guarantees: a written test passes as it is, and says what `lookup` steps found when they asked; a message that a text
of YAML cannot hold byte for byte is kept in a file beside the test; an updated file keeps everything outside its
`expect` as it is, comments too, and of each `expect` what it named. Refuses (ConfigError): a test that cannot be read,
and lookups that a test cannot say.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import yaml

from channels import asking
from channels.expecting import Result, decoded
from channels.past import Past
from channels.trial import Runner, answers_of, cases, steps
from engine.errors import ConfigError
from engine.spec.document import Where, read
from engine.states import MessageState

WIDTH = 110


class _Dumper(yaml.SafeDumper):
    """Several lines as a block, keys in the order in which they are put, lists inside what they belong to."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def dump(data: Any) -> str:
    """Data as YAML in the style of the shipped tests."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)


def record(runner: Runner, channel: str, messages: list[tuple[str, bytes]], target: Path) -> str:
    """The text of a test file for messages (each with its name); a message that needs it gets a file beside."""
    found = []
    for number, (name, raw) in enumerate(messages, 1):
        given = _message(runner, channel, raw, target, number)
        expected = expect(runner.result(channel, raw))
        answers = asking.found(runner.pipelines[channel]) if runner.asking is not None else {}
        lookups = {"lookups": answers} if answers else {}
        found.append({"name": name, "message": given, **lookups, "expect": expected})
    if len(found) == 1:
        (first,) = found
        return dump({"name": first.pop("name"), "channel": channel, **first})
    return dump({"channel": channel, "cases": found})


def _message(runner: Runner, channel: str, raw: bytes, target: Path, number: int) -> Any:
    hl7 = runner.pipelines[channel].format.name == "hl7v2"
    try:
        text = raw.decode("utf-8").replace("\r", "\n" if hl7 else "\r")
        if runner.message(channel, yaml.safe_load(dump({"message": text}))["message"], target) == raw:
            return text
    except (UnicodeDecodeError, yaml.YAMLError):
        pass  # a text of YAML cannot hold it
    beside = target.with_name(f"{target.stem}-{number}.message")
    beside.parent.mkdir(parents=True, exist_ok=True)
    beside.write_bytes(raw)
    return {"file": os.path.relpath(beside, target.parent)}


def expect(result: Result) -> dict[str, Any]:
    """All that a result says, as an expectation."""
    if result.state == MessageState.ERROR:
        where = {"where": result.where} if result.where else {}
        return {"error": {"code": result.code, **where}, "ack": _ack(result)}
    if result.state == MessageState.FILTERED:
        return {"filtered": result.filter, "ack": _ack(result)}
    told: dict[str, Any] = {}
    if result.events:
        told["events"] = [event.type for event in result.events]
    if result.operations:
        told["operations"] = result.operations
    sent = {
        name: decoded(payload) for name, payload in result.payloads if decoded(payload) not in _parts(result)
    }
    if sent:
        told["sent"] = sent
    if result.responses:
        told["responses"] = result.responses
    if result.variables:
        told["variables"] = msgspec.to_builtins(result.variables, enc_hook=str)
    return {**told, "ack": _ack(result), **({"exact": True} if result.operations else {})}


def _parts(result: Result) -> list[Any]:
    """Payloads that are told as operations."""
    return [decoded(payload) for _, payload in result.payloads if isinstance(decoded(payload), list)]


def _ack(result: Result) -> Any:
    return result.answers[0] if len(result.answers) == 1 else result.answers


def update(runner: Runner, file: Path) -> str:
    """The text of a test file with the expectations of today."""
    document = read(file)
    for problem in document.problems:
        raise ConfigError(problem.text, code=problem.code, where=str(problem.mark), todo=problem.hint)
    text = file.read_text("utf-8")
    changes: list[tuple[int, int, str]] = []
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for where, test in cases(document):
        past = Past()
        for place, one in steps(where, test):
            runner.mock(test)
            raw = runner.message(test["channel"], one["message"], file)
            result = runner.result(test["channel"], raw, past, answers_of(test, one))
            if "expect" not in one:
                continue
            node = _node(root, (*place, "expect"))
            fresh = _like(one["expect"], expect(result))
            if fresh != one["expect"]:
                changes.append((node.start_mark.index, node.end_mark.index, _block(node, fresh)))
    for start, end, new in sorted(changes, reverse=True):
        tail = text[:end][len(text[:end].rstrip()) :]  # a block ends after its last line
        text = text[:start] + new + (tail or "") + text[end:]
    return text


def _node(root: Any, where: Where) -> Any:
    node = root
    for part in where:
        if isinstance(part, int):
            node = node.value[part]
        else:
            node = next(value for key, value in node.value if key.value == part)
    return node


def _block(node: Any, data: Any) -> str:
    """`data` as a block in the place of a node."""
    if node.flow_style:
        return yaml.safe_dump(
            data, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True
        ).strip()
    indent = " " * node.start_mark.column
    return f"\n{indent}".join(dump(data).rstrip("\n").split("\n"))


def _like(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What `old` names, as it is now; everything when the message goes another way."""
    if not set(old) & set(new) - {"ack", "exact"}:
        return new
    told: dict[str, Any] = {}
    for name, value in old.items():
        if name == "exact":
            told[name] = value
        elif name in new:
            told[name] = _shaped(value, new[name], exact=bool(old.get("exact")))
    return told


def _shaped(old: Any, new: Any, *, exact: bool) -> Any:
    if isinstance(old, dict) and isinstance(new, dict) and not exact:
        absent = [name for name in old.get("absent", ()) if name not in new.get("values", {})]
        shaped = {name: _shaped(value, new[name], exact=exact) for name, value in old.items() if name in new}
        return {**shaped, **({"absent": absent} if absent else {})}
    if isinstance(old, dict) and isinstance(new, str):
        return old  # an event that is looked into; only its type is recorded
    if isinstance(old, list) and isinstance(new, list):
        pairs = zip(old, new, strict=False)
        return [*(_shaped(one, other, exact=exact) for one, other in pairs), *new[len(old) :]]
    if isinstance(old, str) and isinstance(new, str) and old in new and old.isidentifier():
        return old  # the name of a filter without its number
    return new
