"""One configuration in several files: includes, defaults, fragments, secrets, and the version of all of it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from channels.build import Builder
from engine.model import Meta, Scope
from engine.spec.channel import load

LISTENER = "listener: {mllp: {port: 2575}}"


def told(configuration, tmp_path):
    return [str(one).replace(f"{tmp_path}{os.sep}", "") for one in configuration.problems]


def test_a_configuration_in_several_files(written, tmp_path):
    found = written(
        {
            "channels.yaml": "include: [channels/*.yaml, shared/tables.yaml]\nmacros: a.j2\n",
            "channels/adt.yaml": f"channels:\n  adt:\n    {LISTENER}\n    filters: [{{use: real}}]\n",
            "channels/siu.yaml": "channels: {siu: {listener: {mllp: {port: 2576}}, order_with: adt}}\n",
            "shared/tables.yaml": "include: more/odoo.yaml\ntables: {sex: {file: sex.csv}}\nmacros: [b.j2]\n",
            "a.j2": "",
            "shared/b.j2": "{% macro m() %}{% endmacro %}",
            "shared/sex.csv": "code,value\nM,male\n",
            "shared/more/odoo.yaml": "connections: {clinic: {odoo: {url: 'sandbox:'}}}\n"
            "fragments: {real: [{condition: 1 == 1}]}\n",
        }
    )
    assert told(found, tmp_path) == []
    assert list(found.channels) == ["adt", "siu"] and list(found.connections) == ["clinic"]
    assert found.tables["sex"].get("M") == "male" and str(found.tables["sex"].place("M")).endswith(
        "sex.csv:2:1"
    )
    assert found.document.data["macros"] == ["a.j2", "b.j2"]
    assert [item.component.name for item in found.channels["adt"].filters] == ["condition"]
    assert found.document.mark(("macros", 1)).file == str(tmp_path / "shared/tables.yaml")
    names = [name for name, _ in found.files.digests]
    assert names == [
        "a.j2", "channels.yaml", "channels/adt.yaml", "channels/siu.yaml", "shared/b.j2", "shared/more/odoo.yaml",
        "shared/sex.csv",
        "shared/tables.yaml",
    ]  # fmt: skip


def test_a_folder_is_a_configuration(written, tmp_path):
    files = {
        "a.yaml": f"channels: {{a: {{{LISTENER}}}}}\n",
        "b.yml": "include: sub/c.yaml\nchannels: {b: {listener: {mllp: {port: 1}}}}\n",
        "sub/c.yaml": "tables: {t: {values: {a: b}}}\n",
        "notes.txt": "x",
        "tests/t.yaml": "name: x\n",
    }
    found = written(files, start="")
    assert told(found, tmp_path) == [] and list(found.channels) == ["a", "b"] and "t" in found.tables
    assert found.folder == tmp_path


def test_an_empty_folder_has_no_configuration(tmp_path):
    found = [(one.code, one.mark.file) for one in load(tmp_path).problems]
    assert found == [("include.missing", str(tmp_path))]


@pytest.mark.parametrize(
    ("files", "problems"),
    [
        (
            {"channels.yaml": "include: [b.yml, bc.yaml]\n", "b.yaml": f"channels: {{a: {{{LISTENER}}}}}"},
            [
                "channels.yaml:1:11: error: there is no file b.yml. Did you mean 'b.yaml'? [include.missing]",
                "channels.yaml:1:18: error: there is no file bc.yaml. Did you mean 'b.yaml'? [include.missing]",
            ],
        ),
        (
            {
                "channels.yaml": f"include: b.yaml\nchannels:\n  a: {{{LISTENER}}}\n",
                "b.yaml": f"channels:\n  b: {{{LISTENER}}}\n  a: {{{LISTENER}}}\ninclude: channels.yaml\n",
            },
            [
                "b.yaml:3:3: error: channels.a is defined twice; first at channels.yaml:3:3."
                " Rename or delete one. [include.twice]",
                "b.yaml:4:10: error: these files include each other: channels.yaml → b.yaml → channels.yaml."
                " Remove one. [include.cycle]",
            ],
        ),
        (
            {
                "channels.yaml": f"include: [b.yaml, c.yaml]\nchannels: {{a: {{{LISTENER}}}}}\n",
                "b.yaml": "defaults: {channel: {lanes: 2}}\ndisk: {pause: 1GB}\n",
                "c.yaml": "defaults:\n  channel: {timezone: UTC, lanes: 3}\ndisk: {pause: 2GB}\ntables: 7\nx: 1\n",
            },
            [
                "c.yaml:2:28: error: defaults.channel.lanes is defined twice; first at b.yaml:1:22."
                " Rename or delete one. [include.twice]",
                "c.yaml:3:8: error: disk.pause is defined twice; first at b.yaml:2:8."
                " Rename or delete one. [include.twice]",
                "c.yaml:4:9: error: tables must be a mapping of names. [type.mapping]",
                "c.yaml:5:1: error: unknown key 'x'. Known: channels, connections, defaults, disk, fragments,"
                " functions, include, macros, tables. [key.unknown]",
            ],
        ),
        (
            {
                "channels.yaml": f"include: [x*.yaml, 7, b.yaml]\nchannels: {{a: {{{LISTENER}}}}}\n",
                "b.yaml": "- a",
            },
            [
                "b.yaml:1:1: error: an included file must be a configuration: a mapping with channels, tables …."
                " Templates, tables and tests belong into folders of their own. [type.mapping]",
                "channels.yaml:1:11: warning: no file is x*.yaml. Check the pattern: it is relative to this file."
                " [include.none]",
                "channels.yaml:1:20: error: this must be the path of a file. [include.path]",
            ],
        ),
    ],
)
def test_what_is_wrong_with_includes(written, tmp_path, files, problems):
    assert told(written(files), tmp_path) == problems


def test_a_wrong_place_in_an_included_file_is_told_there(written, tmp_path):
    files = {
        "channels.yaml": "include: sub/*.yaml\n",
        "sub/a.yaml": f"channels:\n  a:\n    {LISTENER}\n    transformers:\n      - jinja: {{file: no.j2}}\n",
    }
    found = written(files)
    assert found.errors == []
    builder = Builder(found)
    with pytest.raises(Exception, match=r"no\.j2") as caught:
        builder.pipeline(found.channels["a"])
    assert caught.value.where == f"{tmp_path}/sub/a.yaml:5:16"


def test_files_are_beside_the_file_that_names_them(written, tmp_path):
    text = (
        f"channels:\n  a:\n    {LISTENER}\n    transformers:\n      - jinja: {{file: t.j2, var: x}}\n"
        "      - python: names:tidy\n      - use: far\n"
    )
    files = {
        "channels.yaml": "include: [sub/a.yaml, frag/f.yaml]\n",
        "sub/a.yaml": text,
        "sub/t.j2": "near",
        "sub/names.py": "def tidy(vars):\n    vars['y'] = 'sub'\n",
        "frag/f.yaml": "fragments: {far: [{jinja: {file: t.j2, var: z}}]}\n",
        "frag/t.j2": "far",
    }
    found = written(files)
    assert told(found, tmp_path) == []
    pipeline = Builder(found).pipeline(found.channels["a"])
    scope = Scope(None, Meta())
    for step in pipeline.transformers:
        step.run(scope)
    assert scope.vars == {"x": "near", "y": "sub", "z": "far"}


def test_defaults_are_taken_where_a_channel_does_not_say_otherwise(written, tmp_path):
    found = written(
        {
            "channels.yaml": """
