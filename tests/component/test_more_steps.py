"""Filters and transformers: what they do to HL7 and FHIR messages, and what they refuse."""

from pathlib import Path

import orjson
import pytest
import yaml
from pydantic import ValidationError

from engine.errors import ConfigError, StepError
from engine.fhir.resource import Fhir
from engine.formats.delimited import Delimited
from engine.formats.json import Json
from engine.formats.xml import Xml
from engine.hl7.format import Hl7v2
from engine.model import CLEAR, Meta, Scope
from engine.spec.component import BuildContext, registry
from engine.spec.tables import load_tables

RECEIVED = 1_772_323_200_000_000  # 2026-03-01 00:00 UTC
SECRET = "ZEBRAFISH"
RAW = (
    "MSH|^~\\&|EHR^1.2.3^ISO|RGH|ISTHMUS|CLINIC|20260301||ADT^A01|C1|P|2.5.1\r"
    "PID|1||7^^^RGH^MR~8^^^X^PI||O'BRIEN^MARY  ANN||19800229|F|||1 MAIN ST^^BERLIN^^10115~2 Elm^^^bb^x1||"
    f'0555 1234~(0)555-99|""|||||{SECRET}\r'
    "NK1|1|ONE^A\rNK1|2|TWO^B\rPV1|1|I|W1^R2|||||||||||||||||||||||||||||||||||||||||202602281200\r"
).encode()
HL7, FHIR = Hl7v2(), Fhir()
PATIENT = orjson.dumps(
    {
        "resourceType": "Patient",
        "active": True,
        "name": [{"family": "SMITH", "given": ["ANN", "BEA"]}],
        "telecom": [{"system": "phone", "value": "0555 1"}, {"system": "email", "value": "a@b"}],
        "birthDate": "1980-02-29",
    }
)
TIDY = ["date: {paths: [PID-7]}", "name: {paths: [PID-5.1]}", "address: PID-11", "phone: {paths: [PID-13]}"]


def build(text, form=HL7, base=Path(), **options):
    ((name, settings),) = yaml.safe_load(text).items()
    found = registry.get("filter", name) or registry.get("transformer", name)
    tables = load_tables({"sex": {"values": {"F": "female"}, "otherwise": "error"}}, None)
    context = BuildContext(base=base, tables=tables, format=form, options={"timezone": "UTC", **options})
    return found.settings.model_validate(settings).build(context)


def scope(form=HL7, raw=RAW, **meta):
    meta = {"received_at": RECEIVED, "id": 7, "control_id": "C1", "type": "ADT^A01", **meta}
    return Scope(form.parse(raw), Meta(**meta))


def run(text, form=HL7, raw=RAW, where=None, **options):
    where = where or scope(form, raw)
    return build(text, form, **options)(where), where


@pytest.mark.parametrize(
    "text",
    [
        "sender: {}",
        "sender: {aplication: X}",
        "sender: {peer: nowhere}",
        "sample: {}",
        "sample: {every: 1}",
        "sample: {share: 0.5, every: 3}",
        "sample: {every: 3, by: x}",
        "date_window: {path: PV1-44}",
        "date_window: {path: PV1-44, after: soon}",
        "date_window: {path: PV1-44, after: -30x}",
        "map: {}",
        "map: {vars: {msg: PID-3}}",
        "map: {fields: {PID-8: {from: PID-8, value: x}}}",
        "redact: {paths: []}",
        "redact: {paths: [PID-3], how: hash}",
        "redact: {paths: [PID-3], how: hash, key: short}",
        "validate: {on_problem: ignore}",
        "date: {paths: [PID-7], to: rfc}",
        "name: {}",
        'phone: {paths: [PID-13], country: "+49"}',
        "address: {}",
        "address: {path: PID-11, city: PID-11.3}",
        "address: {city: a, default_country: DE}",
        "route: {}",
        "route: {by: x}",
        "route: {rules: [{when: x}]}",
    ],
)
def test_bad_settings_are_refused(text):
    with pytest.raises(ValidationError):
        build(text)


