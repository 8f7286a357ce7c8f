"""Edits of a configuration: looked at beside it, written whole or not at all, and only where they belong."""

from __future__ import annotations

import pytest

from channels import editing
from channels.lint import check
from engine.errors import ConfigError
from engine.spec.channel import load

MAIN = """
include: [more/*.yaml]
tables: {sex: {file: tables/sex.yaml}}
channels:
  one:
    listener: {mllp: {port: 0}}
    transformers:
      - code_table: {path: PID-8.1, table: sex}
"""


@pytest.fixture
def path(tmp_path):
    root = tmp_path / "config"
    for name, text in {"channels.yaml": MAIN, "tables/sex.yaml": "M: male\n", "more/two.yaml": TWO}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root / "channels.yaml"


TWO = "channels: {two: {listener: {mllp: {port: 0}}}}\n"


def now(path):
    return editing.now(path, check)


def write(path, edits, seen=None, allowed=None):
    return editing.write(path, edits, seen or editing.etag(now(path)), allowed, check)


def test_what_is_edited_is_read_beside_what_is_not(path):
    before = now(path)
    after = editing.edited(
        before, {"tables/sex.yaml": "M: man\n", "more/three.yaml": TWO.replace("two", "three")}
    )
    with editing.staged(path, after, before) as (place, ours):
        made = load(place)
        assert check(made) == [] and sorted(made.channels) == ["one", "three", "two"]
        assert made.tables["sex"].get("M") == "man" and editing.contents(made).keys() == after.keys()
        assert ours(str(made.tables["sex"].place("M"))) == "tables/sex.yaml:1:1"
    assert now(path) == before and not place.exists()


def test_a_write_changes_exactly_what_was_edited(path):
    before, changed = write(path, {"tables/sex.yaml": "M: man\r\n", "channels.yaml": MAIN})
    assert changed == ["tables/sex.yaml"] and before == {"tables/sex.yaml": b"M: male\n"}
    assert path.with_name("tables").joinpath("sex.yaml").read_bytes() == b"M: man\n"


def test_files_that_changed_meanwhile_are_not_written_over(path):
    seen = editing.etag(now(path))
    write(path, {"tables/sex.yaml": "M: man\n"})
    with pytest.raises(ConfigError) as refused:
        write(path, {"tables/sex.yaml": "M: boy\n"}, seen)
    assert refused.value.code == "config.stale" and "man" in (path.parent / "tables/sex.yaml").read_text()


def test_errors_are_told_with_their_places_and_nothing_is_written(path):
    before = now(path)
    with pytest.raises(editing.Refusal) as refused:
        write(path, {"more/two.yaml": TWO.replace("listener", "listenr")})
    assert refused.value.code == "config.errors" and now(path) == before
    assert {problem.mark.file for problem in refused.value.problems} == {"more/two.yaml"}


@pytest.mark.parametrize(
    "name",
    [
        "../out.yaml",
        "/etc/passwd",
        "more/../../out.yaml",
        ".hidden.yaml",
        "more/.x.yaml",
        "a\\..\\b.yaml",
        "x.sh",
        "",
        "more//x.yaml",
    ],
)
def test_no_name_leads_elsewhere(path, name):
    with pytest.raises(ConfigError) as refused:
        write(path, {name: TWO.replace("two", "three")})
    assert refused.value.code == "config.name"
    assert not (path.parents[1] / "out.yaml").exists()


def test_a_folder_that_is_a_link_to_elsewhere_takes_no_new_file(path, tmp_path):
    (tmp_path / "else").mkdir()
    (path.parent / "more/two.yaml").rename(tmp_path / "else/two.yaml")
    (path.parent / "more").rmdir()
    (path.parent / "more").symlink_to(tmp_path / "else")
    with pytest.raises(ConfigError) as refused:
        write(path, {"more/three.yaml": TWO.replace("two", "three")})
    assert refused.value.code == "config.name" and not (tmp_path / "else/three.yaml").exists()


def test_a_file_that_nothing_reads_is_refused(path):
    with pytest.raises(ConfigError, match="nothing reads"):
        write(path, {"elsewhere.yaml": TWO.replace("two", "three")})


def test_whose_channel_it_is(path):
    write(path, {"more/two.yaml": TWO.replace("}}}}", "}}, description: Two}}")}, allowed=["two"])
    for edits in (
        {"channels.yaml": MAIN.replace("port: 0", "port: 1")},
        {"channels.yaml": MAIN.replace("more/*", "less/*")},
        {"tables/sex.yaml": "M: man\n"},
        {"more/two.yaml": TWO.replace("two", "three")},
        {"more/two.yaml": "connections: {x: {odoo: {url: 'http://evil.test'}}}\n" + TWO},
        {"more/two.yaml": "channels: [\n"},
    ):
        with pytest.raises(editing.Refusal) as refused:
            write(path, edits, allowed=["two"])
        assert refused.value.code == "config.rights", edits