defaults:
  channel: {timezone: Europe/Madrid, retention: {content: 30d, messages: 60d}, canonical: {a: 1}}
  destination: {on_error: skip, retry: {attempts: 3, max: 9}, odoo: {connection: clinic, lang: es_ES}}
  listener: {mllp: {interface: 0.0.0.0}}
connections: {clinic: {odoo: {url: "sandbox:"}}}
channels:
  a:
    listener: {mllp: {port: 1}}
    destinations: {o: {odoo: {template: patient}}, p: {odoo: {template: patient, lang: ""}, retry: {max: 5}}}
  b: {timezone: UTC, retention: {content: 7d}, listener: {mllp: {port: 2, interface: "::1"}}, canonical: {b: 2}}
""".lstrip()
        }
    )
    assert told(found, tmp_path) == []
    a, b = found.channels["a"], found.channels["b"]
    assert (a.options.timezone, b.options.timezone) == ("Europe/Madrid", "UTC")
    assert (a.options.retention.content, b.options.retention.content) == (30 * 86400, 7 * 86400)
    assert b.options.retention.messages == 60 * 86400 and b.options.canonical == {"a": 1, "b": 2}
    assert (a.listener.settings.interface, b.listener.settings.interface) == ("0.0.0.0", "::1")
    o, p = a.destinations
    assert o.options.on_error == "skip" and (o.options.retry.max, p.options.retry.max) == (9, 5)
    assert p.options.retry.attempts == 3 and o.bound.settings.connection == "clinic"
    assert (o.bound.settings.lang, p.bound.settings.lang) == ("es_ES", "")
    assert str(found.document.mark((*a.where, "timezone"))).endswith("channels.yaml:2:23")
    assert str(found.document.mark((*b.where, "timezone"))).endswith("channels.yaml:10:17")


def test_a_wrong_default_is_told_once_and_where_it_is_written(written, tmp_path):
    text = """
