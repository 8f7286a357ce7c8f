"""`impact` and `survey` over messages of a real store: what an edit would change, what nobody uses, codes seen."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from engine.cli import cli
from engine.store.sqlite import DATABASE
from tests.flow.desk import Desk, Sent
from tests.small import small

CONFIG = small(
    """
                name: "{{ event.patient.name.family }}"
                function: "{{ msg['PID-8'] }}"
                phone: "{{ msg['PID-13'] }}"
                comment: "{{ event.patient.marital_status.label }}\"""",
    key="{{ event.patient.key }}",
    filters="[{message_type: [ADT^A08, ADT^A31]}]",
    sexes="{M: male, F: female, U: unknown}, otherwise: keep",
)
MESSAGE = (
    "MSH|^~\\&|EHR|RGH|||20260101||{kind}|{number}|P|2.5\r"
    + "PID|1||{number}^^^RGH||{name}||19800101|{sex}|||Street\r"
)
SENT = [
    ("ADT^A08", "1", "Keller", "M"),
    ("ADT^A08", "2", "Moreau", "F"),
    ("ADT^A31", "3", "Abara", "X"),
    ("ADT^A31", "4", "Nowak", "M"),
    ("ADT^A60", "5", "Filtered", "F"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("impact")
    desk = Desk(folder, CONFIG)
    for kind, number, name, sex in SENT:
        raw = MESSAGE.format(kind=kind, number=number, name=name, sex=sex)
        desk.engine.channels["adt"].receive(Sent(raw.encode(), desk.now()))
        desk.settle()
    desk.stop()
    return folder


def run(folder, verb, *args, config=CONFIG):
    edited = folder / "edited.yaml"
    edited.write_text(config)
    result = CliRunner().invoke(cli, [verb, "adt", "-c", str(edited), "-d", str(folder / "data"), *args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def groups(folder, *args, config):
    result = run(folder, "impact", "--json", *args, config=config)
    told = json.loads(result.output)
    assert result.exit_code == (1 if told["groups"] else 0)
    return {(one["kind"], one["what"]): one for one in told["groups"]}, told


def test_nothing_differs_from_what_became_of_them(folder):
    result = run(folder, "impact")
    assert result.exit_code == 0
    assert "5 messages against what became of them: 0 come out otherwise, 5 the same" in result.output


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("otherwise: keep", "otherwise: error", {("new error", "transformers[0] code_table: table.code"): [3]}),
        ("[ADT^A08, ADT^A31]", "[ADT^A08]", {("newly filtered", "filters[0] message_type"): [3, 4]}),
        ("ADT^A31]", "ADT^A31, ADT^A60]", {("filter gone", "filters[0] message_type"): [5],
          ("new error", "destinations.odoo: template[0]: template.key"): [5]}),
        ("M: male", "M: man", {("changed", "odoo: upsert res.partner function"): [1, 4]}),
        ("name: \"{{ event", "name: \"Dr {{ event", {("changed", "odoo: upsert res.partner name"): [1, 2, 3]}),
        ("            - upsert", "            - archive: res.partner\n              key: x/1\n            - upsert",
         {("operation new", "odoo: archive res.partner"): [1, 2, 3]}),
        ("key: \"patient", "when: \"msg['PID-8'] != 'male'\"\n              key: \"patient",
         {("newly filtered", "odoo"): [1, 4]}),
        ("      odoo:\n        odoo:", "      erp:\n        odoo:",
         {("destination gone", "odoo"): [1, 2, 3], ("destination new", "erp"): [1, 2, 3]}),
    ],
)  # fmt: skip
def test_an_edit_is_told_in_groups_with_examples(folder, old, new, expected):
    assert old in CONFIG
    found, told = groups(folder, config=CONFIG.replace(old, new, 1))
    assert {key: group["examples"] for key, group in found.items()} == expected
    assert (told["messages"], told["unknown"]) == (5, 0)


def test_values_are_masked_unless_revealed(folder):
    config = CONFIG.replace("M: male", "M: man").replace(
        "\"{{ msg['PID-13'] }}\"", '"{{ event.patient.name.family }}"'
    )
    masked = (
        run(folder, "impact", config=config).output + run(folder, "impact", "--json", config=config).output
    )
    for value in ("male", 'man"', "Keller", "Moreau"):
        assert value not in masked
    assert "2 ×  a value → another value" in masked and "(absent) → a value" in masked
    shown = run(folder, "impact", "--reveal", config=config).output
    assert "2 ×  male → man" in shown and "(absent) → Keller" in shown


def test_last_counts_messages_and_against_another_configuration_works(folder):
    config = CONFIG.replace("M: male", "M: man")
    _, told = groups(folder, "--last", "2", config=config)
    assert (told["messages"], told["differ"]) == (2, 1)
    other = folder / "other.yaml"
    other.write_text(config)
    assert groups(folder, "--against", str(other), config=config)[0] == {}
    message = folder / "m.hl7"
    message.write_text(MESSAGE.format(kind="ADT^A08", number="9", name="K", sex="M"))
    found, _ = groups(folder, str(message), "--against", str(folder / "channels.yaml"), config=config)
    assert found["changed", "odoo: upsert res.partner function"]["count"] == 1
    assert run(folder, "impact", str(message)).exit_code == 2, "files have no fate"
    assert CliRunner().invoke(cli, ["impact", "nope", "-c", str(other)]).exit_code == 2


def test_the_store_is_not_written(folder):
    def everything():
        with closing(sqlite3.connect(folder / "data" / DATABASE)) as db:
            return list(db.iterdump())

    before = everything()
    run(folder, "impact", config=CONFIG.replace("M: male", "M: man"))
    run(folder, "survey")
    assert everything() == before


def test_survey_names_what_nobody_uses_and_what_never_arrives(folder):
    result = run(folder, "survey", "--json", "--census", "PID-8", "--census", "PID-5.1")
    told = json.loads(result.output)
    assert (told["messages"], told["filtered"], result.exit_code) == (5, 1, 0)
    assert [(one["path"], one["name"], one["messages"]) for one in told["unused"]] == [
        ("PID-1", "Set ID Pid", 4),
        ("PID-11", "Patient Address", 4),
        ("PID-7", "Date Time Of Birth", 4),
    ], "the canonical event has them, and no template takes them from there"
    assert [one["path"] for one in told["never"]] == ["PID-13", "event.patient.marital_status"]
    (sex,) = told["tables"]
    assert [(one["code"], one["count"], bool(one["where"])) for one in sex["seen"]] == [
        ("M", 2, True), ("F", 1, True), ("X", 1, False)
    ]  # fmt: skip
    assert [one["code"] for one in sex["never"]] == ["U"]
    coded, named = told["census"]
    assert [(one["code"], one["count"]) for one in coded["values"]] == [("M", 2), ("F", 1), ("X", 1)]
    assert named["masked"] and named["different"] == 4 and named["values"] == []
    text = run(folder, "survey", "--census", "PID-5.1").output
    assert "Keller" not in text and "X  not in the table: kept as it is" in text
    assert "Keller" in run(folder, "survey", "--census", "PID-5.1", "--reveal").output
    failing = run(folder, "survey", config=CONFIG.replace("otherwise: keep", "otherwise: error"))
    assert failing.exit_code == 1 and "an error" in failing.output
