"""A new channel to begin with: its YAML, and a message that it takes.

Guarantees: what is written lints clean, and the message goes through to the operations of its template. Every line
that a user must decide on says so. Refuses (KeyError) a listener or template that there is no beginning for.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.hl7 import events


class Beginning(NamedTuple):
    """What a template is begun with: the message types that bring its events, and the segments of a sample."""

    about: str
    types: tuple[str, ...]  # the first is the sample's
    segments: tuple[str, ...]


BEGINNINGS = {
    "patient": Beginning(
        "Patients and visits",
        ("ADT^A04", "ADT^A01", "ADT^A02", "ADT^A03", "ADT^A08", "ADT^A11", "ADT^A28", "ADT^A31", "ADT^A40"),
        (
            "EVN|A04|20260302091500+0000",
            "PID|1||100234^^^RGH^MR||Keller^Nora^^^^^L||19840917|F|||5 Harbor Street^^Chicago^IL^60601^USA",
            "PV1|1|O|GENCLIN^2^^RGH||||1700000011^Moreau^Claire^^^Dr^^^NPI||||||||||||V-301^^^RGH|||||||||||||||||||||||||20260302091500+0000",
        ),
    ),
    "appointment": Beginning(
        "Appointments",
        ("SIU^S12", "SIU^S13", "SIU^S14", "SIU^S15", "SIU^S17", "SIU^S26"),
        (
            "SCH|P-301^EHR|A-301^SCHED|||||FOLLOWUP^Follow-up visit||||^^30^20260401100000+0000^20260401103000+0000"
            "||||||||||||||Booked",
            "PID|1||100234^^^RGH^MR||Keller^Nora^^^^^L||19840917|F",
            "RGS|1",
            "AIL|1||GENCLIN^2^^RGH",
            "AIP|1||1700000011^Moreau^Claire^^^Dr^^^NPI",
        ),
    ),
    "referral": Beginning(
        "Referrals",
        ("REF^I12", "REF^I13", "REF^I14"),
        (
            "RF1||R||||R-301^EHR||||LBP^Back pain",
            "PRD|RP|Moreau^Claire|||||1700000011^NPI",
            "PID|1||100234^^^RGH^MR||Keller^Nora^^^^^L||19840917|F",
        ),
    ),
    "charge": Beginning(
        "Charges",
        ("DFT^P03", "DFT^P11", "BAR^P01", "BAR^P05"),
        (
            "EVN|P03|20260302091500+0000",
            "PID|1||100234^^^RGH^MR||Keller^Nora^^^^^L||19840917|F|||||||||ACC-301^^^RGH",
            "FT1|1|T-301^EHR||20260302||CG|99213^Office visit^C4|||1|125.00&USD",
        ),
    ),
}
BEGINNINGS["invoice"] = Beginning(
    "Charges as draft invoices", ("DFT^P03", "DFT^P11"), BEGINNINGS["charge"].segments
)
ONLY_FHIR = frozenset({"directory"})
"""Templates that no HL7 message feeds: a channel to begin with would do nothing."""
LISTENERS = {
    "mllp": "mllp: {{port: {port}}} # 127.0.0.1 alone; add `interface` and `tls` for other machines",
    "http": "http: {{port: {port}, path: /{name}}} # add `tls` and `token` for other machines",
    "file": "file: {{path: {name}-inbox, pattern: '*.hl7'}} # relative to this file",
}
PORTS = {"mllp": 2575, "http": 8080, "file": 0}


def channel(name: str, listener: str, template: str, port: int = 0) -> str:
    """The YAML of a channel file; `port` 0 is the usual one of the listener."""
    begin = BEGINNINGS[template]
    width = max(map(len, begin.types))
    types = "\n".join(f"            - {kind:<{width}} # {events.name(kind)}" for kind in begin.types)
    return f"""\
connections:
  # The Odoo database. Without ODOO_URL it is the sandbox: an Odoo stand-in, to try things out.
  odoo:
    odoo:
      url: "${{ODOO_URL:-sandbox:}}"
      database: "${{ODOO_DB:-odoo}}"
      login: "${{ODOO_LOGIN:-}}" # only for Odoo 16 to 18
      api_key: "${{ODOO_API_KEY:-sandbox}}"

channels:
  {name}:
    description: {begin.about} into Odoo
    timezone: UTC # of times without an offset: the zone of the sender
    # mrn: {{authority: RGH, type: MR}} # which PID-3 is the medical record number
    listener:
      {LISTENERS[listener].format(port=port or PORTS[listener], name=name)}
    filters:
      - message_type:
          allow:
{types}
      # Messages of a test system (MSH-11 is T or D) must not reach the books.
      - condition: "msg['MSH-11.1'] not in ('T', 'D')"
    destinations:
      odoo:
        odoo: {{connection: odoo, template: {template}}} # or a copy of it beside this file: {template}.yaml
        on_error: hold_key # later messages of this patient wait until this one is done
"""


def sample(template: str) -> bytes:
    """A message of the template's first type, in the bytes of a sender: segments end with CR."""
    begin = BEGINNINGS[template]
    head = f"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20260302091500+0000||{begin.types[0]}|NEW0001|P|2.5.1"
    return "".join(f"{segment}\r" for segment in (head, *begin.segments)).encode("ascii")
