"""Messages of every format: absent, empty and value, reading and setting by path, hostile bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import ConfigError, FormatError, StepError
from engine.fhir.resource import Fhir
from engine.formats.base import Verdict
from engine.formats.delimited import Delimited
from engine.formats.json import Json
from engine.formats.xml import Xml
from engine.hl7.format import Hl7v2
from engine.model import ABSENT, CLEAR

PATIENT = (
    b'{"resourceType":"Patient","id":"1","meta":{"versionId":"7"},"active":false,"deceasedBoolean":false,'
    b'"name":[{"use":"usual","given":["Al"]},{"use":"official","family":"Ames","given":["Ann","Bea"]}],'
    b'"identifier":[{"system":"urn:x","value":"X"},{"type":{"coding":[{"code":"MR"}]},"value":"M7"}],'
    b'"extension":[{"url":"urn:e","valueString":"q"}],"link":[{"other":{"reference":"Patient/0"}}]}'
)
ORDER = b'<?xml version="1.0" encoding="ISO-8859-1"?><o id="7"><p>M\xfcller</p><q/><i>1</i><i>2</i></o>'


def test_json():
    raw = b' {"a": {"b": [{"c": 1}, {"c": null}]}, "e": "", "f/g": true, "l": []} '
    msg = Json().parse(raw)
    assert bytes(msg) == raw
    assert msg["/a/b/0/c"] == msg["a.b[0].c"] == msg["a.b.0.c"] == 1
    assert msg["/a/b/1/c"] is CLEAR and msg["e"] is CLEAR
    assert msg["/a/b/2/c"] is ABSENT and msg["/a/b/x"] is ABSENT and msg["/e/x"] is ABSENT
    assert msg["/f~1g"] is True and msg["l"] == []
    assert msg.all("/a/b/*/c") == [1, CLEAR] and msg.all("a.b[*].c") == [1, CLEAR]
    assert msg.split("a.b") == [
        b'{"a":{"b":[{"c":1}]},"e":"","f/g":true,"l":[]}',
        b'{"a":{"b":[{"c":null}]},"e":"","f/g":true,"l":[]}',
    ]
    msg["new.list[0].x"] = 3
    msg["e"] = ""
    msg["/f~1g"] = CLEAR
    assert bytes(msg) == (b'{"a":{"b":[{"c":1},{"c":null}]},"f/g":null,"l":[],"new":{"list":[{"x":3}]}}')
    for path in ("/a/b/*/c", "/a/b/7/c", "/a/b/0/c/d"):
        with pytest.raises(StepError):
            msg[path] = 1


@pytest.mark.parametrize("path", ["", "a..b", "a.", ".a", "a[x]", "a[1"])
def test_json_paths_that_cannot_be(path):
    with pytest.raises(ConfigError, match="column"):
        Json().check(path)


@pytest.mark.parametrize(
    ("path", "first", "every"),
    [
        ("name.family", "Ames", ["Ames"]),
        ("Patient.name.given", "Al", ["Al", "Ann", "Bea"]),
        ("name[1].given[1]", "Bea", ["Bea"]),
        ("name.where(use='official').given.first()", "Ann", ["Ann"]),
        ("name.given.last()", "Bea", ["Bea"]),
        ("identifier.where(system='urn:x').value", "X", ["X"]),
        ("identifier.where(type.coding.code='MR').value", "M7", ["M7"]),
        ("extension('urn:e').value", "q", ["q"]),
        ("extension.value.ofType(string)", "q", ["q"]),
        ("deceased", False, [False]),
        ("active", False, [False]),
        ("name[5].family", ABSENT, []),
        ("Encounter.id", ABSENT, []),
        ("birthDate", ABSENT, []),
        ("name.where(use='official').exists()", True, [True]),
        ("name[1].select(given.first() & ' ' & family)", "Ann Ames", ["Ann Ames"]),
    ],
)
def test_fhir_reads(path, first, every):
    msg = Fhir().parse(PATIENT)
    assert msg[path] == first and msg.all(path) == every
    if first is ABSENT:
        assert msg[path] is ABSENT
    assert bytes(msg) == PATIENT


@given(
    st.recursive(
        st.one_of(st.booleans(), st.integers(0, 9), st.text("ab", max_size=2)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=12,
    ),
    st.lists(
        st.sampled_from(["a", "b", "c", "a[0]", "b[1]", "where(a='b')", "first()"]), min_size=1, max_size=4
    ),
)
def test_the_quick_reader_reads_what_fhirpath_reads(data, parts):
    import fhirpathpy
    import orjson

    from engine.fhir import reader

    parts = ["x", *parts]
    path = ".".join(parts)
    resource = {"resourceType": "Basic", "x": data}
    steps = reader.compile(path)
    assert steps is not None
    if any(isinstance(item, list) for item in _lists_in(data)):
        return  # lists in lists are no FHIR
    whole = orjson.loads(orjson.dumps(resource))
    assert reader.read(resource, steps) == fhirpathpy.compile(path, None)(whole, {})


def _lists_in(data):
    if isinstance(data, list):
        yield from data
    for item in data if isinstance(data, list) else data.values() if isinstance(data, dict) else ():
        yield from _lists_in(item)


def test_fhir_sets():
    msg = Fhir().parse(b'{"resourceType":"Patient","name":[{"family":"A"}]}')
    msg["name[0].family"] = "B"
    msg["Patient.telecom.where(system='phone').value"] = "123"
    msg["telecom.where(system='phone').use"] = "home"
    msg["active"] = True
    msg["identifier.value"] = "9"
    msg["birthDate"] = CLEAR
    assert bytes(msg) == (
        b'{"resourceType":"Patient","name":[{"family":"B"}],"telecom":[{"system":"phone","value":"123",'
        b'"use":"home"}],"active":true,"identifier":[{"value":"9"}]}'
    )
    msg["name[0].family"] = ""
    assert msg["name.family"] is ABSENT
    for path in ("name.exists()", "name[7].family"):
        with pytest.raises(StepError):
            msg[path] = "x"


@pytest.mark.parametrize("path", ["now()", "birthDate <= today()", "name.nofunction()"])
def test_fhirpath_that_is_refused(path):
    with pytest.raises(ConfigError):
        Fhir().check(path)


def test_xml():
    form = Xml()
    msg = form.parse(ORDER)
    assert bytes(msg) == ORDER
    assert msg["/o/@id"] == "7" and msg["/o/p"] == "Müller" and msg["/o/p/text()"] == "Müller"
    assert msg["/o/q"] is CLEAR and msg["/o/zz"] is ABSENT and msg["/o/@zz"] is ABSENT
    assert msg.all("//i") == ["1", "2"] and msg["count(//i)"] == 2 and msg["/o/i[2] = '2'"] is True
    assert [form.parse(part).all("//i") for part in msg.split("/o/i")] == [["1"], ["2"]]
    msg["/o/p"] = "Ä"
    msg["/o/@id"] = "8"
    msg["/o/r/s/@t"] = "v"
    msg["/o/i[2]"] = ""
    msg["/o/i"] = CLEAR
    again = form.parse(bytes(msg))
    assert b"encoding='ISO-8859-1'" in bytes(msg)
    assert (again["/o/p"], again["/o/@id"], again["/o/r/s/@t"], again.all("//i")) == ("Ä", "8", "v", [CLEAR])
    for path in ("//zz", "count(//i)", "/other/a"):
        with pytest.raises(StepError):
            msg[path] = "x"


def test_xml_namespaces():
    raw = b'<a xmlns="urn:a" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><b xsi:nil="true"/><c>1</c></a>'
    assert Xml(ignore_namespaces=True).parse(raw)["/a/c"] == "1"
    msg = Xml({"n": "urn:a"}).parse(raw)
    assert msg["/n:a/n:c"] == "1" and msg["/n:a/n:b"] is CLEAR and msg["/a/c"] is ABSENT
    with pytest.raises(ConfigError, match="'m'"):
        Xml().check("/m:a")
    with pytest.raises(ConfigError, match="XPath"):
        Xml().check("/a[")


BOMB = b'<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><a>&c;&c;&c;</a>'


@pytest.mark.parametrize(
    "raw",
    [
        BOMB,
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16"),
        b"<a>" * 101 + b"</a>" * 101,
        b"<a>" * 5000,
        b"<a>",
        b"",
        b"\x00",
        b"<a>\xff</a>",
    ],
)
def test_hostile_xml_is_refused(raw):
    with pytest.raises(FormatError) as caught:
        Xml().parse(raw)
    assert caught.value.ack == "AR" and "passwd" not in str(caught.value)


@pytest.mark.parametrize("form", [Json(), Fhir()])
@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b"[" * 101 + b"]" * 101, b"[" * 100_000, b'{"a": NaN}', b'"\xed\xa0\x80"']
)
def test_hostile_json_is_refused(form, raw):
    with pytest.raises(FormatError):
        form.peek(raw)


def test_no_resource():
    for raw in (b"[]", b"{}", b'{"resourceType": 1}', b'{"resourceType": "a b"}'):
        with pytest.raises(FormatError, match="FHIR resource"):
            Fhir().parse(raw)


def test_delimited():
    form = Delimited(delimiter=";")
    raw = b'\xef\xbb\xbfmrn;name;note\r\n1;"A;""B""";\r\n2;C\r\n\r\n'
    parts = form.parts(raw)
    assert parts == [b'mrn;name;note\n1;"A;""B""";\n', b"mrn;name;note\n2;C\n"]
    msg = form.parse(raw)
    assert bytes(msg) == raw
    assert (msg["mrn"], msg["1"], msg["name"], msg["mrn[2]"]) == ("1", "1", 'A;"B"', "2")
    assert (
        msg["note"] is CLEAR and msg["note[2]"] is ABSENT and msg["zz"] is ABSENT and msg["mrn[3]"] is ABSENT
    )
    assert msg.all("mrn") == ["1", "2"] and msg.all("note") == [CLEAR]
    msg["name[2]"] = "D"
    msg["new"] = "E"
    assert bytes(msg) == b'mrn;name;note;new\n1;"A;""B""";;E\n2;D\n'
    assert Delimited(empty="absent").parse(b"a,b\n1,\n")["b"] is ABSENT
    plain = Delimited(delimiter="\t", header=False, columns=("x", "y"), charset="cp1252").parse(b"\xfc\tb\n")
    assert (plain["x"], plain["2"]) == ("ü", "b")
    for path in ("zz[9]", "mrn[9]"):
        with pytest.raises(StepError):
            msg[path] = "x"
    with pytest.raises(ConfigError):
        form.check("a[0]")


