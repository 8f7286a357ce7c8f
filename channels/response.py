"""What the response steps of a destination make of an answer, as a pure function: live, in `try` and in tests.

    answer -> parse in its format -> steps -> verdict, and messages that are passed on

A filter that does not let the answer pass ends the steps; the verdict stays as it is then. Guarantees: no I/O, no
clock; a step that fails makes an error of a delivery that was sent, at a place that begins with `response`; of one
that was refused it keeps the refusal. Refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from channels.pipeline import Interpret, Parse, Step, failed
from engine.errors import StepTimeout
from engine.formats.base import Format
from engine.model import Judgement, Scope
from engine.spec.lookups import Wanted
from engine.store.responses import Answered

OFFERS = frozenset({"original", "verdict", "error_code", "error_text", "record"})
"""Names that response steps know."""


class Original:
    """The message whose answer it is, read when it is asked for the first time."""

    __slots__ = ("_parse", "_raw", "_view")

    def __init__(self, raw: bytes, parse: Parse) -> None:
        self._raw, self._parse, self._view = raw, parse, None

    @property
    def view(self) -> Any:
        """The message."""
        if self._view is None:
            self._view = self._parse(self._raw)
        return self._view

    def __getitem__(self, path: str) -> Any:
        return self.view[path]

    def __contains__(self, path: str) -> bool:
        return path in self.view

    def __bytes__(self) -> bytes:
        return self._raw

    def all(self, path: str) -> Any:
        """Every value that `path` names."""
        return self.view.all(path)

    def get(self, path: str, default: str = "") -> Any:
        """The value, or `default`."""
        return self.view.get(path, default)


@dataclass(frozen=True)
class Response:
    """The compiled response steps of one destination: each with whether it is a filter."""

    format: Format  # of the answers
    steps: tuple[tuple[Step, bool], ...]
    parse: Parse  # of the channel's messages
    interpret: Interpret | None = None

    def run(self, answer: Answered, watch: Any = None) -> Judgement:
        """Run everything on one answer; `watch(label, scope, reason)` sees each step that went well."""
        judged = kept(answer)
        label = "response"
        original = Original(answer.raw, self.parse)
        interpret = self.interpret
        try:
            scope = Scope(
                self.format.parse(answer.response),
                answer.meta,
                None if interpret is None else lambda _, meta: interpret(original.view, meta),
            )
            scope.outcome = judged
            scope.vars |= {
                "original": original,
                "verdict": "sent" if judged.sent else "error",
                "error_code": answer.code,
                "error_text": answer.text,
                "record": answer.record,
            }
            for step, is_filter in self.steps:
                label = step.label
                reason = step.run(scope)
                if watch is not None:
                    watch(label, scope, reason)
                if is_filter and reason is not None:
                    break
        except (Exception, StepTimeout, Wanted) as error:
            return broken(answer, error, label)
        return judged


def kept(answer: Answered) -> Judgement:
    """The destination's own verdict."""
    return Judgement(not answer.code, answer.code, answer.text, answer.place)


def broken(answer: Answered, error: BaseException, label: str) -> Judgement:
    """A step failed: nothing is passed on."""
    told = failed(error, label)
    if answer.code:
        judged = kept(answer)
        judged.text = f"{answer.text} (and {told.place}: {told.text} [{told.code}])"
        return judged
    return Judgement(False, told.code, f"it was sent; {told.text}", told.place)
