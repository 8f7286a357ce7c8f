"""Channel tests: messages in, and what must come of them. A YAML file beside the configuration is one test or many.

    name: An admission makes the patient and a visit
    channel: adt
    message: |                      # or {file: ../samples/03-admit.hl7}
      MSH|^~\\&|EHR|...
    expect:                         # what is named must hold; what is not named is not looked at
      events: [patient.registered, {type: encounter.admitted, encounter: {class: IMP}}]
      operations:                   # in this order; `values` is a subset, `absent` must not be there
        - {op: upsert, model: res.partner, key: patient/RGH/1, values: {name: Nora Keller}, absent: [phone]}
      ack: AA                       # MSA-1; in enhanced mode a list: [CA, AA]
      exact: true                   # operations and events are just these, nothing beside what is named

Other expectations: `filtered: message_type` (the filter that stops it), `error: {code: ..., where: PID-3}`,
`variables: {mrn: "1"}`, `sent: {destination: text or data}` for destinations that are neither Odoo nor FHIR servers.
What `lookup` steps find: `lookups: {clinic res.partner: {P1: {name: Nora}, P2: Nora}}`, by the connection, with its
model or resource where it has several, then by what is matched (several values: `A|B`); a record, or just its
`value`. A key that is not named is not there; a lookup that is not named at all is the error `lookup.offline`.
What destinations answer, where response steps look at it: `answers: {lab: "MSH|...\\rMSA|AE|..."}` beside the message,
and `responses: {lab: {state: SENT, code: ..., forwarded: [{channel: notes, message: ...}]}}` in `expect`; an answer is
a text, data, or `{answer: ..., refused: CODE, record: "res.partner,12"}`.
Several messages one after the other: `messages: [{message: ..., expect: ...}, ...]`; one without `expect` only comes
before what is looked at, and must not be in ERROR. Several tests in a file:
`cases: [...]`, each with the keys above; `channel` beside it holds for all.

Guarantees: the code that runs is the channel's own pipeline, without store, wire or Odoo; everything that is wrong
is told, with the line of the expectation. Refuses: a file with other keys, an empty `expect`, an unknown channel;
each is a failure of that test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from channels import answering, expecting, foretell
from channels.asking import Asking
from channels.build import Builder
from channels.coverage import Coverage
from channels.expecting import Expectation, Result, Wrong
from channels.past import Past
from channels.pipeline import Pipeline, Rendered
from channels.recording import RecordingBuilder
from channels.spying import Spy, spied
from engine.errors import HL7Error
from engine.model import Meta
from engine.spec.channel import Configuration
from engine.spec.document import Document, Where, did_you_mean, read
from engine.states import MessageState

CASE = frozenset({"name", "channel", "message", "messages", "expect", "lookups", "answers"})
SHARED = ("channel", "lookups", "answers")
FILE = frozenset({*SHARED, "cases"})


@dataclass
class Outcome:
    """How one test went: `wrong` is empty when it passed. `where` is its place in the file."""

    file: Path
    name: str
    where: str = ""
    wrong: list[Wrong] = field(default_factory=list)


class Runner:
    """Runs the tests of one configuration; with `coverage` it notes which lines of it they exercise."""

    def __init__(
        self, configuration: Configuration, coverage: Coverage | None = None, asking: Asking | None = None
    ) -> None:
        self.configuration = configuration
        self.asking = asking  # asks for what a test does not say is found
        self._coverage = coverage
        self._notes = None
        beside = (asking.reactor, asking.data_dir) if asking is not None else (None, None)
        builder = Builder(configuration, *beside)
        if coverage is not None:
            builder = RecordingBuilder(configuration, *beside)
            self._notes = builder.notes
        self.pipelines = {name: builder.pipeline(spec) for name, spec in configuration.channels.items()}
        for pipeline in self.pipelines.values():
            if asking is not None:
                asking.join(pipeline)

    def run(self, file: Path) -> list[Outcome]:
        """Run the tests of one file."""
        document = read(file)
        if document.problems:
            wrong = [Wrong(str(one.mark), "", text=f"{one.text} [{one.code}]") for one in document.problems]
            return [Outcome(file, file.stem, str(document.mark(())), wrong)]
        return [self._case(document, file, *found) for found in cases(document)]

    def _case(self, document: Document, file: Path, where: Where, test: dict[str, Any]) -> Outcome:
        outcome = Outcome(file, str(test.get("name") or file.stem), str(document.mark(where)))
        outcome.wrong = list(self._form(document, where, test))
        if outcome.wrong:
            return outcome
        past = Past()
        for place, one in steps(where, test):
            try:
                raw = self.message(test["channel"], one["message"], file)
            except OSError as error:
                text = f"cannot read {error.filename}: {error.strerror}"
                outcome.wrong.append(Wrong(str(document.mark((*place, "message"))), "message", text=text))
                continue
            self.mock(test)
            result = self.result(test["channel"], raw, past, answers_of(test, one))
            if "expect" in one:
                outcome.wrong += expecting.compare(Expectation(document, (*place, "expect")), result)
            elif result.state == MessageState.ERROR:
                text = f"the message is in ERROR: {result.text} [{result.code}]"
                outcome.wrong.append(Wrong(str(document.mark(place)), "", text=text))
        return outcome

    def mock(self, test: dict[str, Any]) -> None:
        """Let the lookups of its channel find what a test says, until the next one."""
        given = test.get("lookups") or {}
        for lookup in self.pipelines[test["channel"]].lookups:
            lookup.instead = given.get(lookup.label, given.get(lookup.label.partition(" ")[0]))

    def _form(self, document: Document, where: Where, test: dict[str, Any]) -> Iterator[Wrong]:
        def told(path: Where, text: str, *, key: bool = False) -> Wrong:
            name = ".".join(map(str, path))
            place = (*where, *path)
            if path[:1] and path[0] in SHARED and place not in document.marks:
                place = path  # said once for all
            return Wrong(str(document.mark(place, key=key)), name, text=text)

        if not isinstance(test, dict):
            yield told((), "a test is a mapping")
            return
        for name in sorted(set(test) - CASE):
            yield told((name,), f"unknown key. {did_you_mean(name, CASE)}", key=True)
        if "channel" not in test:
            yield told((), "`channel` is missing")
        elif test["channel"] not in self.pipelines:
            hint = did_you_mean(str(test["channel"]), self.pipelines)
            yield told(("channel",), f"there is no channel {test['channel']!r}. {hint}")
        else:
            yield from (told(path, text, key=True) for path, text in self._unasked(test))
        if "messages" not in test and "name" not in test:
            yield told((), "`name` is missing")
        several = steps((), test)
        looked_at = any(isinstance(one, dict) and "expect" in one for _, one in several)
        for place, one in several:
            yield from self._unanswered(told, test, place, one)
            for name in ("message",) if looked_at else ("message", "expect"):
                if not isinstance(one, dict) or name not in one:
                    yield told(place, f"`{name}` is missing")
            expect = one.get("expect") if isinstance(one, dict) else None
            if isinstance(one, dict) and "expect" in one:
                for path, text in expecting.form(expect):
                    yield told((*place, "expect", *path), text, key=bool(path))

    def _unanswered(self, told: Any, test: dict[str, Any], place: Where, one: Any) -> Iterator[Wrong]:
        """What stands in `answers` and is none."""
        given = one.get("answers") if isinstance(one, dict) else None
        if given is None or test.get("channel") not in self.pipelines:
            return
        if not isinstance(given, dict):
            yield told((*place, "answers"), "answers are a mapping of destinations")
            return
        routes = {route.name: route for route in self.pipelines[test["channel"]].routes}
        for name, answer in given.items():
            wrong = answering.form(routes.get(name), answer)
            if wrong:
                yield told((*place, "answers", name), wrong, key=True)

    def _unasked(self, test: dict[str, Any]) -> Iterator[tuple[Where, str]]:
        """What stands in `lookups` and answers nobody."""
        given = test.get("lookups") or {}
        if not isinstance(given, dict):
            yield ("lookups",), "lookups are a mapping of connections"
            return
        labels = [lookup.label for lookup in self.pipelines[test["channel"]].lookups]
        known = dict.fromkeys([*labels, *(label.partition(" ")[0] for label in labels)])
        for name, answers in given.items():
            if name not in known:
                yield (
                    ("lookups", name),
                    f"the channel has no lookup {name!r}. {did_you_mean(str(name), known)}",
                )
            elif not isinstance(answers, dict):
                yield (
                    ("lookups", name),
                    "answers are a mapping: what is matched, what is found",
                )

    def message(self, channel: str, given: Any, file: Path) -> bytes:
        """The bytes of a message as a test gives it."""
        if isinstance(given, dict):
            return (file.parent / str(given.get("file", ""))).read_bytes()
        if self.pipelines[channel].format.name != "hl7v2":
            return str(given).encode()
        return str(given).strip().replace("\n", "\r").encode() + b"\r"

    def result(
        self, channel: str, raw: bytes, past: Past | None = None, given: dict[str, Any] | None = None
    ) -> Result:
        """What the channel makes of a message; `past` is what came before it, `given` what destinations answer."""
        past = past or Past()
        pipeline = self.pipelines[channel]
        options = self.configuration.channels[channel].options
        try:
            header = pipeline.format.peek(raw)
            meta = past.meta(pipeline, raw, 0, "test")
        except HL7Error as error:
            return Result(MessageState.ERROR, "", error.code, error.what, error.where, [error.ack])
        if self.asking is not None:
            self.asking.answer(pipeline, [(raw, meta)], past.states)
        spy = Spy(self._notes)
        done = past.run(spied(pipeline, spy), raw, meta)
        if self._coverage is not None:
            self._coverage.note(channel, spy)
        answers = foretell.answers(pipeline.format, options, header, done, 0)
        events = spy.events() if done.state == MessageState.TRANSFORMED else []
        return Result(
            done.state, done.reason, done.code, done.text, done.place,
            [pipeline.format.verdict(answer).code for answer in answers], events, done.payloads, spy.variables,
            self._responses(pipeline, done, given or {}, raw, meta),
        )  # fmt: skip

    def _responses(
        self, pipeline: Pipeline, done: Rendered, given: dict[str, Any], raw: bytes, meta: Meta
    ) -> dict[str, Any]:
        """What becomes of the deliveries that are answered."""
        sent = dict(done.payloads)
        found = {}
        for route in pipeline.routes:
            if route.name in given and route.name in sent and route.response is not None:
                spy = Spy(self._notes)
                told = answering.reply(route, given[route.name], raw, meta, spy)
                if self._coverage is not None:
                    self._coverage.responded(pipeline.channel, route.name, spy)
                shown = msgspec.to_builtins(told)
                found[route.name] = {name: shown[name] for name in shown if name != "steps" and shown[name]}
        return found


def answers_of(test: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
    """What destinations answer to one message of a test."""
    return one.get("answers") or test.get("answers") or {}


def cases(document: Document) -> Iterator[tuple[Where, Any]]:
    """The tests of a file: where each is, and it, with what the file says for all."""
    data = document.data
    if not isinstance(data, dict) or "cases" not in data:
        yield (), data if isinstance(data, dict) else {}
        return
    for name in sorted(set(data) - FILE):
        yield (name,), {name: None}
    shared = {name: data[name] for name in SHARED if name in data}
    for index, case in enumerate(data["cases"] if isinstance(data["cases"], list) else ()):
        yield ("cases", index), shared | case if isinstance(case, dict) else case


def steps(where: Where, test: dict[str, Any]) -> list[tuple[Where, Any]]:
    """The messages of a test, each with what is expected of it."""
    if isinstance(test.get("messages"), list):
        return [((*where, "messages", index), one) for index, one in enumerate(test["messages"])]
    return [(where, test)]
