"""Whole exports: what they become, that it runs as Mirth would, and that nothing is passed over in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from channels.build import Builder
from engine.cli import cli
from engine.errors import ConfigError
from engine.mirth import xmltree
from engine.mirth.export import Server, text
from engine.mirth.report import report
from engine.spec.channel import load

EXPORTS = Path(__file__).parent / "exports"
MESSAGE = (
    "MSH|^~\\&|EHR|H|OLD|L|20260301||ADT^A01|1|{processing}|2.5.1\r"
    "PID|1||77^^^H||SMITH^Anna||19800229|F|||||old|555-12-34{rest}\r"
    "PV1|1|{kind}|W1^2\r"
)


def converted(*names):
    server = Server()
    for name in names:
        server.read(EXPORTS / f"{name}.xml")
    return server, server.convert()


def yaml_of(*names):
    server, results = converted(*names)
    return text(results, server.tables)


def pipeline(tmp_path, name, channel):
    file = tmp_path / "channels.yaml"
    file.write_text(yaml_of(name), "utf-8")
    configuration = load(file, {})
    assert not configuration.errors, [str(problem) for problem in configuration.errors]
    return Builder(configuration).pipeline(configuration.channels[channel])


def sent(pipe, kind="I", processing="P", rest=""):
    raw = MESSAGE.format(kind=kind, processing=processing, rest=rest).encode()
    rendered = pipe.process(raw, pipe.meta(raw))
    return {name: payload.decode() for name, payload in rendered.payloads}, rendered


def test_a_converted_channel_does_what_mirth_did(tmp_path):
    payloads, _ = sent(pipeline(tmp_path, "lab", "adt_to_lab"))
    lab, ward = payloads["lab"], payloads["ward_system"]
    assert "|EHR|H|LAB|L|" in lab and "|EHR|H|OLD|L|" in ward
    assert "|old|" not in lab and "PV1|1|IMP|W1^2" in lab


def test_an_absent_value_empties_what_mirth_empties(tmp_path):
    payloads, _ = sent(pipeline(tmp_path, "lab", "adt_to_lab"), kind="O")
    assert "PV1|1|AMB|" in payloads["lab"] and "W1" not in payloads["lab"]
    assert "ward_system" not in payloads  # its filter wants PV1-3


def test_a_destination_set_filter_leaves_a_destination_out(tmp_path):
    payloads, rendered = sent(pipeline(tmp_path, "lab", "adt_to_lab"), rest="|" * 16 + "Y")
    assert list(payloads) == ["lab"]
    assert [name for name, _ in rendered.skipped] == ["ward_system"]


def test_a_javascript_rule_filters(tmp_path):
    payloads, rendered = sent(pipeline(tmp_path, "lab", "adt_to_lab"), processing="T")
    assert not payloads and "not from the test system" in rendered.reason


def test_the_yaml_of_a_channel():
    data = yaml.safe_load(yaml_of("lab"))
    channel = data["channels"]["adt_to_lab"]
    assert data["tables"] == {"sex": {"values": {"M": "male", "F": "female"}, "otherwise": "keep"}}
    assert "enabled" not in channel
    assert channel["ack"] == "routed" and channel["charset"] == "ISO-8859-1"
    assert channel["retention"] == {"content": "30d", "messages": "90d"}
    mllp = {"port": 6661, "interface": "0.0.0.0", "max_connections": 25, "idle_timeout": 30}
    assert channel["listener"] == {"mllp": mllp}
    assert channel["filters"][0] == {"message_type": {"allow": ["ADT^A01", "ADT^A08"]}}
    ward = channel["destinations"]["ward_system"]
    assert ward["retry"] == {"initial": 10, "factor": 1, "max": 10, "attempts": 4}
    assert channel["destinations"]["lab"]["mllp"] == {"host": "lab.example", "port": 6662, "timeout": 15}


def test_comments_name_the_lines_of_the_export():
    lines = (EXPORTS / "lab.xml").read_text("utf-8").split("\n")
    found = [line.strip() for line in yaml_of("lab").split("\n")]
    number = int(next(one for one in found if one.endswith(": home phone")).split()[2].rstrip(":"))
    assert "MessageBuilderStep" in lines[number - 1]


def test_old_exports_are_read_and_what_is_open_disables_the_channel():
    _, (result,) = converted("old")
    channel = yaml.safe_load(yaml_of("old"))["channels"]["orders_old"]
    assert channel["enabled"] is False and channel["ack"] == "stored"
    assert channel["filters"] == [{"message_type": {"allow": ["ORM", "ORU"]}}]
    assert channel["transformers"] == [{"set": {"vars": {"visit": "{{ msg['PV1-19.1'] }}"}}}]
    (open_part,) = [one for one in result.findings.told if one.status == "not converted"]
    line = (EXPORTS / "old.xml").read_text("utf-8").split("\n")[open_part.line - 1]
    assert open_part.why == "a loop" and "for each" in line


def test_a_server_with_channels_that_write_to_each_other():
    data = yaml.safe_load(yaml_of("server"))
    assert list(data["channels"]) == ["router"]
    router = data["channels"]["router"]
    assert router["listener"]["mllp"]["port"] == "${routerPort:-6700}" and router["ack"] == "delivered"
    (destination,) = router["destinations"].values()
    assert destination["mllp"]["host"] == "${ehrHost:-ehr.example}"
    assert destination["filters"] == [{"message_type": {"allow": ["ORU"]}}]
    assert '# Mirth channel "Router", line 12. Group: Inbound' in yaml_of("server")


def test_what_has_no_listener_is_a_comment():
    assert "#   poll_the_database:" in yaml_of("server")


def test_the_report_quotes_code_and_no_password():
    _, results = converted("lab", "old", "server")
    told = report(results)
    assert "function pad(n)" in told and "SELECT id FROM result" in told and "for each (obx" in told
    assert "hunter2" not in told and "TVNIf" not in told
    assert "- rules: 6 of 6 converted" in told


def channel(source="", transformer="", filters="", rest="", destinations="", form="HL7V2"):
    return f"""<channel version="4.5.2"><id>x</id><name>X</name><sourceConnector>