defaults:
  channel: {lanes: 0, timzone: UTC}
  destination: {on_error: never, odoo: {lnag: x, batch_size: 0}, filters: []}
  listener: {mlp: {}, mllp: {max_size: x}}
  step: {}
channels:
  a: {listener: {mllp: {port: 1}}}
  b: {listener: {mllp: {port: 2}}}
"""
    found = told(written({"channels.yaml": text.lstrip()}), tmp_path)
    assert [line.partition(". ")[0].removeprefix("channels.yaml:") for line in found] == [
        "2:20: error: lanes: input should be greater than or equal to 1",
        "2:23: error: unknown key 'timzone'",
        "3:27: error: on_error: input should be 'hold_key', 'hold_lane' or 'skip'",
        "3:41: error: unknown key 'lnag'",
        "3:62: error: batch_size: input should be greater than or equal to 1",
        "3:66: error: unknown key 'filters'",
        "4:14: error: unknown key 'mlp'",
        "4:40: error: max_size: input should be a valid integer, unable to parse string as an integer",
        "5:3: error: unknown key 'step'",
    ]


def test_fragments(written, tmp_path):
    text = """
fragments:
  real: [{condition: "1 == 1"}, {use: types}]
  types: {message_type: ADT}
  clinical: {timezone: Europe/Madrid, lanes: 3, use: base}
  base: {ack: routed, lanes: 9}
  to_odoo: {odoo: {connection: c, template: patient}, on_error: skip}
  ops: [{upsert: res.partner, key: a, values: {name: b}}]
connections: {c: {odoo: {url: "sandbox:"}}}
channels:
  a:
    use: clinical
    listener: {mllp: {port: 1}}
    filters: [{condition: "2 == 2"}, {use: [real, types]}, {condition: "3 == 3"}]
    destinations:
      o: {use: to_odoo, filters: [{use: types}]}
      p: {odoo: {connection: c, operations: [{use: ops}, {archive: res.partner, key: b}]}}
"""
    found = written({"channels.yaml": text.lstrip()})
    assert told(found, tmp_path) == []
    channel = found.channels["a"]
    names = ["condition", "condition", "message_type", "message_type", "condition"]
    assert [item.component.name for item in channel.filters] == names
    places = [str(found.document.mark(item.where)).rpartition("yaml:")[2] for item in channel.filters]
    assert places == ["13:15", "2:10", "3:10", "3:10", "13:60"]
    assert (channel.options.timezone, channel.options.lanes, channel.options.ack) == (
        "Europe/Madrid",
        3,
        "routed",
    )
    o, p = channel.destinations
    assert o.options.on_error == "skip" and o.filters[0].component.name == "message_type"
    assert [item.get("upsert") for item in p.bound.settings.operations] == ["res.partner", None]


def test_what_is_wrong_with_fragments(written, tmp_path):
    text = """
fragments:
  a: [{use: b}]
  b: [{use: a}]
  lonely: {}
  steps: [{condition: ""}]
