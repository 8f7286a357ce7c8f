"""Edits of a configuration, and the words for them."""

from __future__ import annotations

import pytest

from channels.wording import told

BASE = """
connections:
  clinic: {odoo: {url: "${ODOO_URL}", api_key: !secret one}}
tables:
  sex: {values: {M: male, F: female}}
  ward: {file: tables/ward.csv}
channels:
  adt:
    lanes: 64
    listener: {mllp: {port: 2575}}
    filters:
      - message_type: {allow: [ADT^A01]}
      - condition: "a == 1"
    destinations:
      odoo: {odoo: {connection: clinic, batch_size: 200}, on_error: hold_key}
"""
FILES = {
    "channels.yaml": BASE,
    "tables/ward.csv": "code,name\nA,Alpha\nB,Beta\n",
    "templates/patient.yaml": "- upsert: res.partner\n  key: a\n  values: {name: x}\n",
}


def words(files):
    before, after = ({name: text.encode() for name, text in side.items()} for side in (FILES, files))
    return told(before, after)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("a == 1", "a == 2", "channel adt: filter condition changed: a == 1 → a == 2"),
        ("[ADT^A01]", "[ADT^A02]", 'channel adt: filter message_type changed: allow ["ADT^A01"] → ["ADT^A02"]'),
        ('      - condition: "a == 1"\n', "", "channel adt: filter condition removed"),
        ("    filters:\n", "    filters:\n      - sample: 2\n", "channel adt: filter sample added"),
        ("batch_size: 200", "batch_size: 50", "channel adt: destination odoo: batch_size 200 → 50"),
        ("hold_key", "skip", "channel adt: destination odoo: on_error hold_key → skip"),
        ("      odoo: {odoo", "      other: {odoo", "channel adt: destination odoo removed; destination other added"),
        ("2575", '"${PORT:-2576}"', "channel adt: listener: port 2575 → ${PORT:-2576}"),
        ("lanes: 64", "lanes: 8", "channel adt: lanes 64 → 8"),
        ("    lanes: 64\n", "", "channel adt: lanes removed (was 64)"),
        ("F: female", "F: female, D: diverse", "table sex: code D added: diverse"),
        ("M: male", "M: man", "table sex: code M male → man"),
        ("!secret one", "!secret two", "connection clinic: api_key changed"),
        ("${ODOO_URL}", "http://x", "connection clinic: url ${ODOO_URL} → http://x"),
        ("  adt:\n", "  new:\n", "channel adt removed"),
    ],
)  # fmt: skip
def test_a_sentence_for_an_edit(old, new, sentence):
    assert BASE.count(old) == 1
    assert words({**FILES, "channels.yaml": BASE.replace(old, new)})[0] == sentence


def test_other_files():
    assert words({**FILES, "tables/ward.csv": "code,name\nA,Alpha\nC,Ce\n"}) == [
        "table ward: code B removed (was Beta); code C added: Ce"
    ]
    edited = FILES["templates/patient.yaml"].replace("name: x", "name: y")
    assert words({**FILES, "templates/patient.yaml": edited}) == [
        "template templates/patient.yaml changed lines 3"
    ]
    assert words({**FILES, "m.j2": "x"}) == ["file m.j2 added"]
    assert words({**FILES, "channels.yaml": "channels: ["})[-1] == "file channels.yaml changed lines 1"


def test_moving_and_comments_are_no_change():
    head, channels = BASE.split("channels:\n")
    assert words({**FILES, "channels.yaml": "# new\n" + head, "adt.yaml": "channels:\n" + channels}) == []
    assert words(FILES) == []
