"""`isthmus config` on a store without an engine: back to a version, refused, forced, cut off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from desk import Desk, scripted  # noqa: F401
from reloading import TWO, make_desk, reload  # noqa: F401

from engine.cli import cli

PLAIN = "channels:\n  adt:\n    lanes: {lanes}\n    listener: {{mllp: {{port: 2575}}}}\n"
FIRST, SECOND = PLAIN.format(lanes=64), PLAIN.format(lanes=8)


@pytest.fixture(name="desk")
def two_versions(make):
    desk, _ = make(FIRST)
    more = desk.path.with_name("more.yaml")
    more.write_text("channels:\n  siu:\n    listener: {mllp: {port: 2576}}\n")
    told = reload(desk, "include: [more.yaml]\n" + SECOND)
    assert told["taken"], told
    return desk


def verb(desk, *arguments, config=False):
    where = ["--data", str(desk.engine.data_dir)] + (["--config", str(desk.path)] if config else [])
    return CliRunner().invoke(cli, ["config", *arguments, *where])


def history(desk):
    return json.loads(verb(desk, "history", "--json").output)


def stopped(desk, monkeypatch):
    monkeypatch.setattr("engine.cli.access.running", lambda tx, now: False)


def test_history_show_and_diff(desk):
    newest, first = history(desk)
    assert (newest["id"], first["id"]) == (2, 1)
    assert FIRST.strip() in verb(desk, "show", "1").output
    said = verb(desk, "diff", "1", "2", config=True)
    assert said.exit_code == 1 and said.output.startswith("channel adt: lanes 64 → 8\nchannel siu added\n")
    assert "-    lanes: 64\n+    lanes: 8" in said.output
    assert verb(desk, "diff", config=True).exit_code == 0
    assert verb(desk, "show", "nothing").exception.code == "config.version"


def test_rollback(desk, monkeypatch):
    stopped(desk, monkeypatch)
    said = verb(desk, "rollback", "1", "--note", "too few lanes", config=True)
    assert said.exit_code == 0, said.output
    assert desk.path.read_text() == FIRST and not desk.path.with_name("more.yaml").exists()
    newest, _, first = history(desk)
    assert newest["version"] == first["version"] and newest["actor"].startswith("cli")
    assert newest["note"] == f"rollback to {first['version']}: too few lanes"


def test_edits_that_no_version_has_are_kept(desk, monkeypatch):
    stopped(desk, monkeypatch)
    edited = desk.path.read_text() + "# mine\n"
    desk.path.write_text(edited)
    refused = verb(desk, "rollback", "1", config=True)
    assert refused.exception.code == "config.edited" and "channels.yaml" in str(refused.exception)
    assert desk.path.read_text() == edited and len(history(desk)) == 2
    assert verb(desk, "rollback", "1", "--force", config=True).exit_code == 0
    assert desk.path.read_text() == FIRST
    assert desk.path.with_name("channels.yaml.before-rollback").read_text() == edited


def test_cut_off_between_two_files_it_can_be_done_again(desk, monkeypatch):
    stopped(desk, monkeypatch)
    assert verb(desk, "rollback", "1", config=True).exit_code == 0
    rename, done = Path.replace, []

    def cut(self, target):
        if done:
            raise OSError("power cut")
        done.append(target)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", cut)
    assert isinstance(verb(desk, "rollback", "2", config=True).exception, OSError) and len(done) == 1
    monkeypatch.setattr(Path, "replace", rename)
    assert verb(desk, "rollback", "2", config=True).exit_code == 0
    assert desk.path.read_text().endswith(SECOND) and desk.path.with_name("more.yaml").exists()
    assert not list(desk.path.parent.glob(".*.rollback"))


def test_a_dry_run_says_what_would_be_written_where(desk):
    said = verb(desk, "rollback", "1", "--dry-run", config=True)
    folder = desk.path.parent
    assert said.output.splitlines() == [
        f"{folder}/channels.yaml would be written",
        f"{folder}/more.yaml would be removed",
    ]
    assert desk.path.read_text().endswith(SECOND) and len(history(desk)) == 2


def test_another_configuration_is_refused_whatever_is_forced(desk, monkeypatch, tmp_path):
    stopped(desk, monkeypatch)
    desk.advance(2)  # the engine has told where its configuration is
    other = tmp_path / "other"
    other.mkdir()
    for name in ("channels.yaml", "clinic.yaml"):
        (other / name).write_text(FIRST)
    where = ["--data", str(desk.engine.data_dir), "--config"]
    for name, more in (
        ("channels.yaml", ()),
        ("channels.yaml", ("--force",)),
        ("clinic.yaml", ("--moved", "--force")),
    ):
        refused = CliRunner().invoke(cli, ["config", "rollback", "2", *more, *where, str(other / name)])
        assert refused.exception.code == "config.other", refused.output
        assert str(other / name) in str(refused.exception)
    assert [file.read_text() for file in sorted(other.iterdir())] == [FIRST, FIRST]
    said = CliRunner().invoke(
        cli, ["config", "rollback", "2", "--moved", *where, str(other / "channels.yaml")]
    )
    assert said.exit_code == 0, said.output
    assert (other / "channels.yaml").read_text().endswith(SECOND)