channels:
  c:
    use: steps
    listener: {mllp: {port: 1}}
    filters: [{use: a}, {use: stepz}, {use: {x: y}}, {use: steps}, {use: steps, x: y}]
"""
    found = told(written({"channels.yaml": text.lstrip()}), tmp_path)
    assert [line.partition(". ")[0].removeprefix("channels.yaml:") for line in found] == [
        "3:13: error: these fragments contain each other: a → b → a",
        "5:23: error: expression: string should have at least 1 character",
        "8:10: error: the fragment 'steps' must be a mapping to be used here",
        "10:31: error: there is no fragment 'stepz'",
        "10:45: error: `use` takes the name of a fragment, or a list of them",
        "10:68: error: a filter is one type with its settings below it; this has several",
    ]


def test_fragments_cannot_blow_up(written, monkeypatch):
    monkeypatch.setattr("engine.spec.compose.MAX_VALUES", 10_000)
    lines = "".join(f"  f{n}: [{{use: [f{n - 1}, f{n - 1}]}}]\n" for n in range(1, 40))
    text = f"fragments:\n  f0: [{{condition: x}}]\n{lines}channels: {{a: {{{LISTENER}, filters: [{{use: f39}}]}}}}\n"
    assert "yaml.size" in [one.code for one in written({"channels.yaml": text}).problems]


def test_a_variable_becomes_a_number(written, tmp_path):
    text = "channels:\n  a:\n    listener:\n      mllp:\n        port: ${PORT}\n"
    text += "    lanes: ${L:-5}\n    description: at ${PORT}!\n"
    found = written(
        {"channels.yaml": text + "    canonical:\n      default_duration: ${D:-15}\n"}, {"PORT": "4000"}
    )
    assert told(found, tmp_path) == []
    spec = found.channels["a"]
    assert spec.listener.settings.port == 4000 and spec.options.lanes == 5
    assert spec.options.description == "at 4000!" and spec.options.canonical == {"default_duration": 15}
    digits = (
        "connections:\n  c:\n    odoo:\n      url: 'sandbox:'\n      database: ${DB}\n      api_key: ${DB}\n"
    )
    found = written({"channels.yaml": f"{digits}channels: {{a: {{{LISTENER}}}}}"}, {"DB": "2024"})
    connection = Builder(found).connections["c"]
    assert connection.database == "2024" and connection.api_key.get_secret_value() == "2024"


def test_the_version_covers_every_file(written, tmp_path):
    files = {
        "channels.yaml": f"include: b.yaml\ntables: {{t: {{file: t.csv}}}}\nchannels:\n  a:\n    {LISTENER}\n"
        "    timezone: ${TZ_:-UTC}\n    transformers:\n      - jinja: {file: t.j2}\n      - python: names:tidy\n"
        "    destinations: {o: {odoo: {connection: c, template: own.yaml}}}\n",
        "b.yaml": "connections: {c: {odoo: {url: 'sandbox:'}}}\n",
        "t.csv": "a,b\n1,2\n",
        "t.j2": "x",
        "names.py": "def tidy(): ...\n",
        "own.yaml": "- {upsert: res.partner, key: a, values: {name: b}}\n",
    }
    first = Builder(written(files)).version
    assert first and Builder(written(files)).version == first
    for name in files:
        assert Builder(written({**files, name: files[name] + "# \n"})).version != first, name
    assert Builder(written(files, {"TZ_": "Europe/Madrid"})).version != first
    assert Builder(written(files)).version == first
    twin = tmp_path / "elsewhere"
    shutil.copytree(tmp_path, twin, ignore=lambda *_: ["elsewhere"])
    assert Builder(load(twin / "channels.yaml", {})).version == first


def test_what_a_component_reads_is_covered_before_it_is_built(written, tmp_path):
    text = f"channels:\n  a:\n    {LISTENER}\n    transformers: [{{jinja: {{file: t.j2, var: x}}}}]\n"
    found = written({"channels.yaml": text, "t.j2": "old"})
    builder = Builder(found)
    version = builder.version
    Path(tmp_path / "t.j2").write_text("new")
    builder.pipeline(found.channels["a"])
    assert builder.version == version and found.files.text(tmp_path / "t.j2") == "old"
