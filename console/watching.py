"""The overview for everybody who watches the dashboard: looked at once, whoever many they are.

Guarantees: the store is asked and a page is made once for all who see the same within `oldest` seconds; nobody gets
what another may see. Refuses what the store refuses (StoreError).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable

from console.overview import Overview, Sampler, chosen
from console.rights import sees
from console.stores import Stores
from engine.security.roles import Identity, Role


class Watch:
    """One for the application."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._sampler = Sampler()
        self._lock = threading.Lock()
        self.turn = threading.Lock()  # of who asks something small each time
        self._found: Overview | None = None
        self._looked_at = 0.0
        self._made: dict[Hashable, str] = {}  # of `_found`

    def look(self, oldest: float = 0.0) -> Overview:
        """Everything, at most so many seconds old."""
        with self._lock:
            if self._found is None or time.monotonic() - self._looked_at >= oldest:
                with self._stores.reading() as tx:
                    self._found, self._made = self._sampler.look(tx), {}
                self._looked_at = time.monotonic()
            return self._found

    def seen_by(self, identity: Identity, tag: str = "", oldest: float = 0.0) -> Overview:
        """As far as they may see it; of channels with a tag."""
        found = self.look(oldest)
        allowed = [channel for channel in found.channels if identity.may(Role.VIEWER, channel.name)]
        return Overview(
            at=found.at, running=found.running, pid=found.pid, started_at=found.started_at, store=found.store,
            channels=chosen(allowed, tag), jobs=[job for job in found.jobs if sees(identity, job)],
            tags=sorted({one for channel in allowed for one in channel.tags}), tag=tag,
        )  # fmt: skip

    def made(self, key: Hashable, oldest: float, make: Callable[[], str]) -> str:
        """What `make` makes of the overview, once for all who have the same key."""
        self.look(oldest)
        made = self._made
        if key not in made:
            made[key] = make()
        return made[key]
