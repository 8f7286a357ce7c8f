"""Which places of a message a canonical value comes from: `event.patient.mrn` is PID-3.1, or `identifier.value`.

It is found by experiment (`channels.influence`) on messages that are made for it, with the channel's own options
(which PID-3 is the MRN, the time zone), so it says what runs. Guarantees: no message of anybody is looked at; a value
that none of the made messages has is left out. Refuses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
import orjson
from jinja2 import TemplateSyntaxError, nodes

from channels.build import Builder
from channels.influence import STATE, Facts, Influence, flatten
from engine.errors import IsthmusError
from engine.model import ABSENT, Meta
from engine.spec import sandbox
from engine.spec.channel import ChannelSpec
from transforms.canonical.from_hl7 import ADAPTERS

_PID = (
    "PID|1||1001^^^RGH^MR~P-77^^^REGION^PI||Keller^Nora^Anne^^Ms^^L||19840917|F||2106-3|88 Orchard Lane^Unit 4"
    "^Peoria^IL"
    "^61602^USA^H||^PRN^PH^^1^309^5550101~^PRN^CP^^1^309^5550177~^NET^Internet^nora@example.org|^WPN^PH^^1^309"
    "^5550188"
    "|eng|M|CHR|ACC-9^^^RGH^AN|987-65-4320||||||||||20260401|N\rPD1|||PRACTICE^^77|1700000022^Hart^Ines\r"
)
_PV1 = (
    "PV1|1|I|4EAST^410^A^RGH|R|||1700000011^Moreau^Claire^^^Dr^MD^^NPI|1700000012^Reed^Max^^^^^^NPI||MED|||||||"
    "||V-5^^^RGH"
    "^VN|||||||||||||||||01|||||||20260302091000-0600|20260305091000-0600\rPV2||||K35^Appendicitis^I10\r"
)
_IN1 = (
    "IN1|1|GOLD^Gold plan|INS7|Acme Health|1 Sun St^^Peoria^IL^61602||5550199|G-1||||20260101|20261231||||SEL||"
    "|||||||||||||||||POL-4\r"
)
_ORC = (
    "ORC|NW|P-1^EHR|F-1^LAB||SC||1^^^20260302100000-0600^^R||20260302090000-0600|||1700000011^Moreau^Claire\r"
)
_OBR = (
    "OBR|1|P-1^EHR|F-1^LAB|718-7^Hemoglobin^LN|||20260302093000-0600|||||||||1700000011^Moreau^Claire|||||"
    "|20260302110000-0600||LAB|F|||||||K35^Appendicitis\r"
)
_BODIES = {
    "ADT^A01": _PID + _PV1 + _IN1,
    "ADT^A40": _PID + "MRG|1009^^^RGH^MR|||ACC-8^^^RGH^AN|V-4^^^RGH^VN\r",
    "SIU^S12": "SCH|P-3^EHR|A-3^SCHED||||ROUTINE^Routine|FOLLOWUP^Follow-up visit|OFFICE^Office visit|30|MIN|^^30"
    "^20260401100000-0500^20260401103000-0500|||||1700000011^Moreau^Claire||||1700000012^Reed^Max|||||Booked\r"
    "NTE|1||Bring the letter\r" + _PID + _PV1 + "RGS|1|A\rAIS|1|A|99213^Consultation^CPT|20260401100000-0500||"
    "|30|MIN\r"
    "AIL|1|A|GENCLIN^2^^RGH\rAIP|1|A|1700000011^Moreau^Claire^^^Dr^MD^^NPI|ATT^Attending\r",
    "SIU^S14": "SCH|P-3^EHR|A-3^SCHED||||ROUTINE^Routine|FOLLOWUP^Follow-up visit|||MIN|^^30^20260401100000-0500"
    "^20260401103000-0500|||||||||||||Booked\r" + _PID,
    "ORM^O01": _PID + _PV1 + _ORC + _OBR + "NTE|1||Fasting\rDG1|1||K35^Appendicitis^I10\r",
    "ORU^R01": _PID + _PV1 + _ORC + _OBR + "OBX|1|NM|718-7^Hemoglobin^LN|1|13.5|g/dL^grams|12-16|N|||F||"
    "|20260302103000-0600\r",
    "MDM^T02": _PID + _PV1 + "TXA|1|DS^Discharge summary|TX|20260302|||20260302120000-0600||1700000011^Moreau"
    "^Claire|||D-7"
    "^EHR||||Letter|AU||AV\rOBX|1|TX|1^Text||All is well\r",
    "DFT^P03": _PID + _PV1 + "FT1|1|T-1|B-1|20260302|20260303|CG|99213^Consultation^CPT|Consultation||2|80.00"
    "^USD|40.00"
    "^USD|MED|INS7||4EAST||||1700000011^Moreau^Claire\r" + _IN1,
    "BAR^P01": _PID + _PV1 + "DG1|1||K35^Appendicitis^I10|||A\rGT1|1||Keller^Otto||1 Main^^Peoria|5550100\r" + _IN1,
    "REF^I12": "RF1|P^Pending|R^Routine|CON^Consultation|WR|OUT|RF-1^EHR|20260302|20260902|20260301|RSN^Pain"
    "|RF-2^HOSP\r"
    "PRD|RP|Hart^Ines|1 Main^^Peoria||||1700000022^NPI\rPRD|RT|Moreau^Claire|||||1700000011^NPI\r" + _PID
    + "DG1|1||K35^Appendicitis^I10\r",
    "VXU^V04": _PID + "ORC|RE||IM-1^EHR\rRXA|0|1|20260302|20260302|08^HepB^CVX|0.5|mL||00|1700000011^Moreau^Claire"
    "|^^^RGH||||LOT-7|20270101|MSD^Merck|||CP|A\rRXR|IM^Intramuscular|LD^Left deltoid\r",
}  # fmt: skip
_OTHERS = {"RRI": "REF^I12", **{code: "ORM^O01" for code in ADAPTERS if code.startswith(("OM", "RDE"))}}


def _hl7(code: str) -> list[bytes]:
    """The made messages of a message code."""
    of_code = [kind for kind in _BODIES if kind.startswith(code)]
    found = [(kind, _BODIES[kind]) for kind in of_code]
    if not found and code in _OTHERS:
        found = [(code + _OTHERS[code][3:], _BODIES[_OTHERS[code]])]
    head = "MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20260301083000-0600||{}|S1|P|2.5.1\rEVN||20260301083000-0600\r"
    return [(head.format(kind) + body).encode() for kind, body in found]


_FHIR: dict[str, dict[str, Any]] = {
    "Patient": {
        "identifier": [{"system": "urn:rgh", "value": "1001", "type": {"coding": [{"code": "MR"}]}}], "active": True,
        "name": [{"use": "official", "family": "Keller", "given": ["Nora", "Anne"], "prefix": ["Ms"], "text": "Nora"}],
        "telecom": [{"system": "phone", "value": "5550101", "use": "home"}, {"system": "email", "value": "n@x.org"},
                    {"system": "phone", "value": "5550177", "use": "mobile"}],
        "gender": "female", "birthDate": "1984-09-17", "deceasedBoolean": False,
        "address": [{"line": ["88 Orchard Lane", "Unit 4"], "city": "Peoria", "state": "IL", "postalCode": "61602",
                     "country": "US"}],
        "maritalStatus": {"coding": [{"code": "M"}]}, "communication": [{"language": {"coding": [{"code": "en"}]}}],
    },
    "Encounter": {
        "identifier": [{"system": "urn:rgh:visit", "value": "V-5"}], "status": "in-progress",
        "class": {"code": "IMP"}, "subject": {"reference": "Patient/1"}, "type": [{"text": "Stay"}],
        "period": {"start": "2026-03-02T09:10:00-06:00", "end": "2026-03-05T09:10:00-06:00"},
        "location": [{"location": {"display": "4 East", "reference": "Location/4"}}],
        "participant": [{"individual": {"reference": "Practitioner/7", "display": "Claire Moreau"}}],
        "reasonCode": [{"coding": [{"code": "K35", "display": "Appendicitis"}]}],
    },
    "Appointment": {
        "identifier": [{"system": "urn:sched", "value": "A-3"}], "status": "booked", "description": "Follow-up",
        "start": "2026-04-01T10:00:00-05:00", "end": "2026-04-01T10:30:00-05:00", "minutesDuration": 30,
        "comment": "Bring the letter", "serviceType": [{"coding": [{"code": "99213", "display": "Consultation"}]}],
        "participant": [{"actor": {"reference": "Patient/1", "display": "Nora K"}, "status": "accepted"},
                        {"actor": {"reference": "Practitioner/7", "display": "Claire Moreau"}, "status": "accepted"}],
    },
}  # fmt: skip


def _fhir(kind: str) -> list[bytes]:
    body = _FHIR.get(kind)
    return [orjson.dumps({"resourceType": kind, "id": "1", **body})] if body else []


def chains(text: str, names: Mapping[str, str]) -> set[str]:
    """The canonical values that a text reads, as `event.patient.mrn`; `names` are variables and what they stand for."""
    found: set[str] = set()
    for node in _trees(text):
        _collect(node, names, found, ())
    return {one for one in found if one.count(".") > 1}


_plain = sandbox.Environment()


@lru_cache(maxsize=4096)
def _trees(text: str) -> tuple[nodes.Node, ...]:
    source = text if "{{" in text or "{%" in text else "{{ (" + text + ") }}"
    try:
        return (_plain.parse(source),)
    except (TemplateSyntaxError, ValueError, RecursionError):
        return ()


def _collect(node: nodes.Node, names: Mapping[str, str], found: set[str], open_: tuple[str, ...]) -> None:
    chain = _chain(node, names, open_)
    if chain:
        found.add(chain)
        return
    if isinstance(node, nodes.Name) and node.name in names and node.name not in open_:
        for tree in _trees(names[node.name]):
            _collect(tree, names, found, (*open_, node.name))
    for child in node.iter_child_nodes():
        _collect(child, names, found, open_)


def _chain(node: nodes.Node, names: Mapping[str, str], open_: tuple[str, ...]) -> str:
    """`event.a.b` of attributes that hang on `event`, or on a name that stands for such; else ""."""
    if isinstance(node, nodes.Getattr):
        before = _chain(node.node, names, open_)
        return f"{before}.{node.attr}" if before else ""
    if isinstance(node, nodes.Getitem):
        return _chain(node.node, names, open_)
    if isinstance(node, nodes.Name) and node.name == "event":
        return "event"
    if isinstance(node, nodes.Name) and node.name in names and node.name not in open_:
        (tree,) = _trees(names[node.name]) or (None,)
        body = tree.body if isinstance(tree, nodes.Template) else []
        if len(body) == 1 and isinstance(body[0], nodes.Output) and len(body[0].nodes) == 1:
            return _chain(body[0].nodes[0], names, (*open_, node.name))
    return ""


class Origins:
    """Where the canonical values of one channel come from."""

    def __init__(self, builder: Builder, spec: ChannelSpec, allowed: Iterable[str]) -> None:
        self._format = builder.format(spec)
        self._interpret = builder.canonical(spec)
        codes = list(dict.fromkeys(kind.partition("^")[0] for kind in allowed))
        hl7 = self._format.name == "hl7v2"
        codes = codes or list(dict.fromkeys(kind[:3] for kind in _BODIES) if hl7 else _FHIR)
        make = _hl7 if hl7 else _fhir
        self._messages = [raw for code in codes for raw in make(code)] if self._interpret is not None else []

    def of(self, wanted: Iterable[str]) -> dict[str, list[str]]:
        """By value the places of the message, in its order; positions of repetitions left out."""
        told: dict[str, list[str]] = {one: [] for one in sorted(set(wanted))}
        for raw in self._messages if told else ():
            parse = self._format.parse
            influence = Influence(raw, lambda data: self._facts(data, tuple(told)), parse)
            influence.places([one for one in parse(raw).leaves() if not one[0].startswith("MSH")])
            for key, places in influence.found.items():
                if key[0] == "value":
                    known = told[key[1]]
                    known += [place for place in map(general, places) if place not in known]
        return {one: places for one, places in told.items() if places}

    def _facts(self, raw: bytes, wanted: tuple[str, ...]) -> Facts:
        try:
            header = self._format.peek(raw)
            meta = Meta(1, "", 0, header.control_id, header.type, header.sender)
            events = self._interpret(self._format.parse(raw), meta)
        except IsthmusError as error:
            return {STATE: ("ERROR", error.code)}
        facts: Facts = {STATE: (tuple(event.type for event in events),)}
        for number, event in enumerate(events):
            for one in wanted:
                value = _value(event, one.split(".")[1:])
                flatten(msgspec.to_builtins(value, enc_hook=str), ("value", one, number), facts)
        return facts


def _value(found: Any, attributes: list[str]) -> Any:
    """An attribute of an attribute, as expressions read it; of lists that of each item."""
    for index, name in enumerate(attributes):
        if isinstance(found, list):
            return [_value(item, attributes[index:]) for item in found]
        found = _plain.getattr(found, name)
        if found is ABSENT or isinstance(found, sandbox.Undefined):
            return None
    return found


def general(path: str) -> str:
    """A place without the numbers of repetitions and items."""
    return re.sub(r"\[[^\]]*\]", "", path)
