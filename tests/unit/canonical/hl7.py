"""Short messages for the tests of the canonical adapter."""

from __future__ import annotations

from engine.hl7.er7 import Message
from engine.model import Meta
from transforms.canonical.events import Event
from transforms.canonical.from_hl7 import interpret

PID = "PID|1||1001^^^HOSP^MR||Doe^Jane^Q^^^^L||19800102|F"
PV1 = "PV1|1|I|W1^2^B^HOSP||||||||||||||||V1^^^HOSP^VN"


def message(trigger: str, *segments: str, head: str = "20260301120000+0000") -> Message:
    """A message of `ADT^A01` or the like with these segments."""
    lines = [f"MSH|^~\\&|APP|FAC|RECV|CLINIC|{head}||{trigger}|C1|P|2.5.1", *segments]
    return Message(("\r".join(lines) + "\r").encode())


def events(trigger: str, *segments: str, **options) -> list[Event]:
    """What `interpret` makes of it."""
    return interpret(message(trigger, *segments), Meta(), options)


def patient(pid: str, trigger: str = "ADT^A28", **options):
    """The patient of a PID segment."""
    return events(trigger, pid, **options)[0].patient


def booking(*segments: str, trigger: str = "SIU^S12", **options):
    """The appointment of an SIU message."""
    return events(trigger, *segments, **options)[0].appointment
