"""What HL7 calls its messages: the events of MSH-9 and their structures (HL7 v2.5.1, chapter 3 to 12, table 0354).

Guarantees: a message type without a structure of its own has the one that the standard shares between events (ADT^A08
is an ADT_A01). Refuses, with PathError and the nearest known: a type that the version has not.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

from engine.hl7 import names
from engine.hl7.paths import PathError

EVENTS = {
    "ADT": {
        "A01": "Admit / visit notification", "A02": "Transfer a patient", "A03": "Discharge / end visit",
        "A04": "Register a patient", "A05": "Pre-admit a patient", "A06": "Change an outpatient to an inpatient",
        "A07": "Change an inpatient to an outpatient", "A08": "Update patient information",
        "A09": "Patient departing - tracking", "A10": "Patient arriving - tracking",
        "A11": "Cancel admit / visit notification", "A12": "Cancel transfer",
        "A13": "Cancel discharge / end visit", "A14": "Pending admit", "A15": "Pending transfer",
        "A16": "Pending discharge", "A17": "Swap patients", "A18": "Merge patient information",
        "A20": "Bed status update", "A21": "Patient goes on a leave of absence",
        "A22": "Patient returns from a leave of absence", "A23": "Delete a patient record",
        "A24": "Link patient information", "A25": "Cancel pending discharge", "A26": "Cancel pending transfer",
        "A27": "Cancel pending admit", "A28": "Add person information", "A29": "Delete person information",
        "A30": "Merge person information", "A31": "Update person information",
        "A32": "Cancel patient arriving - tracking", "A33": "Cancel patient departing - tracking",
        "A34": "Merge patient information - patient id only",
        "A35": "Merge patient information - account number only",
        "A36": "Merge patient information - patient id and account number", "A37": "Unlink patient information",
        "A38": "Cancel pre-admit", "A39": "Merge person - patient id",
        "A40": "Merge patient - patient identifier list", "A41": "Merge account - patient account number",
        "A42": "Merge visit - visit number", "A43": "Move patient information - patient identifier list",
        "A44": "Move account information - patient account number",
        "A45": "Move visit information - visit number", "A46": "Change patient id",
        "A47": "Change patient identifier list", "A48": "Change alternate patient id",
        "A49": "Change patient account number", "A50": "Change visit number", "A51": "Change alternate visit id",
        "A52": "Cancel leave of absence", "A53": "Cancel patient returns from leave",
        "A54": "Change attending doctor", "A55": "Cancel change attending doctor",
        "A60": "Update allergy information", "A61": "Change consulting doctor",
        "A62": "Cancel change consulting doctor",
    },
    "BAR": {
        "P01": "Add patient accounts", "P02": "Purge patient accounts", "P05": "Update account",
        "P06": "End account", "P10": "Transmit ambulatory payment classification",
        "P12": "Update diagnosis / procedure",
    },
    "DFT": {"P03": "Post detail financial transaction", "P11": "Post detail financial transactions - expanded"},
    "MDM": {
        "T01": "Original document notification", "T02": "Original document notification and content",
        "T03": "Document status change notification", "T04": "Document status change notification and content",
        "T05": "Document addendum notification", "T06": "Document addendum notification and content",
        "T07": "Document edit notification", "T08": "Document edit notification and content",
        "T09": "Document replacement notification", "T10": "Document replacement notification and content",
        "T11": "Document cancel notification",
    },
    "OML": {"O21": "Laboratory order"},
    "OMG": {"O19": "General clinical order"},
    "ORM": {"O01": "Order message"},
    "ORU": {"R01": "Unsolicited observation message", "R30": "Unsolicited point-of-care observation"},
    "REF": {
        "I12": "Patient referral", "I13": "Modify patient referral", "I14": "Cancel patient referral",
        "I15": "Request patient referral status",
    },
    "RRI": {
        "I12": "Answer to a patient referral", "I13": "Answer to a modified patient referral",
        "I14": "Answer to a cancelled patient referral", "I15": "Answer to a request for referral status",
    },
    "SIU": {
        "S12": "New appointment booking", "S13": "Appointment rescheduling", "S14": "Appointment modification",
        "S15": "Appointment cancellation", "S16": "Appointment discontinuation", "S17": "Appointment deletion",
        "S18": "Addition of service / resource on appointment",
        "S19": "Modification of service / resource on appointment",
        "S20": "Cancellation of service / resource on appointment",
        "S21": "Discontinuation of service / resource on appointment",
        "S22": "Deletion of service / resource on appointment", "S23": "Blocked schedule time slots",
        "S24": "Opened (unblocked) schedule time slots", "S26": "Patient did not show up",
    },
    "SRM": {
        "S01": "Request new appointment booking", "S02": "Request appointment rescheduling",
        "S03": "Request appointment modification", "S04": "Request appointment cancellation",
        "S05": "Request appointment discontinuation", "S06": "Request appointment deletion",
    },
    "VXU": {"V04": "Unsolicited vaccination record update"},
}  # fmt: skip
_SHARED = {
    "ADT_A01": "A04 A08 A13", "ADT_A05": "A14 A28 A31", "ADT_A06": "A07", "ADT_A09": "A10 A11",
    "ADT_A21": "A22 A23 A25 A26 A27 A29 A32 A33", "ADT_A30": "A34 A35 A36 A46 A47 A48 A49",
    "ADT_A39": "A40 A41 A42", "ADT_A43": "A44", "ADT_A50": "A51", "ADT_A52": "A53", "ADT_A54": "A55",
    "ADT_A61": "A62", "MDM_T01": "T03 T05 T07 T09 T11", "MDM_T02": "T04 T06 T08 T10", "REF_I12": "I13 I14 I15",
    "RRI_I12": "I13 I14 I15", "SRM_S01": "S02 S03 S04 S05 S06",
    "SIU_S12": "S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26",
}  # fmt: skip
_STRUCTURE = {
    f"{structure[:3]}^{event}": structure for structure, events in _SHARED.items() for event in events.split()
}


class Message(NamedTuple):
    """A message type: its event, its structure and the segments that this may hold (code, name)."""

    type: str
    name: str
    version: str
    structure: str
    segments: tuple[tuple[str, str], ...]


def name(message_type: str) -> str:
    """`Update patient information` for `ADT^A08`; "" when it has no name here."""
    code, _, event = message_type.partition("^")
    return EVENTS.get(code, {}).get(event.partition("^")[0], "")


def describe(message_type: str, version: str = names.DEFAULT) -> Message:
    """What `ADT^A08`, `ADT^A08^ADT_A01` or `ADT_A01` is. Raises PathError when the version has no such message."""
    version = names.nearest(version)
    code, _, rest = message_type.partition("^")
    event, _, said = rest.partition("^")
    if not rest:  # a structure by its own name
        event, said = code.partition("_")[2], code
        code = code.partition("_")[0]
    kind = f"{code}^{event}"
    known = names.messages(version)
    candidates = (said, _STRUCTURE.get(kind, ""), f"{code}_{event}")
    structure = next((one for one in candidates if one in known), "")
    if not structure:
        types = [f"{one}^{other}" for one, events in EVENTS.items() for other in events]
        close = difflib.get_close_matches(kind, types, 1, 0.6)
        todo = f"did you mean {close[0]}?" if close else "write it as ADT^A08"
        raise PathError(message_type, 1, f"HL7 {version} has no message {message_type}", todo)
    segments = tuple((one, names.segment_name(one)) for one in names.segments_of(structure, version))
    return Message(message_type, name(kind), version, structure, segments)
