"""What is read of JavaScript, what it becomes, and that it gives what Mirth gives; the rest is refused by line."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import IsthmusError
from engine.hl7.er7 import Message
from engine.mirth.expressions import Translator
from engine.mirth.javascript import expression, is_empty, statements
from engine.mirth.syntax import Unreadable
from engine.mirth.variables import Variables
from engine.model import Meta, Scope
from engine.spec.component import BuildContext
from engine.spec.expressions import compile_expression

RAW = (
    b"MSH|^~\\&|APP|FAC|||20260301||ADT^A01|1|P|2.5.1\r"
    b'PID|1||77^^^HOSP~88^^^CITY||Smith & Sons^Anna Maria||19800229|F|||Street 1^^Town|""|555-12-34\r'
    b"PV1|1|I|W1^2\rOBX|1|NM|GLU||5.4\rOBX|2|NM|K||4.1\r"
)


def translated(source, form="hl7v2", **variables):
    known = Variables({"labHost": "lab.example", "password": "x"})
    for name in variables:
        known.put("channel", name, "text", sure=False, always=True)
    return Translator(known, form).value(expression(source))


def given_by(source, **variables):
    scope = Scope(Message(RAW), Meta())
    scope.vars.update(variables)
    return compile_expression(translated(source, **variables).text, BuildContext())(scope)


PHONE = "msg['PID']['PID.13']['PID.13.1'].toString()"
GIVEN = "msg['PID']['PID.5']['PID.5.2'].toString()"
PID8 = "msg['PID']['PID.8']['PID.8.1'].toString()"


@pytest.mark.parametrize(
    ("source", "words", "value"),
    [
        ("msg['PID']['PID.7']['PID.7.1'].toString()", "msg['PID-7.1']", "19800229"),
        ("msg.PID['PID.3'][1]['PID.3.1']", "msg['PID-3[2].1']", "88"),
        ("msg['OBX'][1]['OBX.5']['OBX.5.1'].toString()", "msg['OBX[2]-5.1']", "4.1"),
        ("msg['PID']['PID.11'][0]['PID.11.1']['PID.11.1.1'] + ''", "msg['PID-11.1.1'] ~ ''", "Street 1"),
        (f"{PID8} == 'F' ? 'female' : 'male'", "'female' if msg['PID-8.1'] == 'F' else 'male'", "female"),
        (f"{PID8} == 'M' || {PID8} === 'F'", "msg['PID-8.1'] in ['M', 'F']", True),
        (f"{PID8} != 'M' && {PID8} != 'U' && $('a') == 'b'", "msg['PID-8.1'] not in ['M', 'U'] and a == 'b'", True),
        (f"!({PID8} == 'M')", "msg['PID-8.1'] != 'M'", True),
        ("msg['PID']['PID.14']['PID.14.1'] == ''", "msg['PID-14.1'] is absent", True),
        ("msg['PID']['PID.12']['PID.12.1'] == '\"\"'", "msg['PID-12.1'] is clear", True),
        ("msg['PID']['PID.12']['PID.12.1'].length > 0", "msg['PID-12.1'] is not absent", True),
        ("msg['PID']['PID.3'].length()", "msg.all('PID-3') | length", 2),
        ("'x' + $('a') + 1", "'x' ~ a ~ 1", "xb1"),
        (f"'x' + ({PID8} == 'F')", "'x' ~ ('true' if msg['PID-8.1'] == 'F' else 'false')", "xtrue"),
        ("1 + 2 * 3 - 1", "1 + (2 * 3) - 1", 6),
        ("$c('a') || 'none'", "a or 'none'", "b"),
        ("['A', 'F'].indexOf(" + PID8 + ") >= 0", "msg['PID-8.1'] in ['A', 'F']", True),
        ("msg['PID']['PID.5']['PID.5.1'].toString().indexOf('& S') == -1", "'& S' not in msg['PID-5.1']", False),
        (f"{GIVEN}.split(' ')[1]", "msg['PID-5.2'].split(' ')[1]", "Maria"),
        (f"{PHONE}.replace(/-/g, '')", "msg['PID-13.1'] | replace('-', '')", "5551234"),
        (f"{PHONE}.replace('-', '')", "msg['PID-13.1'].replace('-', '', 1)", "55512-34"),
        ("msg['PID']['PID.7']['PID.7.1'].toString().substring(0, 4)", "msg['PID-7.1'][0:4]", "1980"),
        ("msg['PID']['PID.7']['PID.7.1'].toString().substr(4, 2)", "msg['PID-7.1'][4:6]", "02"),
        (f"{GIVEN}.toUpperCase().trim()", "msg['PID-5.2'].upper().strip()", "ANNA MARIA"),
        ("parseInt(msg['PID']['PID.7']['PID.7.1'].toString()) > 19790101", "msg['PID-7.1'] | int > 19790101", True),
        ("msg['PV1']['PV1.3']['PV1.3.1'].toString().startsWith('W')", "msg['PV1-3.1'].startswith('W')", True),
        ("msg['PV1']['PV1.3']['PV1.3.1'].toString().equals('W1')", "msg['PV1-3.1'] == 'W1'", True),
        ("'it\\'s \\u00e9 \\\\'", "'it\\'s é \\\\'", "it's é \\"),
        ("'${HOME}'", "'$\\x7bHOME}'", "${HOME}"),
        ("'{{ 1 }}'", "'{{ 1 }}'", "{{ 1 }}"),
    ],
)  # fmt: skip
def test_expressions(source, words, value):
    assert translated(source, a="b").text == words
    assert given_by(source, a="b") == value


@pytest.mark.parametrize(
    ("form", "source", "words"),
    [
        ("json", "msg.patient.name[0]['family']", "msg['patient.name[0].family']"),
        ("json", "msg['a-b']['c d']", "msg['/a-b/c d']"),
        ("json", "msg['id'] == ''", "msg['id'] is not present"),
        ("xml", "msg['row'][1]['name'].toString()", "msg['row[2]/name']"),
        ("xml", "msg['patient']['@id'].length > 0", "msg['patient/@id'] is present"),
        ("delimited", "msg['row']['column2'].toString()", "msg['2']"),
        ("delimited", "msg['row'][0]['mrn'].toString()", "msg['mrn']"),
    ],
)
def test_places_of_other_formats(form, source, words):
    assert translated(source, form).text == words


def test_settings_of_the_server_come_from_the_environment():
    assert translated("$cfg('labHost')").text == "'${labHost:-lab.example}'"
    assert translated("configurationMap.get('password')").text == "'${password}'"  # its value is not written


def test_a_whole_field_is_told():
    translator = Translator(Variables())
    assert translator.value(expression("msg['PID']['PID.8'].toString()")).text == "msg['PID-8.1']"
    assert translator.notes == ["PID-8 is a whole field: Mirth gives its XML, here its first component"]


@pytest.mark.parametrize(
    ("source", "line", "what"),
    [
        ("msg['PID']['PID.5']\n  + tmp['PID']", 1, "`tmp`, the message of the outbound template"),
        ("new Date()", 0, "`new`"),
        ("DateUtil.getCurrentDate('yyyy')", 0, "the time of now, or a date of Java"),
        ("$gc('count')", 0, "a map that outlives the message"),
        ("$('nobody')", 0, "no step before sets the variable 'nobody'"),
        ("msg['PID']", 0, "the segment PID as a whole"),
        ("msg['PID']['PV1.3']", 0, "`PV1.3` is not a place in PID"),
        ("msg[i]['PID.3']", 0, "the place is computed"),
        ("msg..OBX", 0, "`..` (E4X) is not understood"),
        ("'a' + Number('1')", 0, "a number with a fraction is made a text"),
        ("pad(1)", 0, "the function `pad`"),
        ("{a: 1}", 0, "an object"),
        ("<x/>", 0, "an XML literal"),
        ("'a' 'b'", 0, "this is not one expression"),
        ("'a'.replace(/[a-z]/g, '')", 0, "a regular expression"),
        ("'a'.charCodeAt(0)", 0, "`.charCodeAt()` has no equal here"),
        ("(" * 200, 0, "this is nested too deeply"),
        ("1" + "+1" * 500, 0, "this expression is too long"),
        ("x" * 200_001, 0, "the script has more than 200000 characters"),
    ],
)
def test_what_has_no_equal_is_refused_with_its_line(source, line, what):
    with pytest.raises(Unreadable) as error:
        translated(source)
    assert (error.value.line, error.value.what) == (line, what)


@pytest.mark.parametrize(
    ("script", "line", "what"),
    [
        ("var a = 1;\nfor each (x in y) {}", 1, "a loop"),
        ("if (a) {\n  b = function() {}\n}", 1, "`function`"),
        ("if (a) { b = 1", 0, "`}` is missing before the end"),
        ("a = 1 b = 2", 0, "`b` is not understood here"),
        ("var 1 = a", 0, "this declaration is not understood"),
        ("a = 'x\ny'", 0, 'the character "\'" is not understood here'),
    ],
)
def test_scripts_that_are_refused(script, line, what):
    with pytest.raises(Unreadable) as error:
        statements(script)
    assert (error.value.line, error.value.what) == (line, what)


@pytest.mark.parametrize("script", ["", "// a\n/* b */ return message;", "return", ";return msg;"])
def test_scripts_that_do_nothing(script):
    assert is_empty(script)


@pytest.mark.parametrize("script", ["return null;", "message = 'x'", "'unfinished"])
def test_scripts_that_do_something(script):
    assert not is_empty(script)


PIECES = st.sampled_from(
    ["msg", "['PID']", "['PID.3']", "['PID.3.1']", "[0]", ".toString()", "$('a')", "'x'", "\"y\"", "1", "(", ")",
     "[", "]", "{", "}", "+", "==", "!", "&&", "||", "?", ":", ";", "=", "if", "else", "var", "return", "\n",
     ".", ",", "/", "//", "\\"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
def test_any_script_is_read_or_refused_and_what_is_read_can_be_compiled(source):
    with contextlib.suppress(Unreadable):
        statements(source)
    try:
        found = translated(source, a="b")
    except Unreadable:
        return
    try:
        compile_expression(found.text, BuildContext())
    except IsthmusError as error:
        raise AssertionError(found.text) from error
