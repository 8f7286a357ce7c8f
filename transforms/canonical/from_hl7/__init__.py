"""HL7v2 messages → canonical events. Pure: no I/O, no clock; the same bytes give the same events.

Guarantees: the message types of docs/canonical.md give the events listed there; any other gives none. What
cannot be read of an optional field is left out. Refused (`StepError`): a message that does not say whom or
what it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.model import Meta
from transforms.canonical.events import Event
from transforms.canonical.from_hl7.adt import adt
from transforms.canonical.from_hl7.documents import mdm
from transforms.canonical.from_hl7.finance import bar, dft
from transforms.canonical.from_hl7.maker import maker
from transforms.canonical.from_hl7.orders import orders
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.from_hl7.referrals import ref, rri
from transforms.canonical.from_hl7.results import oru
from transforms.canonical.from_hl7.siu import siu
from transforms.canonical.from_hl7.vaccinations import vxu
from transforms.canonical.options import Options, options

__all__ = ["Options", "interpret", "interpreter", "options"]

ADAPTERS = {
    "ADT": adt,
    "BAR": bar,
    "DFT": dft,
    "MDM": mdm,
    "ORU": oru,
    "REF": ref,
    "RRI": rri,
    "SIU": siu,
    "VXU": vxu,
    **dict.fromkeys(("ORM", "OMB", "OMD", "OMG", "OMI", "OML", "OMN", "OMP", "OMS", "RDE"), orders),
}


def interpret(message: Any, meta: Meta, settings: Options | Mapping[str, Any] | None = None) -> list[Event]:
    """The events of a message (an `engine.hl7.er7.Message`), in order.

    `settings` are the channel's options as data (`timezone`, `mrn`, `canonical`), or `Options`. Raises
    StepError when the message does not name its patient or appointment.
    """
    chosen = settings if isinstance(settings, Options) else options(settings or {})
    read = Reader(message, chosen)
    parts = read.one(message.segment("MSH"), 9)
    kind, trigger = read.text(parts, 1), read.text(parts, 2)
    adapter = ADAPTERS.get(kind)
    if adapter is None:
        return []
    return adapter(read, maker(read, meta, f"{kind}^{trigger}"), trigger)


def interpreter(channel: Mapping[str, Any]) -> Callable[[Any, Meta], list[Event]]:
    """`interpret` for one channel, its options checked now (ConfigError)."""
    chosen = options(channel)

    def run(message: Any, meta: Meta) -> list[Event]:
        return interpret(message, meta, chosen)

    return run