def test_delimited_groups():
    msg = Delimited(rows="file").parse(b"order,item\n7,a\n8,b\n7,c\n")
    assert msg.split("order") == [b"order,item\n7,a\n7,c\n", b"order,item\n8,b\n"]


@pytest.mark.parametrize(
    ("raw", "form"), [(b"", Delimited()), (b"a\n\xff", Delimited()), (b'a\n"x', Delimited())]
)
def test_delimited_text_that_is_refused(raw, form):
    with pytest.raises(FormatError):
        form.parse(raw)


def identity(resource):
    raw = json.dumps(resource).encode()
    return Fhir().identify(raw, Fhir().peek(raw), "")


def test_headers():
    header = Fhir().peek(PATIENT)
    assert (header.type, header.control_id) == ("Patient", "Patient/1/_history/7")
    assert Fhir().identify(PATIENT, header, "") == ("M7", "", "Patient/1", ("Patient/0", "urn:x|X", "|M7"))
    visit = (
        b'{"resourceType":"Encounter","id":"e","subject":{"reference":"http://s/fhir/Patient/1/_history/3"}}'
    )
    assert Fhir().identify(visit, Fhir().peek(visit), "")[:3] == ("", "Encounter/e", "Patient/1")
    patient = {"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:x", "value": "X"}]}
    named = {"system": "urn:x", "value": "X"}
    for actor in ({"reference": "#p"}, {"type": "Patient", "identifier": named}):
        booking = {
            "resourceType": "Appointment",
            "id": "a",
            "participant": [{"actor": actor}],
            "contained": [patient],
        }
        assert identity(booking) == ("", "", "Appointment/a", ("urn:x|X",)), "in order with that patient"
    visit = {"resourceType": "Encounter", "id": "e", "subject": {"reference": "#q"}}  # nobody
    assert identity(visit) == (
        "",
        "Encounter/e",
        "Encounter/e",
        (),
    )
    form = Json("/id", "/kind", "/from", "/mrn", "/visit")
    raw = b'{"id": 7, "kind": "a.b", "from": "free text", "mrn": 12, "visit": "V"}'
    header = form.peek(raw)
    assert (header.control_id, header.type, header.sender) == ("7", "a.b", "")
    assert form.identify(raw, header, "")[:3] == ("12", "V", "12")
    assert form.identify(raw, header, "/visit").key == "V"
    assert Xml(kind="", mrn="/o/@id").peek(ORDER).type == "o"


@pytest.mark.parametrize("form", [Json(), Fhir(), Xml(), Delimited(), Hl7v2()])
def test_answers_say_what_they_say(form):
    error = FormatError("no", code="x.y", todo="do", ack="AR", condition="207")
    refused = form.acknowledge(None, "AR", error, "I1", 0)
    assert form.verdict(refused) == Verdict("AR", "207")
    if form.name != "hl7v2":
        assert form.verdict(form.acknowledge(None, "AA", None, "I2", 0)) == Verdict("AA", "")
