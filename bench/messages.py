"""Synthetic ADT^A01 messages of about 1 KB: every number gives another patient, visit and control id."""

from __future__ import annotations

_FAMILY = (b"Adler", b"Bianchi", b"Carvalho", b"Dubois", b"Eriksen", b"Fischer", b"Garcia", b"Horvat", b"Ito")
_GIVEN = (
    b"Anna",
    b"Bruno",
    b"Clara",
    b"David",
    b"Elena",
    b"Felix",
    b"Greta",
    b"Hugo",
    b"Ines",
    b"Jan",
    b"Kim",
)
_TOWN = (b"Springfield", b"Riverton", b"Lakeview", b"Fairmont", b"Oakdale", b"Milford", b"Ashland")
_TEMPLATE = (
    b"MSH|^~\\&|BENCH|HOSP|ISTHMUS|CLINIC|20260315%(time)06d||ADT^A01^ADT_A01|%(id)s|P|2.5.1|||AL|NE\r"
    b"EVN|A01|20260315%(time)06d|||REG%(few)d^Desk^Reception^^^^^^HOSP\r"
    b"PID|1||%(mrn)d^^^HOSP^MR~9%(mrn)08d^^^SSA^SS||%(family)s^%(given)s^%(middle)c^^^^L||19%(year)02d%(month)02d"
    b"15|F|||%(house)d Main Street^Apt %(few)d^%(town)s^IL^%(zip)05d^USA^H||^PRN^PH^^1^217^%(phone)07d"
    b"~^NET^Internet^p%(mrn)d@example.org|^WPN^PH^^1^217^%(work)07d|en|M|CHR|A%(mrn)d^^^HOSP^AN||||||||||||N\r"
    b"PD1|||Family Medicine^^104%(few)02d|14775%(few)02d345^Doctor^Daniel^^^Dr^MD^^NPI\r"
    b"NK1|1|%(family)s^%(kin)s|SPO^Spouse^HL70063|%(house)d Main Street^^%(town)s^IL^%(zip)05d^USA|^PRN^PH^^1^217^"
    b"%(work)07d||EC^Emergency Contact^HL70131\r"
    b"PV1|1|I|%(few)dW^3%(month)02d^B^HOSP^^^^N||||14775%(few)02d345^Doctor^Daniel^^^Dr^MD^^NPI|1558466790^Lind"
    b"^Anna^^^Dr^MD^^NPI||MED||||7|||14775%(few)02d345^Doctor^Daniel^^^Dr^MD^^NPI|IP|V%(visit)d^^^HOSP^VN||||||||||"
    b"|||||||||||||||20260315%(time)06d\r"
    b"AL1|1|DA^Drug Allergy^HL70127|70618^Penicillin^RXNORM|SV^Severe^HL70128|Rash|2009%(month)02d04\r"
    b"DG1|1||J18.%(few)d^Pneumonia^I10C||20260315|A\r"
    b"IN1|1|PPO00%(few)d^Health Plan PPO|HPSIL0%(few)d|Health Plan|PO Box %(house)d^^%(town)s||||GRP%(few)d\r"
)


def adt(number: int, control_id: bytes, patients: int = 1_000_000) -> bytes:
    """Message `number`, of one of `patients` patients."""
    patient = number % patients
    return _TEMPLATE % {
        b"id": control_id,
        b"time": number % 24 * 10000 + number % 60 * 100,
        b"mrn": 1_000_000 + patient,
        b"family": _FAMILY[patient % 9],
        b"given": _GIVEN[patient % 11],
        b"kin": _GIVEN[patient % 7],
        b"middle": b"ABCDEFGHJKLM"[patient % 12],
        b"year": 30 + patient % 70,
        b"month": 1 + patient % 12,
        b"house": 1 + patient * 7 % 9973,
        b"few": 1 + patient % 9,
        b"town": _TOWN[patient % 7],
        b"zip": patient * 13 % 99991,
        b"phone": patient * 7919 % 9999991,
        b"work": patient * 31 % 9999973,
        b"visit": 5_000_000 + number,
    }
