"""Which versions of resources this engine wrote itself, so that a server that tells of them is not answered again.

Guarantee: a version is only ours when the server named it in its answer and everything since the version that the
reader saw last is ours too, so that nobody else's change is ever taken for ours: one that we joined with before the
reader saw it makes our version news. Kept in memory, the last `LIMIT`: what is forgotten, or was written by an engine
before this one, is worked on once more, and writes nothing, because nothing differs.

Who reads asks `own` of every version, however it came: notified, read by its id, or found by a search; and says `seen`
when the message with it is in the store, not before: what could not be stored is still news.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

LIMIT = 20_000
OWN = "written by this engine"
"""Why such a message is FILTERED."""


class Written:
    """The last versions: `Patient/1/_history/3`."""

    def __init__(self) -> None:
        self._before: OrderedDict[str, str] = OrderedDict()  # what a version of ours was made of; "": nothing
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def add(self, version: str, before: str) -> None:
        """Remember a version, and the one that it took the place of ("": it is the first)."""
        if "/_history/" in version and version != before:
            _put(self._before, version, before)

    def own(self, version: str, reader: str) -> bool:
        """Whether `reader` (a channel) has nothing to learn from a version."""
        before: str | None = version
        while before:
            before = self._before.get(before)
            if before == "" or (reader, before) in self._seen:
                break
        if before is None or version not in self._before:
            return False
        self.seen(version, reader)  # so that the way back is short for those that follow
        return True

    def seen(self, version: str, reader: str) -> None:
        """`reader` has a version in its store."""
        if version:
            _put(self._seen, (reader, version), None)

    def __len__(self) -> int:
        return len(self._before)


def _put(kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > LIMIT:
        kept.popitem(last=False)
