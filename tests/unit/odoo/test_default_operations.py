"""Each message type of business is an event, of which a shipped template makes in Odoo what docs/canonical.md says, and
nothing more when it comes again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.hl7.er7 import Message
from engine.model import Meta
from tests.unit.odoo.test_business_templates import IN1, PID, rendered, sent
from transforms.canonical.from_hl7 import interpret

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "canonical.md"
ROW = re.compile(
    r"^\| ([A-Z]{3}) ([A-Z]\d\d) \| `(\w+\.\w+)` \| `(\w+)` \| (\w+) `([\w.]+)` \|", re.MULTILINE
)
DOCUMENTED = {
    f"{code}^{trigger}": tuple(rest) for code, trigger, *rest in ROW.findall(DOCUMENT.read_text("utf-8"))
}
ORDERED = ("ORC|NW|P{n}^EHR", "OBR|1|P{n}^EHR||CBC^Blood count^L")
MESSAGES = {
    "DFT^P03": (PID, "FT1|1|T{n}^B||20260228||CG|99213^Office visit^C4|||1|125.00&USD", IN1),
    "BAR^P01": (PID, IN1),
    "REF^I12": (
        "RF1||S||||R{n}^CL||||LBP^Back pain", PID, "PRD|RP|House^Greg|||||{n}^NPI", "PRD|RT|Bone^Ann|||||B{n}^X"
    ),
    "ORM^O01": (PID, *ORDERED),
    "OMG^O19": (PID, *ORDERED),
    "OML^O21": (PID, *ORDERED),
    "ORU^R01": (
        PID, f"OBR|1|P{{n}}^EHR|F{{n}}^LAB|CBC^Blood count^L{'|' * 21}F", "OBX|1|NM|WBC^Cells^L||7|10*3/uL|||||F"
    ),
    "MDM^T02": (PID, "TXA|1|DS|TX|||||||||D{n}^EHR|||||AU", "OBX|1|TX|DS^Summary^L||Well||||||F"),
    "VXU^V04": (PID, "ORC|RE||F{n}^EHR", "RXA|0|1|20260301||207^Moderna^CVX|0.5|mL"),
}  # fmt: skip


def test_the_table_has_every_type():
    assert DOCUMENTED.keys() == MESSAGES.keys()


@pytest.mark.parametrize("trigger", MESSAGES)
def test_it_is_an_event_and_a_default_operation(odoo, trigger):
    event, template, op, model = DOCUMENTED[trigger]
    text = "\r".join([f"MSH|^~\\&|APP|F|||20260301||{trigger}|C1|P|2.5.1", *MESSAGES[trigger]])
    assert [one.type for one in interpret(Message(text.encode()), Meta())] == [event]
    made = rendered(odoo, template, trigger, *MESSAGES[trigger])
    assert (op, model) == (made[-1]["op"], made[-1]["model"])
    assert sent(odoo, made)[-1] == "created"
    assert set(sent(odoo, rendered(odoo, template, trigger, *MESSAGES[trigger]))) == {"unchanged"}
    assert len(odoo.find("res.partner", [["ref", "=", odoo.run_id]], "name")) == 1
