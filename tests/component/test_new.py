"""`new channel`: what it writes lints clean, passes its test, and nothing is written over."""

import pytest
from click.testing import CliRunner

from channels import scaffold
from engine.cli import cli
from engine.spec.template import shipped_folder


def isthmus(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.mark.parametrize("template", scaffold.BEGINNINGS)
@pytest.mark.parametrize("listener", scaffold.LISTENERS)
def test_a_new_channel_is_clean_and_passes_its_test(tmp_path, listener, template):
    target = tmp_path / "new" / "channels.yaml"
    made = isthmus("new", "channel", "intake", "--listener", listener, "--template", template, "--to", target)
    assert made.exit_code == 0, made.output
    linted = isthmus("lint", target)
    assert linted.exit_code == 0 and "0 errors, 0 warnings" in linted.output, linted.output
    tested = isthmus("test", "-c", target)
    assert tested.exit_code == 0 and "1 passed, 0 failed" in tested.output, tested.output
    text = (target.parent / "tests" / "intake.yaml").read_text("utf-8")
    assert "op: upsert" in text and "Nora Keller" in text  # the sample does make records
    tried = isthmus("try", "intake", target.parent / "samples" / "intake.hl7", "-c", target)
    assert tried.exit_code == 0, tried.output


def test_every_shipped_template_has_a_beginning():
    shipped = {path.stem for path in shipped_folder().glob("*.yaml")}
    assert shipped == set(scaffold.BEGINNINGS) | scaffold.ONLY_FHIR


@pytest.mark.parametrize("there", ["channels.yaml", "samples/intake.hl7", "tests/intake.yaml"])
def test_nothing_is_written_over(tmp_path, there):
    mine = tmp_path / there
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    made = isthmus("new", "channel", "intake", "--to", tmp_path / "channels.yaml")
    assert made.exit_code == 2 and "is there already" in made.output
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine] and mine.read_text() == "mine"


def test_without_a_file_it_is_printed():
    made = isthmus("new", "channel", "intake", "--port", "2601")
    assert made.exit_code == 0 and "mllp: {port: 2601}" in made.output


@pytest.mark.parametrize(
    ("words", "told"),
    [(["in take"], "no name for a channel"), (["intake", "--to", "x.txt"], "no channel file")],
)
def test_what_cannot_be_is_told(words, told):
    made = isthmus("new", "channel", *words)
    assert made.exit_code == 2 and told in made.output
