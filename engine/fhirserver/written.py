"""Which versions of resources this engine wrote itself, so that a server that tells of them is not answered again.

Guarantee: only versions that the server itself named in its answer are known, so nobody else's change is ever taken
for ours. Kept in memory, the last `LIMIT`: what is forgotten, or was written by an engine before this one, is worked
on once more, and writes nothing, because nothing differs.
"""

from __future__ import annotations

from collections import OrderedDict

LIMIT = 20_000


class Written:
    """The last versions: `Patient/1/_history/3`."""

    def __init__(self) -> None:
        self._versions: OrderedDict[str, None] = OrderedDict()

    def add(self, version: str) -> None:
        """Remember a version."""
        if "/_history/" in version:
            self._versions[version] = None
            self._versions.move_to_end(version)
            if len(self._versions) > LIMIT:
                self._versions.popitem(last=False)

    def __contains__(self, version: object) -> bool:
        return version in self._versions

    def __len__(self) -> int:
        return len(self._versions)
