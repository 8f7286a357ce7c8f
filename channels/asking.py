"""Lookups for tools that look at messages before anything runs: `try`, `impact`, `survey`, `test`.

Guarantees: what the other side holds is asked for as the engine asks (one call a lookup for many messages), read-only,
and each value once as long as the tool runs, also one that is not there; nothing is asked that a message does not
need. Refuses, with LookupDown: an other side that cannot answer now, or refuses us; it is never taken for "not there".
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

from channels.pipeline import Pipeline
from channels.states import States
from engine.errors import ConfigError
from engine.model import Meta
from engine.spec.lookups import Key, LookupDown, Wanted, fetch_all

Wait = Callable[[Coroutine[Any, Any, Any]], Any]
"""Runs a coroutine on the reactor and gives its result."""


class Asking:
    """Who asks: the reactor, a way to wait for it, and the folder that the sandbox keeps its file in."""

    def __init__(self, wait: Wait, reactor: Any, data_dir: Path) -> None:
        self._wait = wait
        self.reactor = reactor
        self.data_dir = data_dir

    def join(self, pipeline: Pipeline, *others: Pipeline) -> None:
        """Let pipelines of one channel keep their answers, together."""
        for same in zip(*(one.lookups for one in (pipeline, *others)), strict=True):
            answers: dict[Key, Any] = {}
            for lookup in same:
                lookup.answers = answers

    def answer(self, pipeline: Pipeline, messages: Iterable[tuple[bytes, Meta]], states: States) -> None:
        """Fetch all that the channel looks up for these messages, in order after `states`. Raises LookupDown."""
        if pipeline.lookups:
            self._wait(self._answer(pipeline, list(messages), states.fork()))

    async def _answer(self, pipeline: Pipeline, messages: list[tuple[bytes, Meta]], states: States) -> None:
        for lookup in pipeline.lookups:
            lookup.asked.clear()
            lookup.closed = False
        while messages:
            wanted: list[Wanted] = []
            again = []
            states.begin()
            for raw, meta in messages:
                try:
                    if states.run(pipeline, raw, meta) is None:
                        again.append((raw, meta))
                except Wanted as one:
                    wanted.append(one)
                    again.append((raw, meta))
            try:
                await fetch_all(wanted, self.reactor.seconds())
            except LookupDown as down:
                down.where = down.where or f"lookup {wanted[0].lookup.label}"
                raise
            messages = again


def found(pipeline: Pipeline) -> dict[str, dict[str, Any]]:
    """What the last messages asked for and got, as the `lookups` of a channel test say it.

    Raises ConfigError when two steps got different things by the same name: a test cannot say that.
    """
    told: dict[str, dict[str, Any]] = {}
    for lookup in pipeline.lookups:
        if not lookup.asked:
            continue
        answers = told.setdefault(lookup.label, {})
        for key in sorted(lookup.asked, key=repr):
            value = (lookup.answers or {}).get(key)
            name = "|".join(map(str, key))
            if value is None or isinstance(value, Exception):
                continue
            if isinstance(value, dict) and isinstance(known := answers.get(name, {}), dict):
                clash = [one for one in value if one in known and known[one] != value[one]]
                if not clash:
                    answers[name] = {**known, **value}
                    continue
            raise ConfigError(
                f"two lookups of {lookup.label} find different things for the same key", code="lookup.record",
                todo="record it without `--lookups`, and write `lookups` by hand",
            )  # fmt: skip
    return told
