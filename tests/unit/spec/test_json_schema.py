"""The JSON Schema of channel files takes what validation takes, and says no to what editors can see."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from channels.build import CONNECTIONS
from engine.spec.channel import load
from engine.spec.component import registry
from engine.spec.reference import PLACES
from engine.spec.schema import schema

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = schema(CONNECTIONS)
VALIDATOR = Draft202012Validator(SCHEMA)


class Loader(yaml.SafeLoader):
    """As an editor reads it, with the tag `!secret` for texts and mappings."""


Loader.add_constructor(
    "!secret",
    lambda loader, node: (
        loader.construct_mapping(node, deep=True) if isinstance(node, yaml.MappingNode) else node.value
    ),
)
Loader.add_implicit_resolver("tag:yaml.org,2002:str", re.compile(r"^(?:on|off|yes|no|NO|ON)$"), list("oynNO"))


def wrong(text):
    return list(VALIDATOR.iter_errors(yaml.load(text, Loader)))


def test_it_is_a_schema():
    Draft202012Validator.check_schema(SCHEMA)


def documented():
    found = [ROOT / "config/channels.yaml"]
    blocks = [(file.name, file.read_text("utf-8")) for file in found]
    for page in sorted((ROOT / "docs").glob("*.md")):
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)):
            if re.search(r"^(channels|include|defaults|fragments|tables|connections):", block, re.MULTILINE):
                blocks.append((f"{page.name}:{number}", block))
    return blocks


@pytest.mark.parametrize(("name", "text"), documented(), ids=lambda value: value if len(value) < 40 else "")
def test_configurations_of_the_docs_are_right(name, text):
    if "…" in text or "..." in text:
        pytest.skip("not whole")
    assert [error.message for error in wrong(text)] == []


@pytest.mark.parametrize("item", list(registry), ids=lambda item: f"{item.kind} {item.name}")
def test_every_example_is_right_and_every_component_can_be_completed(item):
    inner = len(PLACES[item.kind].rsplit("\n", 1)[-1].partition("{}")[0])
    example = PLACES[item.kind].format(item.example.replace("\n", "\n" + " " * inner))
    listener = "" if item.kind == "listener" else "    listener: {mllp: {port: 1}}\n"
    text = f"channels:\n  a:\n{listener}{example}\n"
    assert [error.message for error in wrong(text)] == []
    assert [error.message for error in wrong(text.replace(f"{item.name}:", f"{item.name}x:", 1))] != []


def nodes(node):
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_every_component_has_hover_and_a_snippet():
    found = list(nodes(SCHEMA))
    for item in registry:
        bodies = [node["properties"][item.name] for node in found if item.name in node.get("properties", {})]
        assert any(item.summary == body.get("description") for body in bodies), item.name
        assert any(item.example in body.get("markdownDescription", "") for body in bodies), item.name
        snippets = [
            one for node in found for one in node.get("defaultSnippets", ()) if item.name == one["label"]
        ]
        assert {item.name: item.example_settings} in [one["body"] for one in snippets]


def test_settings_and_choices_are_described():
    channel = SCHEMA["properties"]["channels"]["additionalProperties"]["properties"]
    assert channel["lanes"]["description"].startswith("Number of lanes")
    destination = channel["destinations"]["additionalProperties"]["properties"]
    (choice, *_) = [node for node in nodes(destination["on_error"]) if "enum" in node]
    assert len(choice["markdownEnumDescriptions"]) == len(choice["enum"]) == 3
    assert all(choice["markdownEnumDescriptions"])


HEAD = "channels:\n  a:\n    listener: {mllp: {port: 2575}}\n"


@pytest.mark.parametrize(
    "text",
    [
        HEAD,
        "channels:\n  a:\n    listener:\n      mllp: {port: '${PORT}'}\n    lanes: ${LANES:-8}\n    enabled: ${ON}\n",
        HEAD
        + "    filters:\n      - message_type: [ADT, SIU^S12]\n      - condition: 1 == 1\n      - use: x\n",
        HEAD + "    filters:\n    destinations: {o: {use: x}}\n    retention: {content: 30d, errors: keep}\n",
        HEAD + "    ack: {ADT: routed, otherwise: stored}\n    storage: no-content\n",
        "channels: {a: {use: x}}\n",
        "include: a.yaml\n",
        "include: [a/*.yaml]\nx-any: [1]\nmacros: a.j2\nfunctions: [b]\ndisk: {pause: 1GiB}\n",
        "connections:\n  c: {odoo: {url: 'sandbox:', api_key: !secret key}}\n",
        "connections:\n  c: {odoo: {url: 'sandbox:', api_key: !secret {command: [pass, show, x], timeout: 5}}}\n",
        "tables:\n  t: {file: a.csv, column: b, otherwise: keep}\n  u: {values: {A: b, C: {x: y}}}\n",
        "defaults:\n  channel: {lanes: 4}\n  destination: {on_error: skip, odoo: {connection: c}}\n"
        "  listener: {mllp: {interface: '::'}, http: {}}\n",
        "fragments:\n  f: [{condition: x}, {set: {vars: {a: b}}}]\n  g: {timezone: UTC}\n",
    ],
)
def test_what_is_right(text):
    assert [error.message for error in wrong(text)] == []


@pytest.mark.parametrize(
    "text",
    [
        "chanels: {}\n",
        "channels: []\n",
        "channels: {a: {}}\n",
        HEAD + "    lanes: many\n",
        HEAD + "    lanes: 0\n",
        HEAD + "    ack: never\n",
        HEAD + "    filter: []\n",
        HEAD + "    filters: {condition: x}\n",
        HEAD + "    filters: [{conditon: x}]\n",
        HEAD + "    filters: [{condition: x, message_type: ADT}]\n",
        HEAD + "    filters: [{message_type: {alow: [ADT]}}]\n",
        HEAD + "    transformers: [{code_table: {path: PID-8}}]\n",
        HEAD + "    destinations: {o: {odo: {}}}\n",
        HEAD + "    destinations: {o: {odoo: {connection: c, templat: x}}}\n",
        HEAD + "    retention: {content: 30x}\n",
        "channels: {a: {listener: {mllp: {port: abc}}}}\n",
        "channels: {a: {listener: {mllp: {prt: 1}}}}\n",
        "connections: {c: {odo: {}}}\n",
        "connections: {c: {odoo: {url: x, api_key: !secret {comand: [x]}}}}\n",
        "tables: {t: {otherwise: never}}\n",
        "defaults: {chanel: {}}\n",
        "defaults: {destination: {odoo: {lnag: x}}}\n",
    ],
)
def test_what_is_wrong(text, tmp_path):
    assert wrong(text)
    file = tmp_path / "channels.yaml"
    file.write_text(text.replace("!secret {comand", "!secret {comand"), "utf-8")
    if not text.startswith("connections"):  # these are checked when they are built
        assert load(file, {}).errors