@pytest.mark.parametrize(
    ("text", "form", "hint"),
    [
        ("map: {fields: {PID-8: {from: PID-8, table: sexx}}}", HL7, "sex"),
        ("map: {fields: {PID8: PID-3}}", HL7, "PID"),
        ("map: {fields: {PID-8: {from: PID-8, table: sex, column: odoo}}}", HL7, "column"),
        ("redact: {paths: ['a..b']}", Json(), "a..b"),
        ("date: {paths: ['/a[']}", Xml(), "XPath"),
        ("route: {rules: [{when: 'true', to: wrad}]}", HL7, "ward"),
        ("route: {rules: [{when: '1 +', to: ward}]}", HL7, "read"),
        ("sample: {share: 0.5, by: '1 +'}", HL7, "read"),
        ("duplicate: {by: PID3}", HL7, "PID"),
        ("duplicate: {ignore: ['/a[']}", Xml(), "XPath"),
        ("validate: {version: '9.9'}", HL7, "9.9"),
        ("validate: {version: R3}", FHIR, "R4B"),
        ("validate: {level: tables}", FHIR, "HL7 v2"),
        ("validate: {profile: nowhere.xml}", HL7, "No such file"),
        ("validate: {}", Json(), "no standard"),
        ("sender: {facility: RGH}", FHIR, "HL7 v2"),
    ],
)
def test_what_cannot_be_built_is_a_configuration_error(text, form, hint):
    with pytest.raises(ConfigError, match=hint):
        build(text, form, destinations=["ward", "main"])


@pytest.mark.parametrize(
    ("settings", "peer", "passes"),
    [
        ("{application: EHR}", "", True),
        ("{application: 'EHR^1.2.3^ISO', facility: [X, RGH]}", "", True),
        ("{application: 'E*', facility: X}", "", False),
        ("{receiving_application: ISTHMUS, receiving_facility: CLINIC}", "", True),
        ("{receiving_facility: X}", "", False),
        ("{application: EHR, deny: true}", "", False),
        ("{application: X, deny: true}", "", True),
        ("{peer: 10.0.0.0/8}", "10.1.2.3:4711", True),
        ("{peer: 10.0.0.0/8}", "[::ffff:10.1.2.3]:4711 ehr.example", True),
        ("{peer: 10.0.0.0/8}", "11.1.2.3:4711", False),
        ("{peer: '::1'}", "[::1]:1", True),
        ("{peer: 10.0.0.0/8}", "file", False),
        ("{client: 'ehr.*'}", "10.1.2.3:4711 ehr.example", True),
        ("{client: 'ehr.*'}", "10.1.2.3:4711", False),
    ],
)
def test_sender(settings, peer, passes):
    reason, _ = run(f"sender: {settings}", where=scope(peer=peer))
    assert (reason is None) is passes


@pytest.mark.parametrize(
    ("settings", "form", "first", "second", "same"),
    [
        ("{}", HL7, RAW, RAW, True),
        ("{}", HL7, RAW, RAW.replace(b"C1", b"C2"), False),
        (
            "{ignore: [MSH-10, NK1-2, OBX-5]}",
            HL7,
            RAW,
            RAW.replace(b"C1", b"C2").replace(b"TWO", b"TEN"),
            True,
        ),
        ("{ignore: PID-3}", HL7, RAW, RAW.replace(b"~8^^^X", b"~9^^^X"), True),
        ("{by: [PID-3.1, PID-8]}", HL7, RAW, RAW.replace(b"|F|", b"||"), False),
        ("{by: [PID-3.1, PID-14]}", HL7, RAW, RAW.replace(b'""', b""), False),
        ("{by: [PID-3.1, PID-3.4]}", HL7, RAW, RAW.replace(b"7^^^RGH", b"7R^^^GH"), False),
        ("{by: birthDate, window: 1h}", FHIR, PATIENT, PATIENT.replace(b"ANN", b"EVE"), True),
        ("{ignore: name.family}", FHIR, PATIENT, PATIENT.replace(b"SMITH", b"SMYTH"), True),
        ("{by: /a}", Json(), b'{"a": {"b": 1}}', b'{"a": {"b": 2}}', False),
        ("{by: /a}", Json(), b'{"a": 1}', b'{"a": "1"}', True),
        ("{ignore: /at}", Json(), b'{"a":1,"at":5}', b'{"a":1,"at":6}', True),
    ],
)
def test_duplicate_knows_a_message(settings, form, first, second, same):
    check, one, two = build(f"duplicate: {settings}", form), scope(form, first), scope(form, second)
    assert check(one) is None and check(two) is None
    assert (one.once[0].digest == two.once[0].digest) is same
    assert bytes(one.msg) == first
    if "by" in settings and form is HL7:
        absent = scope(form, RAW.partition(b"PID")[0])
        assert check(absent) is None and absent.once == ()


def test_sample():
    passed = [run("sample: {every: 5}", where=scope(id=n))[0] is None for n in range(10)]
    assert passed == [True, *[False] * 4] * 2
    text = "sample: {share: 0.25, by: 'message.id // 2'}"
    check = build(text)
    passed = [check(scope(id=n)) is None for n in range(2000)]
    assert 400 < sum(passed) < 600 and passed[::2] == passed[1::2]
    assert [check(scope(id=n)) is None for n in range(2000)] == passed
    assert SECRET not in str(run("sample: {share: 0.001, by: \"msg['PID-19']\"}")[0])


