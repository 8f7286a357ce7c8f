"""The answers that the sender of a message would get from a channel.

Guarantees: the same levels and modes as a running channel; id and time of the answer are those of a trial.
"""

from __future__ import annotations

from typing import Any

from channels.answers import level_of, problem, wanted
from channels.pipeline import Rendered
from engine.errors import HL7Error
from engine.formats.base import Format
from engine.spec.options import ChannelOptions
from engine.states import MessageState

ACK_ID = "TRY"


def refusal(form: Format, error: HL7Error, now: int) -> list[bytes]:
    """The answer to bytes that cannot be read."""
    return [form.acknowledge(None, error.ack, error, ACK_ID, now)]


def answers(form: Format, options: ChannelOptions, header: Any, result: Rendered, now: int) -> list[bytes]:
    """The answers, the one of acceptance first. With `delivered` as if the destinations take it."""
    late = "AE" if result.state == MessageState.ERROR else "AA"
    trouble = problem(result.code, result.text, result.place) if late == "AE" else None
    found: list[tuple[str, HL7Error | None]] = [(late, trouble)]
    if options.ack_mode == "enhanced" and (header.accept_ack or header.application_ack):
        good = late == "AA"
        found = [("CA", None)] if wanted(header.accept_ack, good=True) else []
        found += [(late, trouble)] if wanted(header.application_ack, good=good) else []
    elif level_of(options, header.type) == "stored":
        found = [("AA", None)]
    return [form.acknowledge(header, code, why, ACK_ID, now) for code, why in found]
