"""Configurations that are wrong: each problem at its line and column, with its code and its words."""

from __future__ import annotations

from pathlib import Path

import pytest

from channels.lint import check
from engine.odoo.snapshot import of_sandbox
from engine.spec.channel import load

HEAD = "channels:\n  a:\n    listener: {mllp: {port: 2575}}\n"

CASES = (Path(__file__).parent / "wrong_configurations.txt").read_text("utf-8").split("\n=== ")[1:]


def wrong(case):
    name, _, rest = case.partition("\n")
    text, _, problems = rest.partition("--- told\n")
    return pytest.param(text, problems.rstrip("\n").split("\n"), id=name)


@pytest.fixture
def loaded(tmp_path):
    def load_text(text, **environ):
        file = tmp_path / "channels.yaml"
        file.write_text(text, "utf-8")
        return load(file, environ)

    return load_text


@pytest.mark.parametrize(("text", "problems"), [wrong(case) for case in CASES])
def test_what_is_wrong_is_told_at_its_place(loaded, text, problems):
    found = check(loaded(text, TEXT="seven"), {"clinic": of_sandbox()})
    assert [f"{one.mark.line}:{one.mark.column} {one.code}: {one.text}" for one in found] == problems


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("chanels: {}\n", "Did you mean 'channels'?"),
        ("channels:\n  a:\n    listener: {mlp: {port: 1}}\n", "Did you mean 'mllp'?"),
        ("channels:\n  a:\n    listener: {mllp: {prot: 1, port: 2}}\n", "Did you mean 'port'?"),
        (HEAD + "    filter: []\n", "Did you mean 'filters'?"),
        (HEAD + "    retry: {}\n", "Known: ack, "),
        (HEAD + "    lanes: 0\n", "Number of lanes: hash(ordering key) mod lanes."),
        (HEAD + "    duplicates: {windw: 1}\n", "Did you mean 'window'?"),
        (
            HEAD + "    ack: {otherwise: never}\n",
            "When the ACK goes out; also per message type, with `otherwise`.",
        ),
        (HEAD + "    filters: [{conditon: x}]\n", "Did you mean 'condition'?"),
        (
            HEAD + "    destinations: {c: {odoo: {connection: c}, on_eror: skip}}\n",
            "Did you mean 'on_error'?",
        ),
        (
            HEAD + "    destinations: {c: {odoo: {connection: c}, retry: {attemps: 1}}}\n",
            "Did you mean 'attempts'?",
        ),
        (HEAD + "    order_with: b\n", "Known: a."),
        (HEAD + "    timezone: ${NOWHERE}\n", "Set it, or write ${NOWHERE:-default}."),
        (HEAD + "    charset: !secret k\n", "Set the variable K, or put a file k into $ISTHMUS_SECRETS."),
    ],
)
def test_every_problem_says_what_to_do(loaded, text, hint):
    assert any(one.hint.startswith(hint) for one in loaded(text).problems)


def test_an_empty_file_has_no_channel(loaded):
    assert [str(one).partition(": ")[2] for one in loaded("").problems] == [
        "error: there is no channel here. Add one below `channels:`. [channels.none]"
    ]
    assert len(CASES) >= 120


def test_all_problems_are_told_in_the_order_of_the_file(loaded):
    text = (
        HEAD + "    lanes: 0\n    zz: 1\n    filters: [x, {message_type: {allow: [adt]}}]\n    ack: never\n"
    )
    found = [(one.mark.line, one.code) for one in loaded(text).problems]
    assert found == [
        (4, "setting.invalid"),
        (5, "key.unknown"),
        (6, "filter.unknown"),
        (6, "setting.invalid"),
        (7, "setting.invalid"),
    ]


def test_what_an_alias_repeats_is_told_once(loaded):
    text = (
        "x-f: &f\n  - condition: ${NOWHERE}\n"
        + HEAD
        + "    filters: *f\n  b:\n    listener: {mllp: {port: 1}}\n    filters: *f\n"
    )
    found = loaded(text).problems
    assert sum(one.code == "env.unset" for one in found) == 1


def test_a_secret_is_never_in_a_problem(loaded):
    text = HEAD + "    lanes: !secret key\n    ack_mode: !secret key\n    timezone: [!secret key]\n"
    found = loaded(text, KEY="hunter2").problems
    assert len(found) == 3 and "hunter2" not in " ".join(map(str, found))


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        HEAD + "    enabled: NO\n",
        HEAD + "    filters:\n    transformers: []\n    destinations: {}\n",
        HEAD + "    filters:\n      - condition: 1 == 1\n      - message_type: ADT\n",
        HEAD + "    ack: {ADT^A01: delivered, ADT: routed, otherwise: stored}\n",
        HEAD + "    lanes: ${LANES:-8}\n    enabled: ${ENABLED:-false}\n",
        HEAD + "  b:\n    listener: {mllp: {port: 2576}}\n    order_with: a\n",
        "x-anything: {really: [1]}\n" + HEAD,
        "x: &x {lanes: 3}\nchannels:\n  a:\n    <<: *x\n    listener: {mllp: {port: 2575}}\n".replace(
            "x:", "x-x:", 1
        ),
    ],
)
def test_what_is_right_has_no_problem(loaded, text):
    configuration = loaded(text)
    assert configuration.problems == [] and configuration.errors == []
    assert next(iter(configuration.channels)) == "a"


def test_a_channel_as_it_is_declared(loaded):
    text = (
        HEAD.replace("2575", "'${PORT:-2575}'")
        + "    enabled: NO\n    ack: routed\n    duplicates: {other_bytes: reject}\n"
        + "    filters:\n      - message_type: {allow: [ADT]}\n"
        + "    destinations:\n      clinic:\n        odoo: {connection: clinic, template: patient}\n"
        + "        on_error: skip\n"
        + "        retry: {attempts: 3}\n        filters: [{condition: 1 == 1}]\n"
    )
    spec = loaded(text, PORT="4000").channels["a"]
    assert spec.options.enabled is False and spec.options.ack == "routed" and spec.options.lanes == 64
    assert spec.options.duplicates.other_bytes == "reject" and spec.options.duplicates.window == 7 * 86400
    assert spec.listener.settings.port == 4000 and spec.filters[0].label == "filters[0] message_type"
    (destination,) = spec.destinations
    assert (destination.name, destination.bound.component.name, destination.options.on_error) == (
        "clinic",
        "odoo",
        "skip",
    )
    assert destination.options.retry.attempts == 3 and destination.options.retry.initial == 1.0
    assert destination.filters[0].where == ("channels", "a", "destinations", "clinic", "filters", 0)
