"""Edit and replay: the text of a message as people edit it, its bytes again, and the act.

Guarantees: the edited bytes are in the character set and with the line ends of the message; they go to the engine
sealed (engine.store.commands), so neither commands nor the audit log hold patient data; the old message stays as it
is, and the new one names it as its parent.
Refuses (Refused): text that the character set does not have, text that is not changed, what would put older data over
newer (unless `force`), a message without content, or of a channel that they may not act on.
"""

from __future__ import annotations

import re
from pathlib import Path

from console.acting import Desk
from console.compare import Comparison, compare
from console.preview import Foreseen, edited
from console.problems import Refused
from console.rights import on_channel
from engine.errors import HL7Error
from engine.hl7 import charset
from engine.hl7.er7 import Message
from engine.security.roles import Role
from engine.store.messages import raw
from engine.store.stale import Stale, keys_of, stale
from engine.store.tx import Tx

_END = re.compile(rb"\r\n|\r|\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f]")


def text_of(content: bytes) -> str:
    """A message as text with a line for each segment. Refused when a form cannot carry it."""
    text = content.decode(_codec(content), "replace").replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(text):
        raise Refused(
            409, "edit.control", "this message holds control characters, which a form cannot carry",
            "edit a file of it: isthmus messages show ID --raw, then isthmus messages edit ID FILE",
        )  # fmt: skip
    return text


def bytes_of(text: str, content: bytes) -> bytes:
    """Edited text as bytes, in the form of the message that it was."""
    found = _END.search(content)
    end = found[0].decode() if found else "\r"
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    whole = end.join(lines) + (end if content[-1:] in (b"\r", b"\n") else "")
    codec = _codec(content)
    try:
        named = Message(whole.encode())["MSH-18"]
        if named != Message(content)["MSH-18"]:  # another character set is part of the edit
            codec = charset.declared(named) or codec
    except HL7Error:
        pass
    return _encoded(whole, codec)


def _codec(content: bytes) -> str:
    try:
        return Message(content).codec
    except HL7Error:
        return "utf_8"


def _encoded(text: str, codec: str) -> bytes:
    try:
        return text.encode(codec)
    except UnicodeEncodeError as error:
        line = text[: error.start].replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
        raise Refused(
            422, "edit.charset", f"line {line} has a character that the message's character set has not ({codec})",
            "write it otherwise, or say UNICODE UTF-8 in MSH-18",
        ) from None  # fmt: skip


class Edit:
    """One edited message: what it was, what it would be, as its text or, byte for byte, as its `content`."""

    def __init__(self, desk: Desk, message_id: int, text: str, content: bytes = b"") -> None:
        self.desk = desk
        self.id = message_id
        self.old = content_of(desk, message_id)
        self.new = content or bytes_of(text, self.old)

    @property
    def difference(self) -> Comparison:
        """Old and new, with their values."""
        return compare(self.old, self.new, True)

    def effects(self, config: Path) -> list[Foreseen]:
        """What it would change in the destinations, with values."""
        return edited(config, self.desk.stores.data_dir, self.id, self.new, True)

    def stale(self) -> list[Stale]:
        """What was delivered since for the patients of the old and of the new text."""
        with self.desk.stores.reading() as tx:
            more = keys_of(tx, _channel(tx, self.id), self.new)
            return stale(tx, "replay", [self.id], more={self.id: more})

    def replay(self, note: str, force: bool) -> int:
        """Run it as a new message; gives its id."""
        if self.new == self.old:
            raise Refused(422, "edit.same", "nothing was changed", "replay the message as it is")
        if not force and (older := self.stale()):
            self.desk.refused("messages.edit", str(self.id), "stale")
            raise Refused(
                409, "stale", f"message {older[0].newer} was delivered since",
                "put older data over newer on purpose, or edit the newer message", [one._asdict() for one in older],
            )  # fmt: skip
        args = {"id": self.id, "note": note}
        done = self.desk.command("edit", args, "messages.edit", str(self.id), note, sealed=self.new)
        return int(done["id"])


def content_of(desk: Desk, message_id: int) -> bytes:
    """The message byte for byte, for who may act on its channel and see what it holds."""
    with desk.stores.reading() as tx:
        channel, content = _channel(tx, message_id), raw(tx, message_id)
    if not channel or not desk.identity.may(Role.VIEWER, channel):
        raise Refused(404, "message.unknown", f"there is no message {message_id}")
    on_channel(desk.identity, Role.OPERATOR, channel)
    if content is None:
        raise Refused(409, "message.gone", "its content is not kept any more")
    return content


def _channel(tx: Tx, message_id: int) -> str:
    rows = tx.rows("SELECT channel FROM message WHERE id = ?", (message_id,))
    return str(rows[0][0]) if rows else ""
