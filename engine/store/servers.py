"""Where the destinations of the running configuration write, for who shows people a record there.

Guarantees: addresses of servers alone, without names or passwords in them. Refuses nothing: a destination whose server
is not known has "".
"""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from engine.store.tx import Tx

_SETTING = "servers"
Servers = dict[str, dict[str, str]]
"""Channel -> destination -> address."""


def keep(tx: Tx, servers: Mapping[str, Mapping[str, str]]) -> None:
    """Keep the addresses; the engine does it at its start and after a reload."""
    safe = {
        channel: {name: url for name, url in some.items() if url and "@" not in url}
        for channel, some in servers.items()
    }
    value = orjson.dumps({channel: some for channel, some in safe.items() if some}).decode()
    tx.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (_SETTING, value))


def known(tx: Tx) -> Servers:
    """The addresses as the engine last ran."""
    rows = tx.rows("SELECT value FROM setting WHERE name = ?", (_SETTING,))
    found: Servers = orjson.loads(rows[0][0]) if rows else {}
    return found
