"""Answers that are given instead of asked for: what a channel would make of them, in `try` and in tests.

An answer is a text (HL7 with line ends of any kind), data (JSON), or a mapping with `answer` and, when the destination
would refuse with it, `refused` (the error code), or `record` (what Odoo touched). Guarantees: the response steps of the
channel run, after the destination's own judgement where it can judge an answer alone (`mllp`); nothing is sent or
stored. Refuses nothing: what cannot be read is an error of the delivery, as it would be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import orjson

from channels.expecting import decoded
from channels.pipeline import Route, Step
from channels.recording import Message
from channels.response import Response
from channels.spying import Ran, Spy
from channels.trace import Changed, Passed, Place, Reply, shown
from channels.trace import Step as Told
from engine.model import Meta, Outcome
from engine.states import DeliveryState, Result
from engine.store.responses import Answered

KEYS = frozenset({"answer", "refused", "record"})


def form(route: Route | None, given: Any) -> str:
    """What is wrong with an answer as it is given; "" when nothing is."""
    if route is None or route.response is None:
        return "this destination has no response steps"
    if isinstance(given, dict) and "answer" in given and set(given) - KEYS:
        return f"an answer has only {', '.join(sorted(KEYS))}"
    return "" if isinstance(given, (str, bytes, dict, list)) else "an answer is a text, or data"


def data(response: Response, given: Any) -> bytes:
    """The bytes of an answer."""
    if isinstance(given, bytes):
        return given
    if not isinstance(given, str):
        return orjson.dumps(given)
    hl7 = response.format.name == "hl7v2"
    return (given.strip().replace("\r\n", "\r").replace("\n", "\r") + "\r" if hl7 else given).encode()


def reply(
    route: Route, given: Any, raw: bytes, meta: Meta, spy: Spy | None = None, marks: Mapping[str, str] = {}
) -> Reply:
    """What becomes of the delivery. With `spy` each step is told; `marks` are their places."""
    more = given if isinstance(given, dict) and "answer" in given else {"answer": given}
    response: Response = route.response
    answer = data(response, more["answer"])
    refused = str(more.get("refused") or "")
    destination: Any = route.destination
    outcome = Outcome(0, Result.PERMANENT if refused else Result.SENT, refused)
    if not refused and hasattr(destination, "judge"):
        outcome = destination.judge(answer)
    if outcome.result not in (Result.SENT, Result.PERMANENT):
        return Reply(DeliveryState.QUEUED, outcome.code, outcome.text, outcome.place)
    code = "" if outcome.result == Result.SENT else outcome.code or "destination.refused"
    record = str(more.get("record") or outcome.record)
    answered = Answered(meta, answer, record, code, outcome.text, outcome.place, 1, raw)
    told = Spy() if spy is None else spy
    judged = (response if spy is None else _spied(response, told)).run(answered)
    return Reply(
        DeliveryState.SENT if judged.sent else DeliveryState.ERROR,
        judged.code,
        judged.text,
        judged.place,
        [Passed(name, decoded(made)) for name, made in judged.forwards],
        [_step(ran, response, marks) for ran in told.ran],
    )


def _spied(response: Response, spy: Spy) -> Response:
    notes = spy.notes

    def parse(raw: bytes) -> Any:
        return Message(response.format.parse(raw), notes) if notes is not None else response.format.parse(raw)

    return replace(
        response,
        format=SimpleNamespace(parse=parse),
        steps=tuple(
            (Step(step.label, _watched(spy, step, "filter" if is_filter else "transformer")), is_filter)
            for step, is_filter in response.steps
        ),
    )


def _watched(spy: Spy, step: Step, kind: str) -> Any:
    return lambda scope: spy.step(step, kind, "", scope)


def _step(ran: Ran, response: Response, marks: Mapping[str, str]) -> Told:
    saw = {one.path: Place(one.path, "", shown(one.value)) for one in ran.notes.reads}
    changed = [Changed(name, "", *map(shown, pair)) for name, pair in ran.variables()]
    if ran.before != ran.after:
        old, new = response.format.parse(ran.before), response.format.parse(ran.after)
        for path, value in new.leaves():
            if shown(old[path]) != shown(value):
                changed.append(Changed(path, "", shown(old[path]), shown(value)))
    return Told(ran.label, marks.get(ran.label, ""), ran.outcome, ran.reason, list(saw.values()), changed)
