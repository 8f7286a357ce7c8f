"""HL7v2 messages → canonical events. Pure: no I/O, no clock; the same bytes give the same events.

Guarantees: the message types of docs/canonical.md give the events listed there; any other gives none. What
cannot be read of an optional field is left out. Refused (`StepError`): a message that does not say whom or
what it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.model import Meta
from transforms.canonical.events import ACTIONS, Event
from transforms.canonical.from_hl7 import documents, finance
from transforms.canonical.from_hl7.adt import MERGES, TRIGGERS, adt
from transforms.canonical.from_hl7.documents import mdm
from transforms.canonical.from_hl7.finance import bar, dft
from transforms.canonical.from_hl7.maker import maker
from transforms.canonical.from_hl7.orders import orders
from transforms.canonical.from_hl7.reader import Reader
from transforms.canonical.from_hl7.referrals import ref, rri
from transforms.canonical.from_hl7.results import oru
from transforms.canonical.from_hl7.siu import siu
from transforms.canonical.from_hl7.siu import types as types_of_siu
from transforms.canonical.from_hl7.vaccinations import vxu
from transforms.canonical.options import Options, options

__all__ = ["Options", "interpret", "interpreter", "options", "types"]

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


def types(code: str, trigger: str) -> frozenset[str]:
    """The types of all events that a message of this type may give, whatever else it says."""
    exact: Any = {"MDM": documents.TRIGGERS, "BAR": finance.ACCOUNTS}.get(code)
    if exact is not None:
        return frozenset({exact[trigger][0]}) if trigger in exact else frozenset()
    if code == "ADT":
        meaning = TRIGGERS.get(trigger)
        found = {MERGES[trigger]} if trigger in MERGES else set()
        if meaning is not None and meaning.patient:
            found.add(f"patient.{meaning.patient}")
        if meaning is not None and meaning.encounter:
            found.add(f"encounter.{meaning.encounter}")
        return frozenset(found)
    if code == "SIU":
        return types_of_siu(trigger)
    if code == "DFT":
        return frozenset(finance.CHARGED.values()) if trigger in ("P03", "P11") else frozenset()
    kinds = {"ORU": "result", "REF": "referral", "RRI": "referral", "VXU": "vaccination"}
    kind = kinds.get(code) or ("order" if code in ADAPTERS else "")
    return frozenset(f"{kind}.{action}" for action in ACTIONS.get(kind, ()))


def interpreter(channel: Mapping[str, Any]) -> Callable[[Any, Meta], list[Event]]:
    """`interpret` for one channel, its options checked now (ConfigError)."""
    chosen = options(channel)

    def run(message: Any, meta: Meta) -> list[Event]:
        return interpret(message, meta, chosen)

    return run
