"""Every component says what it is: description, documented settings, a valid example, and bad YAML that it refuses."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.spec.channel import load
from engine.spec.component import registry
from engine.spec.document import Document, read_text

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
COMPONENTS = list(registry)
WRONG = (HERE / "wrong_configurations.txt").read_text("utf-8")


def named(component):
    return f"{component.kind} {component.name}"


@pytest.mark.parametrize("component", COMPONENTS, ids=named)
def test_a_component_is_described(component):
    assert component.summary.endswith("."), "the docstring of the settings begins with a sentence"
    for name, setting in component.settings.model_fields.items():
        assert setting.description, f"{name} has no description"
        assert not setting.is_required() or setting.examples, f"{name} must be given, and has no example"


@pytest.mark.parametrize("component", COMPONENTS, ids=named)
def test_its_example_is_valid(component):
    document = read_text(component.example, Document(Path("example.yaml")), {"API_KEY": "x"})
    assert not document.problems
    assert list(document.data) == [component.name]
    component.settings.model_validate(document.data[component.name] or {})


@pytest.mark.parametrize("component", COMPONENTS, ids=named)
def test_an_unknown_setting_is_refused_at_its_place(component, tmp_path):
    """The bad YAML that every component must refuse: a setting that it does not have."""
    given = component.example_settings
    settings = {**(given if isinstance(given, dict) else {}), "zzz": 1}
    bad = {component.name: settings}
    channel = {"listener": bad if component.kind == "listener" else {"mllp": {"port": 2575}}}
    if component.kind == "format":
        channel["format"] = bad
    elif component.kind == "destination":
        channel["destinations"] = {"d": bad}
    elif component.kind == "response":
        channel["destinations"] = {"d": {"mllp": {"host": "lab", "port": 2576}, "response": [bad]}}
    elif component.kind != "listener":
        channel[f"{component.kind}s"] = [bad]
    file = tmp_path / "channels.yaml"
    file.write_text(json.dumps({"channels": {"a": channel}}, indent=1), "utf-8")
    problems = [problem for problem in load(file, {}).problems if "zzz" in problem.text]
    assert [problem.code for problem in problems] == ["key.unknown"]
    line, column = problems[0].mark.line, problems[0].mark.column
    assert file.read_text("utf-8").split("\n")[line - 1][column - 1 :].startswith('"zzz"')


def test_another_package_adds_a_component_without_touching_the_tree(tmp_path):
    """A real distribution with an entry point, seen by a new process."""
    (tmp_path / "hospital_steps.py").write_text(
        '''
from pydantic import Field
from engine.spec.component import Settings, component


@component("filter", "weekday_only", example="weekday_only: {days: [mon]}")
class WeekdayOnly(Settings):
    """Lets messages pass on some days."""

    days: list[str] = Field(default=[], description="Which days.", examples=[["mon"]])

    def build(self, context):
        return lambda scope: None
''',
        "utf-8",
    )
    info = tmp_path / "hospital_steps-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hospital-steps\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[isthmus.components]\nsteps = hospital_steps\n")
    good = tmp_path / "good.yaml"
    good.write_text(
        "channels:\n  a:\n    listener: {mllp: {port: 2575}}\n    filters: [{weekday_only: {days: [tue]}}]\n"
    )
    bad = tmp_path / "bad.yaml"
    bad.write_text(good.read_text().replace("days:", "dayz:"))

    def lint(file):
        code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; from engine.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, "lint", str(file)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )

    found = lint(good)
    assert found.returncode == 0, found.stdout + found.stderr
    found = lint(bad)
    assert found.returncode == 1 and "Did you mean 'days'?" in found.stdout
    assert "weekday_only" not in registry.names("filter")


def test_every_kind_has_bad_yaml_in_the_table():
    for kind in ("listener", "filter", "transformer", "destination", "response"):
        assert f"{kind}.unknown" in WRONG