<properties class="com.mirth.connect.connectors.tcp.TcpReceiverProperties">
<listenerConnectorProperties><host>127.0.0.1</host><port>7000</port></listenerConnectorProperties>
{source}</properties>
<transformer><elements>{transformer}</elements><inboundDataType>{form}</inboundDataType></transformer>
<filter><elements>{filters}</elements></filter>
<transportName>TCP Listener</transportName></sourceConnector>
<destinationConnectors>{destinations}</destinationConnectors>{rest}</channel>""".encode()


def of(xml):
    server = Server()
    server.take(xmltree.parse(xml, "x.xml"), "x.xml")
    (result,) = server.convert()
    return yaml.safe_load(text([result], server.tables))["channels"]["x"], result.findings


def script(source, kind="step"):
    name = {"step": "javascriptstep.JavaScriptStep", "rule": "javascriptrule.JavaScriptRule"}[kind]
    return f"<com.mirth.connect.plugins.{name}><script><![CDATA[{source}]]></script></com.mirth.connect.plugins.{name}>"


def rule(field, condition, *values, operator=""):
    tag = "com.mirth.connect.plugins.rulebuilder.RuleBuilderRule"
    inner = "".join(f"<string>{value}</string>" for value in values)
    return (
        f"<{tag}><name>r</name><operator>{operator}</operator><field>{field}</field>"
        f"<condition>{condition}</condition><values>{inner}</values></{tag}>"
    )


CODE, TRIGGER = "msg['MSH']['MSH.9']['MSH.9.1'].toString()", "msg['MSH']['MSH.9']['MSH.9.2'].toString()"
SEX = "msg['PID']['PID.8']['PID.8.1'].toString()"


@pytest.mark.parametrize(
    ("rules", "filters"),
    [
        ([rule(CODE, "EQUALS", "'ADT'", "'SIU'")], [{"message_type": {"allow": ["ADT", "SIU"]}}]),
        ([rule(TRIGGER, "EQUALS", "'A01'")], [{"condition": {"expression": "msg['MSH-9.2'] == 'A01'", "reason": "r"}}]),
        (
            [script(f"return {CODE} == 'ADT' && ({TRIGGER} == 'A01' || {TRIGGER} == 'A04');", "rule")],
            [{"message_type": {"allow": ["ADT^A01", "ADT^A04"]}}],
        ),
        (
            [rule(CODE, "EQUALS", "'ADT'"), rule(SEX, "EXISTS", operator="OR")],
            [{"condition": "msg['MSH-9.1'] == 'ADT' or msg['PID-8.1'] is not absent"}],
        ),
        (
            [
                rule(SEX, "EXISTS"),
                rule(SEX, "NOT_EQUAL", "'U'", "'X'", operator="AND"),
                rule(CODE, "EQUALS", "'A'", operator="OR"),
            ],
            [
                {
                    "condition": "msg['PID-8.1'] is not absent and msg['PID-8.1'] not in ['U', 'X']"
                    " or msg['MSH-9.1'] == 'A'"
                }
            ],
        ),
        (
            [rule(SEX, "CONTAINS", "'F'", "'M'")],
            [{"condition": {"expression": "'F' in msg['PID-8.1'] or 'M' in msg['PID-8.1']", "reason": "r"}}],
        ),
        (
            [rule(SEX, "NOT_CONTAIN", "'F'")],
            [{"condition": {"expression": "'F' not in msg['PID-8.1']", "reason": "r"}}],
        ),
        ([rule(SEX, "NOT_EXIST")], [{"condition": {"expression": "msg['PID-8.1'] is absent", "reason": "r"}}]),
        ([rule(SEX, "EQUALS")], [{"condition": {"expression": "msg['PID-8.1'] is absent", "reason": "r"}}]),
        ([script("return true;", "rule")], None),
        ([script(f"if ({SEX} == 'F') {{ return false; }} return {SEX} != 'M';", "rule")],
         [{"condition": "msg['PID-8.1'] != 'F' and msg['PID-8.1'] != 'M'"}]),
    ],
)  # fmt: skip
def test_filters(rules, filters):
    found, findings = of(channel(filters="".join(rules)))
    assert found.get("filters") == filters
    assert not findings.told


def test_a_filter_is_converted_as_a_whole_or_not_at_all():
    found, findings = of(channel(filters=rule(SEX, "EXISTS") + script("return check(msg);", "rule")))
    assert found["enabled"] is False and not found["filters"]
    assert [one.status for one in findings.told] == ["not converted", "not converted"]


@pytest.mark.parametrize(
    ("source", "steps"),
    [
        ("$c('a', '1'); channelMap.put('b.c', $('a'));", [{"vars": {"a": "1", "b_c": "{{ a }}"}}]),
        ("msg['PID']['PID.8']['PID.8.1'] = 'X';", [{"fields": {"PID-8.1": "X"}}]),
        (f"msg['PID']['PID.30']['PID.30.1'] = {SEX} == 'F';",
         [{"fields": {"PID-30.1": "{{ 'true' if msg['PID-8.1'] == 'F' else 'false' }}"}}]),
        ("delete msg['PID']['PID.19'];", [{"fields": {"PID-19": "{{ ABSENT }}"}, "absent": "empty"}]),
        (
            f"if ({SEX} == 'F') msg['PID']['PID.8']['PID.8.1'] = 'W';",
            [{"fields": {"PID-8.1": "W"}, "when": "msg['PID-8.1'] == 'F'"}],
        ),
        (
            f"if ({SEX} == 'F' || $('q')) {{ if ({SEX} == 'F') {{ $c('w', 'x'); }} }}",
            None,  # q is not known
        ),
        (
            f"$c('w', ''); if ({SEX} == 'F') {{ $c('w', 'her'); }} else if ({SEX} == 'M') {{ $c('w', 'his'); }}",
            [
                {"vars": {"w": "{{ ABSENT }}", "if_1": "{{ msg['PID-8.1'] == 'F' }}"}},
                {"vars": {"w": "her"}, "when": "if_1"},
                {"vars": {"w": "his"}, "when": "not if_1 and msg['PID-8.1'] == 'M'"},
            ],
        ),
        ("msg['PID']['PID.5']['PID.5.1'] = msg['PID']['PID.5']['PID.5.1'].toString() + '{{x}}';",
         [{"fields": {"PID-5.1": "{{ msg['PID-5.1'] ~ '{{x}}' }}"}}]),
    ],
)  # fmt: skip
def test_scripts(source, steps):
    found, findings = of(channel(transformer=script(source)))
    if steps is None:
        assert found["enabled"] is False
    else:
        assert [one["set"] for one in found["transformers"]] == steps, findings.told


@pytest.mark.parametrize(
    ("xml", "told"),
    [
        (channel(form="RAW"), "messages of the data type RAW"),
        (channel(rest="<postprocessingScript>sendMail();</postprocessingScript>"), "postprocessingScript"),
        (channel(source="<serverMode>false</serverMode>"), "source TCP Listener"),
        (channel(source="<transmissionModeProperties><startOfMessageBytes>02</startOfMessageBytes>"
                        "</transmissionModeProperties>"), "source TCP Listener"),
        (channel(source="<pluginProperties><com.mirth.connect.plugins.ssl.TlsProperties/></pluginProperties>"),
         "source TCP Listener: TlsProperties"),
        (channel(destinations="<connector><name>A</name><transportName>SMTP Sender</transportName><enabled>true"
                              "</enabled></connector>"), 'destination "A" (SMTP Sender)'),
        (channel(transformer="<com.mirth.connect.plugins.iterator.IteratorStep><name>i</name>"
                             "</com.mirth.connect.plugins.iterator.IteratorStep>"), 'IteratorStep "i"'),
    ],
)  # fmt: skip
def test_what_is_not_converted_is_told_and_disables_the_channel(xml, told):
    server = Server()
    server.take(xmltree.parse(xml, "x.xml"), "x.xml")
    (result,) = server.convert()
    assert told in [one.what for one in result.findings.told if one.status == "not converted"]
    assert result.channels[0].body["enabled"].value is False


SENDER = (
    "<connector><name>Lab</name><transportName>TCP Sender</transportName><enabled>true</enabled>"
    '<properties class="com.mirth.connect.connectors.tcp.TcpDispatcherProperties"><remoteAddress>lab</remoteAddress>'
    "<remotePort>2576</remotePort></properties><responseTransformer><elements>"
    "<com.mirth.connect.plugins.javascriptstep.JavaScriptStep><name>judge</name><enabled>true</enabled>"
    "<script><![CDATA[%s]]></script></com.mirth.connect.plugins.javascriptstep.JavaScriptStep>"
    "</elements></responseTransformer></connector>"
)
CODE = "msg['MSA']['MSA.1']['MSA.1.1'].toString()"


@pytest.mark.parametrize(
    ("script", "verdicts"),
    [
        (
            f"if ({CODE} == 'AE') {{ responseStatus = SENT; }}",
            [{"state": "sent", "when": "msg['MSA-1.1'] == 'AE'"}],
        ),
        (
            f"if ({CODE} == 'AR') {{ responseStatus = ERROR; responseStatusMessage = 'closed'; }}"
            " else { responseStatus = SENT; }",
            [
                {"state": "error", "when": "msg['MSA-1.1'] == 'AR'", "text": "closed"},
                {"state": "sent", "when": "msg['MSA-1.1'] != 'AR'"},
            ],
        ),
        ("responseStatus = ERROR;", [{"state": "error"}]),
        ("responseStatus = QUEUED;", None),
        ("responseStatus = SENT; sendMail();", None),
        ("responseStatusMessage = 'x';", None),
        (f"if ($('mrn') == {CODE}) {{ responseStatus = SENT; }}", None),  # the maps are not known any more
    ],
)
def test_response_transformers(script, verdicts):
    found, findings = of(channel(destinations=SENDER % script))
    steps = found["destinations"]["lab"].get("response")
    if verdicts is None:
        assert [one.what for one in findings.told if one.status == "not converted"] == [
            'response transformer "judge"'
        ]
        assert found["enabled"] is False
    else:
        assert [one["verdict"] for one in steps] == verdicts, findings.told


def test_a_setting_that_is_not_known_is_told():
    _, findings = of(channel(source="<brandNew>7</brandNew><password>hunter2</password>"))
    assert [one.what for one in findings.told] == [
        "source TCP Listener: brandNew = 7",
        "source TCP Listener: password = …",
    ]


@pytest.mark.parametrize(
    ("xml", "code", "where"),
    [
        (b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><channel>&e;</channel>', "mirth.xml", "x.xml:1:1"),
        (b"<channel>\n <a>\n</channel>", "mirth.xml", "x.xml:3:3"),
        (b"<a>" * 300, "mirth.xml", "x.xml:1:601"),
        (b"", "mirth.xml", "x.xml:1:1"),
        (b"<?xml version='1.0' encoding='klingon'?><channel/>", "mirth.xml", "x.xml:1:"),
        (b"<html/>", "mirth.export", "x.xml:1:1"),
        (b"<channelGroup><channels><channel/></channels></channelGroup>", "mirth.export", "x.xml:1:1"),
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused_with_its_place(xml, code, where):
    with pytest.raises(ConfigError) as error:
        of(xml)
    assert error.value.code == code and error.value.where.startswith(where)


def run(*words):
    return CliRunner().invoke(cli, ["import-mirth", *map(str, words)])


def test_the_verb_writes_yaml_and_report(tmp_path):
    result = run(EXPORTS / "lab.xml", "--to", tmp_path / "config")
    assert result.exit_code == 0, result.output
    assert not load(tmp_path / "config/channels.yaml", {}).errors
    assert "| 79 |" in (tmp_path / "config/channels.import.md").read_text("utf-8")
    again = run(EXPORTS / "lab.xml", "--to", tmp_path / "config")
    assert again.exit_code == 2 and "--force" in again.output
    assert run(EXPORTS / "old.xml", "--to", tmp_path / "config", "--force").exit_code == 1


def test_the_verb_tells_programs_and_wrong_files(tmp_path):
    told = json.loads(run(EXPORTS / "old.xml", "--json").stdout)
    assert {one["status"] for one in told["findings"]} == {"converted", "not converted"}
    assert {one["code"] for one in told["problems"]} == {"variable.unused"}  # who read it was not converted
    (tmp_path / "a.xml").write_text("<a>")
    result = run(tmp_path / "a.xml")
    assert isinstance(result.exception, ConfigError)