@pytest.mark.parametrize(
    ("settings", "passes"),
    [
        ("{path: PV1-44, after: -30d, before: +1d}", True),
        ("{path: PV1-44, after: -11h}", False),
        ("{path: PV1-44, after: -12h}", True),
        ("{path: PV1-44, before: -12h}", False),
        ("{path: PV1-44, after: '2026-02-28', before: '20260301'}", True),
        ("{path: PV1-44, after: '2026-03-01'}", False),
        ("{path: PV1-45, after: -1d}", True),
        ("{path: PV1-45, after: -1d, absent: stop}", False),
        ("{path: PID-5.1, after: -1d, unreadable: pass}", True),
    ],
)
def test_date_window(settings, passes):
    reason, _ = run(f"date_window: {settings}")
    assert (reason is None) is passes


def test_date_window_without_a_date():
    for settings in ("{path: PID-19, after: -1d}", "{path: PV1-45, after: -1d, absent: error}"):
        with pytest.raises(StepError) as caught:
            run(f"date_window: {settings}")
        assert SECRET not in str(caught.value)


def test_map():
    _, found = run(
        "map: {fields: {PID-3.1: PID-5.1, PID-5.1: PID-3.1, PID-8: {from: PID-8, table: {F: W}}, PID-30: PID-29,"
        " PID-15: {from: PID-29, default: en}, PID-10: {value: 9}, PID-19: PID-14},"
        " vars: {sex: {from: PID-8, table: sex}}}"
    )
    msg = found.msg
    assert (msg["PID-3.1"], msg["PID-5.1"], msg["PID-8"], msg["PID-15"], msg["PID-10"]) == (
        "O'BRIEN", "7", "W", "en", "9"
    )  # fmt: skip
    assert msg["PID-19"] is CLEAR and found.vars == {"sex": "female"}
    with pytest.raises(StepError) as caught:
        run("map: {fields: {PID-8: {from: PID-19, table: sex}}}")
    assert caught.value.code == "table.code" and SECRET not in str(caught.value)
    _, found = run("map: {fields: {deceasedBoolean: active, 'name[0].text': 'name.family'}}", FHIR, PATIENT)
    assert found.msg["deceased"] is True and found.msg["name.text"] == "SMITH"


def test_redact():
    _, found = run("redact: {paths: [PID-13, NK1-2, PID-19, PID-29, PID-14]}")
    out = bytes(found.msg)
    assert b"555" not in out and b"ONE" not in out and b"TWO" not in out and SECRET.encode() not in out
    assert b'|""|' in out  # what is cleared says nothing, and stays
    _, found = run("redact: {paths: [PID-3.1], how: mask}")
    assert found.msg.all("PID-3.1") == ["*", "*"]
    text = "redact: {paths: [PID-3.1], how: hash, key: 0123456789abcdef}"
    first, second = run(text)[1].msg.all("PID-3.1")
    assert first != second and len(first) == 16 and run(text)[1].msg["PID-3.1"] == first
    _, found = run("redact: {paths: [name.given, telecom.value, birthDate]}", FHIR, PATIENT)
    for text in (b"ANN", b"BEA", b"0555", b"a@b", b"1980"):
        assert text not in bytes(found.msg)
    _, found = run(
        "redact: {paths: [/a/*/b, /c], how: mask}", Json(), b'{"a":[{"b":"xx"},{"b":"y"}],"c":["p","q"]}'
    )
    assert bytes(found.msg) == b'{"a":[{"b":"**"},{"b":"*"}],"c":["*","*"]}'
    xml = b'<a xmlns="urn:a" k="1"><b>x</b><b q="z">y</b></a>'
    form = Xml({"n": "urn:a"})
    _, found = run("redact: {paths: ['//n:b', '//@k', '//@q'], how: mask}", form, xml)
    assert (found.msg.all("//n:b"), found.msg["//@k"], found.msg["//@q"]) == (["*", "*"], "*", "*")
    _, found = run("redact: {paths: [b], how: mask}", Delimited(rows="file"), b"a,b\n1,xx\n2,y\n3\n")
    assert bytes(found.msg) == b"a,b\n1,**\n2,*\n3\n"


def test_date():
    assert run("date: {paths: [PID-7, PV1-44, PV1-45], to: date}")[1].msg["PID-7"] == "1980-02-29"
    assert run("date: {paths: [PV1-44], to: datetime}")[1].msg["PV1-44"] == "2026-02-28 12:00:00"
    _, found = run("date: {paths: [birthDate], precision: day}", FHIR, PATIENT)
    assert found.msg["birthDate"] == "19800229"
    with pytest.raises(StepError) as caught:
        run("date: {paths: [PID-19]}")
    assert "PID-19" in str(caught.value) and SECRET not in str(caught.value)
    assert run("date: {paths: [PID-19], on_error: absent}")[1].msg["PID-19"] == ""


