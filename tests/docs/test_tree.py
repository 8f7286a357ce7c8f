"""The tree keeps its form: small files, nothing left open, and every component fully declared."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from engine.spec.component import PACKAGES, registry

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 400
FOLDERS = ("engine", "channels", "listeners", "transforms", "destinations", "bench", "tests", "console")
SOURCES = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
OPEN = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|NotImplemented" + r"Error\(")


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


def test_there_are_sources():
    assert len(SOURCES) > 100


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_no_file_is_over_the_limit(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LIMIT


@pytest.mark.parametrize("file", SOURCES, ids=name)
def test_nothing_is_left_open(file):
    assert not OPEN.search(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", [f for f in SOURCES if "tests" not in f.parts], ids=name)
def test_a_module_says_what_it_is(file):
    first = file.read_text(encoding="utf-8").lstrip("r")
    assert first.startswith('"""') or not first.strip()


def test_no_file_names_a_place_of_one_machine():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    place = re.compile(rb"(?<![\w.])/(?:wo" + rb"rk|fa" + rb"rm|ro" + rb"ot)/")
    bad = [
        one
        for one in listed.stdout.split()
        if (ROOT / one).is_file() and place.search((ROOT / one).read_bytes())
    ]
    assert not bad


@pytest.mark.parametrize("item", list(registry), ids=lambda item: f"{item.kind} {item.name}")
def test_a_component_is_fully_declared(item):
    assert len(item.summary) > 10, "a description"
    for setting, field in item.settings.model_fields.items():
        assert field.description, f"{setting} has no description"
    item.settings.model_validate(
        {item.settings.scalar: item.example_settings}
        if isinstance(item.example_settings, str)
        else item.example_settings
    )


@pytest.mark.parametrize("item", list(registry), ids=lambda item: f"{item.kind} {item.name}")
def test_a_component_is_one_file_of_its_name(item):
    module = item.settings.__module__
    assert module == f"{PACKAGES[item.kind]}.{item.name}"
