"""Values from elsewhere for pure steps: asked for, fetched for a whole batch, then read.

    step: lookup.ask(key) -> Wanted, when it is not here      the router collects these over its batch,
    router: fetch(keys)   -> values                           fetches each lookup once, and runs those messages again

Guarantees: one fetch a lookup and batch, however many messages ask; what was found is kept for `ttl` seconds and
`size` keys at most, what was not found only for the batch; a fetch that cannot be made now never turns into
"not there": the messages stay RECEIVED and wait. Refuses nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from engine.errors import IsthmusError, StepError

Key = tuple[Any, ...]
Fetch = Callable[[list[Key]], Awaitable[dict[Key, Any]]]
"""The values of these keys; one that is left out is not there. Raises LookupDown, or IsthmusError for good."""


class LookupDown(IsthmusError):
    """A lookup cannot be answered now; asked again later.

    `held`: the other side refuses us (key, right); only people can mend that, so it is told loudly.
    """

    code = "lookup.down"
    held = False


class Wanted(BaseException):
    """A step needs a value that must be fetched first. Not an Exception, so that no step can swallow it."""

    def __init__(self, lookup: Lookup, key: Key) -> None:
        super().__init__("a value must be fetched")
        self.lookup = lookup
        self.key = key


class Lookup:
    """What one `lookup` step has fetched."""

    def __init__(self, label: str, fetch: Fetch, ttl: float, size: int, field: str = "") -> None:
        self.label = label
        self.field = field  # the one field of a record that counts, "" for all
        self.instead: Mapping[str, Any] | None = None  # of a test: answers by key; nothing is fetched
        self.answers: dict[Key, Any] | None = None  # of a tool: all that it found, as long as it runs
        self.asked: set[Key] = set()  # of a tool: what a message asked for
        self.closed = False  # of a tool: what is not among its answers is not there
        self.fetch = fetch
        self.ttl = ttl
        self.size = size
        self.fetches = 0  # calls of `fetch`
        self._held: dict[Key, Any] = {}  # of this batch: values, None for what is not there, or an error
        self._kept: dict[Key, tuple[float, Any]] = {}  # key -> (until, value), oldest first

    def ask(self, key: Key) -> Any:
        """The value, or None when it is not there. Raises Wanted, or the StepError that the fetch ended with."""
        if self.answers is not None and self.instead is None:
            self.asked.add(key)
            if key in self.answers or self.closed:
                return _value(self.answers.get(key))
            raise Wanted(self, key)
        if key in self._held:
            return _value(self._held[key])
        kept = self._kept.get(key)
        if kept is None:
            if self.instead is not None:
                return self._instead(key, self.instead)
            raise Wanted(self, key)
        return kept[1]

    def _instead(self, key: Key, answers: Mapping[str, Any]) -> Any:
        found = answers.get("|".join(map(str, key)))
        return found if found is None or isinstance(found, dict) or not self.field else {self.field: found}

    def begin(self, now: float) -> None:
        """A batch begins at `now` (seconds): what is too old is forgotten."""
        self._held.clear()
        while self._kept:
            key = next(iter(self._kept))
            if self._kept[key][0] > now:
                break
            del self._kept[key]

    async def get(self, keys: Iterable[Key], now: float) -> None:
        """Fetch these keys at once. Raises LookupDown."""
        wanted = list(dict.fromkeys(keys))
        self.fetches += 1
        try:
            found = await self.fetch(wanted)
        except LookupDown:
            raise
        except IsthmusError as error:
            (self._held if self.answers is None else self.answers).update(dict.fromkeys(wanted, error))
            return
        if self.answers is not None:
            self.answers |= {key: found.get(key) for key in wanted}
            return
        for key in wanted:
            value = self._held[key] = found.get(key)
            if value is not None and self.ttl:
                self._kept.pop(key, None)
                while len(self._kept) >= self.size:
                    del self._kept[next(iter(self._kept))]
                self._kept[key] = now + self.ttl, value


def _value(found: Any) -> Any:
    if isinstance(found, IsthmusError):
        raise StepError(found.what, code=found.code, where=found.where, todo=found.todo)
    return found


async def fetch_all(wanted: Iterable[Wanted], now: float) -> None:
    """Fetch what a batch asked for: each lookup once. Raises LookupDown."""
    by_lookup: dict[Lookup, list[Key]] = {}
    for one in wanted:
        by_lookup.setdefault(one.lookup, []).append(one.key)
    for lookup, keys in by_lookup.items():
        await lookup.get(keys, now)
