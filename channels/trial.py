"""Channel tests: a message in, and what must come of it. A YAML file beside the configuration is one test.

    name: An admission makes the patient and a visit
    channel: adt
    message: |                      # or {file: ../samples/03-admit.hl7}
      MSH|^~\\&|EHR|...
    expect:                         # what is named must hold; what is not named is not looked at
      events: [patient.registered, encounter.admitted]
      operations:                   # in this order; `values` is a subset, `absent` must not be there
        - {op: upsert, model: res.partner, key: patient/RGH/1, values: {name: Nora Keller}, absent: [phone]}
      filtered: message_type        # the filter that stops it
      error: {code: patient.no_identifier, where: PID-3}

Guarantees: the code that runs is the channel's own pipeline, without store, wire or Odoo.
Refuses: a file with other keys, an empty `expect`, an unknown channel; each is a failure of that test, told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from channels.pipeline import Pipeline, Rendered
from engine.model import Scope
from engine.spec.document import read
from engine.states import MessageState

KEYS = {"name", "channel", "message", "expect"}
EXPECTED = {"events", "operations", "filtered", "error"}


@dataclass
class Outcome:
    """How one test went: `wrong` is empty when it passed."""

    file: Path
    name: str
    wrong: list[str] = field(default_factory=list)


def run(file: Path, pipelines: dict[str, Pipeline]) -> Outcome:
    """Run one test file."""
    document = read(file)
    test = document.data if isinstance(document.data, dict) else {}
    outcome = Outcome(file, str(test.get("name", file.stem)))
    outcome.wrong = [str(problem) for problem in document.problems] or _form(test, pipelines)
    if not outcome.wrong:
        try:
            raw = _message(test["message"], file, pipelines[test["channel"]])
        except OSError as error:
            outcome.wrong = [f"message: cannot read {error.filename}: {error.strerror}"]
            return outcome
        outcome.wrong = _compare(test["expect"], *_process(pipelines[test["channel"]], raw))
    return outcome


def _form(test: dict[str, Any], pipelines: dict[str, Pipeline]) -> list[str]:
    wrong = [f"{key}: is missing" for key in sorted(KEYS - set(test))]
    wrong += [f"{key}: unknown key (known: {', '.join(sorted(KEYS))})" for key in sorted(set(test) - KEYS)]
    if not wrong and test["channel"] not in pipelines:
        wrong.append(f"channel: there is no channel {test['channel']!r}")
    expect = test.get("expect")
    if not isinstance(expect, dict) or not expect or set(expect) - EXPECTED:
        wrong.append(f"expect: names some of {', '.join(sorted(EXPECTED))}")
    return wrong


def _message(given: Any, file: Path, pipeline: Pipeline) -> bytes:
    if isinstance(given, dict):
        return (file.parent / given["file"]).read_bytes()
    if pipeline.format.name != "hl7v2":
        return str(given).encode()
    return str(given).strip().replace("\n", "\r").encode() + b"\r"


def _process(pipeline: Pipeline, raw: bytes) -> tuple[Rendered, list[Any]]:
    last: list[Scope] = []
    message = pipeline.parse(raw)
    meta = pipeline.meta(raw)
    result = pipeline.process(raw, meta, lambda label, scope, reason: last.append(scope))
    transformed = result.state == MessageState.TRANSFORMED
    scope = last[-1] if last else Scope(message, meta, pipeline.interpret)
    return result, scope.events if transformed else []


def _compare(expect: dict[str, Any], result: Rendered, events: list[Any]) -> list[str]:
    """What is not as expected, a line each."""
    wrong: list[str] = []
    if "error" not in expect and result.state == MessageState.ERROR:
        return [f"the message is in ERROR: {result.place}: {result.text} [{result.code}]"]
    if "filtered" not in expect and result.state == MessageState.FILTERED:
        return [f"the message is filtered: {result.reason}"]
    if "filtered" in expect and expect["filtered"] not in result.reason.partition(":")[0]:
        wrong.append(
            f"filtered: by {result.reason.partition(':')[0] or 'nothing'!r}, not by {expect['filtered']!r}"
        )
    if "error" in expect:
        found = {"code": result.code, "where": result.place.rpartition(": ")[2]}
        wrong += [
            f"error.{k}: {found.get(k)!r} is not {v!r}"
            for k, v in expect["error"].items()
            if found.get(k) != v
        ]
    if "events" in expect and [event.type for event in events] != expect["events"]:
        wrong.append(f"events: {[event.type for event in events]} are not {expect['events']}")
    if "operations" in expect:
        made = [item for _, payload in result.payloads for item in msgspec.json.decode(payload)]
        if len(made) != len(expect["operations"]):
            wrong.append(f"operations: {len(made)} were made, {len(expect['operations'])} are expected")
        for number, (wanted, found) in enumerate(zip(expect["operations"], made, strict=False)):
            wrong += [f"operations[{number}].{line}" for line in _differences(wanted, found)]
    return wrong


def _differences(wanted: dict[str, Any], found: dict[str, Any]) -> list[str]:
    wrong = [
        f"{name}: {found.get(name)!r} is not {value!r}"
        for name, value in wanted.items()
        if name not in ("values", "absent") and found.get(name) != value
    ]
    values = found.get("values", {})
    for name, value in wanted.get("values", {}).items():
        if name not in values or values[name] != value:
            wrong.append(f"values.{name}: {values.get(name, 'absent')!r} is not {value!r}")
    return wrong + [f"values.{name}: must be absent" for name in wanted.get("absent", ()) if name in values]
