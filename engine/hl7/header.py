"""The fields of an MSH segment, as they came, and what messages of one kind have in common.

Guarantees: texts are as in the message, escapes not resolved; what is not there is an empty text. Refuses nothing:
whether a header can be used is decided by `engine.hl7.peek`.
"""

from __future__ import annotations

from typing import Any

from engine.hl7.delimiters import Delimiters


class Kind:
    """What all messages of one kind from one sender have in common: MSH without MSH-7 and MSH-10.

    Made once and looked up by the bytes of the line, so that a message costs little more than that look-up.
    """

    __slots__ = (
        "codec",
        "delimiters",
        "fields",
        "form",
        "message_code",
        "plain",
        "readers",
        "sender",
        "type",
    )

    def __init__(self, fields: list[str], given: Delimiters, codec: str, plain: bool) -> None:
        self.fields = fields  # fields[n] is MSH-(n+1)
        self.delimiters = given
        self.codec = codec  # the Python codec that the header was read with
        self.plain = plain  # ASCII, no control characters
        self.form: Any = None  # of acknowledgements: engine.hl7.ack
        self.readers: dict[
            tuple[str, ...], list[Any]
        ] = {}  # paths -> what reads them: engine.hl7.peek.values
        self.sender = f"{self.field(3)}|{self.field(4)}"
        code, *more = self.field(9).split(given.repetition, 1)[0].split(given.component, 2)
        self.message_code = code.strip()
        trigger = more[0].strip() if more else ""
        self.type = f"{self.message_code}^{trigger}" if trigger else self.message_code

    def field(self, number: int) -> str:
        """MSH-`number` as in the message, from MSH-2 on."""
        fields = self.fields
        return fields[number - 1] if number <= len(fields) else ""


class Header:
    """MSH, read when asked. Texts are as in the message, escapes not resolved; what is not there is ``."""

    __slots__ = ("control", "control_id", "datetime", "kind")

    def __init__(self, kind: Kind, control: str, datetime: str) -> None:
        self.kind = kind
        self.control = control  # MSH-10, as it came
        self.control_id = control.strip()
        self.datetime = datetime  # MSH-7, as text

    def _of_type(self, component: int) -> str:
        given = self.kind.delimiters
        parts = self.kind.field(9).split(given.repetition, 1)[0].split(given.component)
        return parts[component - 1].strip() if component <= len(parts) else ""

    @property
    def delimiters(self) -> Delimiters:
        """MSH-1 and MSH-2."""
        return self.kind.delimiters

    @property
    def codec(self) -> str:
        """The Python codec that the header was read with; empty for ASCII."""
        return self.kind.codec

    @property
    def separator(self) -> str:
        """MSH-1."""
        return self.delimiters.field

    @property
    def encoding_characters(self) -> str:
        """MSH-2 as it should have been written."""
        return self.delimiters.encoding_characters

    @property
    def sending_application(self) -> str:
        """MSH-3."""
        return self.kind.field(3)

    @property
    def sending_facility(self) -> str:
        """MSH-4."""
        return self.kind.field(4)

    @property
    def receiving_application(self) -> str:
        """MSH-5."""
        return self.kind.field(5)

    @property
    def receiving_facility(self) -> str:
        """MSH-6."""
        return self.kind.field(6)

    @property
    def message_code(self) -> str:
        """MSH-9.1: `ADT`."""
        return self.kind.message_code

    @property
    def trigger(self) -> str:
        """MSH-9.2: `A01`."""
        return self._of_type(2)

    @property
    def structure(self) -> str:
        """MSH-9.3: `ADT_A01`."""
        return self._of_type(3)

    @property
    def type(self) -> str:
        """`ADT^A01`, or the message code alone when there is no trigger event."""
        return self.kind.type

    @property
    def processing_id(self) -> str:
        """MSH-11."""
        return self.kind.field(11)

    @property
    def version(self) -> str:
        """MSH-12.1."""
        return self.kind.field(12).split(self.delimiters.component, 1)[0].strip()

    @property
    def accept_ack(self) -> str:
        """MSH-15 (HL7 table 0155: AL, NE, ER, SU)."""
        return self.kind.field(15).strip()

    @property
    def application_ack(self) -> str:
        """MSH-16 (HL7 table 0155)."""
        return self.kind.field(16).strip()

    @property
    def charset(self) -> str:
        """MSH-18, as text."""
        return self.kind.field(18)

    @property
    def sender(self) -> str:
        """`APP|FACILITY`: who sent it, as duplicate checks and statistics name it."""
        return self.kind.sender

    def field(self, number: int) -> str:
        """MSH-`number` as in the message."""
        if number == 1:
            return self.delimiters.field
        if number == 7:
            return self.datetime
        return self.control if number == 10 else self.kind.field(number)

    def __repr__(self) -> str:
        return f"<header {self.type} {self.version}>"


def header_of(fields: list[str], given: Delimiters, codec: str = "", plain: bool = False) -> Header:
    """A header of the texts of its fields."""
    fields = fields[:]
    datetime = control = ""
    if len(fields) > 6:
        datetime, fields[6] = fields[6], ""
    if len(fields) > 9:
        control, fields[9] = fields[9], ""
    return Header(Kind(fields, given, codec, plain), control, datetime)
