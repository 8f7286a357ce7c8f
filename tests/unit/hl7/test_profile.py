"""Message profiles: what they demand beyond the standard is found, and a profile can never run code."""

import pickle

import pytest

from engine.errors import ConfigError
from engine.hl7.profile import load
from engine.hl7.validate import validate

GOOD = (
    b"MSH|^~\\&|A|B|C|D|20260101120000||ADT^A01^ADT_A01|1|P|2.5.1\rEVN||20260101120000\r"
    b"PID|||1001^^^HOSP^MR||Secretname^Anna||19991231|F\rPV1||I\r"
)
PROFILE = b"""<?xml version="1.0"?>
<HL7v2xConformanceProfile HL7Version="2.5.1"><HL7v2xStaticDef MsgStructID="ADT_A01">
  <Segment Name="MSH" Usage="R" Min="1" Max="1"/>
  <Segment Name="EVN" Usage="R" Min="1" Max="1"/>
  <Segment Name="PID" Usage="R" Min="1" Max="1">
    <Field Name="Set ID" Usage="O" Min="0" Max="1" Datatype="SI"/>
    <Field Name="Patient ID" Usage="X" Datatype="CX"/>
    <Field Name="Identifiers" Usage="R" Min="1" Max="1" Datatype="CX">
      <Component Name="ID" Usage="R" Datatype="ST" Length="5"/>
      <Component Name="Check Digit" Usage="X" Datatype="ST"/>
      <Component Name="Scheme" Usage="O" Datatype="ID"/>
      <Component Name="Authority" Usage="R" Datatype="HD"/>
    </Field>
    <Field Name="Alternate" Usage="O" Min="0" Max="*" Datatype="CX"/>
    <Field Name="Name" Usage="R" Min="1" Max="*" Datatype="XPN"/>
    <Field Name="Maiden Name" Usage="O" Min="0" Max="1" Datatype="XPN"/>
    <Field Name="Birth" Usage="R" Min="0" Max="1" Datatype="TS"/>
    <Field Name="Sex" Usage="R" Min="1" Max="1" Datatype="IS" Table="1" Length="1"/>
  </Segment>
  <SegGroup Name="PROCEDURE" Usage="O" Min="0" Max="1"><Segment Name="PR1" Usage="R" Min="1" Max="1"/></SegGroup>
  <Segment Name="PV1" Usage="R" Min="1" Max="1"/>
</HL7v2xStaticDef></HL7v2xConformanceProfile>"""


def found(raw: bytes, level: str = "tables") -> set[str]:
    return {str(one) for one in validate(raw, profile=load(PROFILE), level=level)}


def test_what_a_profile_demands() -> None:
    assert found(GOOD, "strict") == set()
    more = GOOD.replace(b"PID|||1001^^^HOSP^MR|", b"PID||9|100001^7~6^^^HOSP|").replace(b"19991231", b"")
    assert found(more) == {
        "PID-2 occurs more often than allowed",
        "PID-3 occurs more often than allowed",
        "PID-3.1 is too long",
        "PID-3.2 occurs more often than allowed",
        "PID-3.4 is required and missing",
        "PID-7 is required and missing",
    }
    assert validate(more, level="tables") == []  # the standard allows all of it
    assert "PR1-3 is required and missing" in found(GOOD + b"PR1|1\r")
    assert found(GOOD.replace(b"|F\r", b"|F|||1 Main St^^Berlin\r")) == set()  # after the last that it names


def test_a_message_that_the_profile_is_not_about() -> None:
    assert found(GOOD.replace(b"A01^ADT_A01", b"A40^ADT_A39")) == {
        "MSH-9 is none of the profile, which has ADT_A01"
    }


def test_the_plain_data_of_hl7apy_is_read_and_no_code() -> None:
    known = load(PROFILE).structures
    assert load(pickle.dumps(dict(known), protocol=2)).structures == known

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return print, ("ran",)

    with pytest.raises(ConfigError, match="no message profile"):
        load(pickle.dumps({"ADT_A01": Evil()}))


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"hello", b"<a/>", b"<a", pickle.dumps([]), pickle.dumps({"a": 1}), pickle.dumps({"a": ("leaf", 1)}),
        PROFILE.replace(b'Name="EVN"', b""), b"<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>",
        b"\x80\x04.", b"cos\nsystem\n(S'true'\ntR.",
    ],
)  # fmt: skip
def test_what_is_no_profile(raw: bytes) -> None:
    with pytest.raises(ConfigError) as caught:
        load(raw)
    assert caught.value.code == "validate.profile"
