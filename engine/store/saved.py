"""Searches that people keep by a name: of each user their own, without identifiers of patients."""

from __future__ import annotations

from typing import Any

import orjson

from engine.store.tx import Tx


def searches(tx: Tx, user: str) -> dict[str, dict[str, Any]]:
    """A user's searches by name."""
    rows = tx.rows("SELECT name, query FROM saved_search WHERE user = ? ORDER BY name", (user,))
    return {name: orjson.loads(query) for name, query in rows}


def keep(tx: Tx, user: str, name: str, query: dict[str, Any] | None) -> None:
    """Keep a search by a name; None forgets it."""
    tx.execute("DELETE FROM saved_search WHERE user = ? AND name = ?", (user, name))
    if query is not None:
        tx.execute(
            "INSERT INTO saved_search (user, name, query) VALUES (?, ?, ?)",
            (user, name, orjson.dumps(query).decode()),
        )
