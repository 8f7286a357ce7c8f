"""The shipped configuration with each of its keys deleted, renamed, or given another type: lint never breaks.

Guarantees that are tested: no exception; a finding has a place inside the file; a renamed key is told at its line.
"""

import shutil
from pathlib import Path

import pytest
import yaml

from channels.lint import check
from engine.spec.channel import load

CONFIG = Path(__file__).resolve().parents[2] / "config"
FILE = CONFIG / "channels.yaml"
OTHERS = ("[]", "{}", "7", "true", "null", '"text"', "[[1]]")
FREE = {
    "authorities",
    "connections",
    "tables",
    "channels",
    "destinations",
}  # what stands directly below is a name of the user's


def keys():
    """(path, key node, value node) of every key, in file order."""

    def walk(node, path):
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                yield (*path, key.value), key, value
                yield from walk(value, (*path, key.value))
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                yield from walk(item, (*path, index))

    return list(walk(yaml.compose(FILE.read_text("utf-8")), ()))


KEYS = keys()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("config")
    shutil.copytree(CONFIG / "tables", made / "tables")
    return made


def lint(folder, text):
    file = folder / "channels.yaml"
    file.write_text(text, "utf-8")
    problems = check(load(file, {}))
    lines = text.split("\n")
    for problem in problems:
        mark = problem.mark
        if Path(mark.file) == file:
            assert 1 <= mark.line <= len(lines), str(problem)
            assert 1 <= mark.column <= len(lines[mark.line - 1]) + 1, str(problem)
        assert problem.text and problem.code
    return problems


def replaced(node, new):
    text = FILE.read_text("utf-8")
    return text[: node.start_mark.index] + new + text[node.end_mark.index :]


@pytest.mark.parametrize(
    "path, key, value", KEYS, ids=lambda one: ".".join(map(str, one)) if isinstance(one, tuple) else ""
)
def test_a_renamed_key_is_told_at_its_line(folder, path, key, value):
    problems = lint(folder, replaced(key, f"{key.value}zz"))
    if len(path) > 1 and path[-2] in FREE:
        return  # a name: others that use it are told, or it is just another name
    line = key.start_mark.line + 1
    assert any(problem.mark.line == line for problem in problems), [str(problem) for problem in problems]


@pytest.mark.parametrize("other", OTHERS)
def test_a_value_of_another_type_never_breaks_lint(folder, other):
    for _, _, value in KEYS:
        lint(folder, replaced(value, other))


def test_a_deleted_key_never_breaks_lint(folder):
    text = FILE.read_text("utf-8")
    for _, key, value in KEYS:
        end = value.end_mark.index
        rest = text[end:].lstrip(" ")
        rest = rest[1:].lstrip(" ") if rest.startswith(",") else rest
        lint(folder, text[: key.start_mark.index] + rest)
    assert len(KEYS) > 50
