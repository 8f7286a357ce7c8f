"""What a listener must know after a restart: one short text a channel. It holds no patient data."""

from __future__ import annotations

from engine.store.tx import Tx


def noted(tx: Tx, channel: str) -> str:
    """What was noted last; "" for nothing."""
    row = tx.execute("SELECT value FROM setting WHERE name = ?", (_name(channel),)).fetchone()
    return str(row[0]) if row else ""


def note(tx: Tx, channel: str, text: str) -> None:
    """Note a text in the place of the last one."""
    tx.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)", (_name(channel), text))


def _name(channel: str) -> str:
    return f"listener:{channel}"