def test_name_phone_address():
    _, found = run("name: {paths: [PID-5.1, PID-5.2]}")
    assert (found.msg["PID-5.1"], found.msg["PID-5.2"]) == ("O'Brien", "Mary Ann")
    assert run("name: {paths: [PID-5.2], case: false}")[1].msg["PID-5.2"] == "MARY ANN"
    _, found = run("name: {paths: [name.family, name.given]}", FHIR, PATIENT)
    assert found.msg.all("name.given") == ["Ann", "Bea"]
    _, found = run('phone: {paths: [PID-13.1], country: "49"}')
    assert found.msg.all("PID-13") == ["+49 5551234", "+49 55599"]
    _, found = run("address: {path: PID-11, default_country: DEU}")
    assert found.msg.all("PID-11") == ["1 Main St^^Berlin^^10115^DEU", "2 Elm^^^BB^X1^DEU"]
    raw = b'{"city": "BERLIN", "zip": "a1"}'
    _, found = run("address: {city: city, postal_code: zip, country: land, default_country: DE}", Json(), raw)
    assert bytes(found.msg) == b'{"city":"Berlin","zip":"A1","land":"DE"}'


def test_a_message_that_needs_nothing_keeps_its_bytes():
    raw = b"MSH|^~\\&|A|B|C|D|20260301||ADT^A01|1|P|2.5.1\rPID|1||7||Ames^Ann\r\n\x1c"
    for text in TIDY:
        assert bytes(run(text, raw=raw)[1].msg) == raw, text


def test_route():
    def chosen(text):
        return run(text, destinations=["ward", "main", "lis"])[1].chosen

    inside = "{when: \"msg['PV1-2'] == 'I'\", to: ward}"
    assert chosen(f"route: {{rules: [{inside}, {{when: 'true', to: [main]}}]}}") == {"ward", "main"}
    assert chosen(f"route: {{rules: [{inside}], otherwise: main}}") == {"ward"}
    assert chosen("route: {rules: [{when: 'false', to: ward}], otherwise: []}") == frozenset()
    assert chosen("route: {rules: [{when: 'false', to: ward}]}") is None
    table = "route: {by: \"msg['MSH-4']\", table: {RGH: [lis], X: main}, otherwise: main}"
    assert chosen(table) == {"lis"}
    assert chosen(table.replace("MSH-4", "MSH-5")) == {"main"}


def test_validate():
    with pytest.raises(StepError) as caught:
        run("validate: {}", raw=RAW.replace(b"PV1|1|I", b"PV1|1|"))
    assert caught.value.code == "validate.failed" and SECRET not in str(caught.value)
    _, found = run("validate: {on_problem: warn}", raw=RAW.replace(b"PV1|1|I", b"PV1|1|"))
    assert any(item.startswith("PV1-2") for item in found.vars["problems"])
    _, found = run(
        "validate: {on_problem: warn, ignore: [PV1-2, EVN]}", raw=RAW.replace(b"PV1|1|I", b"PV1|1|")
    )
    assert not any(item.startswith("PV1-2") for item in found.vars["problems"])
    raw = RAW.replace(b"PV1|1|I", b"PV1|1|").replace(b"|F|", b"|Q|")
    with pytest.raises(StepError, match="PV1-2 is required and missing; PID-8 has a value") as caught:
        run("validate: {level: tables, ignore: [EVN, NK1, PID-3, PID-11, PID-13]}", raw=raw)
    assert caught.value.where == "PV1-2, PID-8"
    run("validate: {}", FHIR, PATIENT)
    bad = PATIENT.replace(b'"active":true', f'"active":"{SECRET}"'.encode())
    for version in ("R4B", "R5"):
        with pytest.raises(StepError, match="active") as caught:
            run(f"validate: {{version: {version}}}", FHIR, bad)
        assert SECRET not in str(caught.value)
    _, found = run("validate: {on_problem: warn}", FHIR, b'{"resourceType":"Nonsense"}')
    assert found.vars["problems"] == ["resourceType is none of this version of FHIR"]


def test_message_types_of_other_formats():
    check = build("message_type: {allow: [Patient, order.created]}", FHIR)
    assert check(scope(FHIR, PATIENT, type="Patient")) is None
    assert "Encounter" in check(scope(FHIR, PATIENT, type="Encounter"))
    assert check(scope(FHIR, PATIENT, type="")) is not None
