"""The documentation holds what the code has: error codes, verbs, settings, links; and its examples run."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from channels.build import CONNECTIONS
from engine.cli import VERBS, cli
from engine.cli.lint import check
from engine.spec import reference
from engine.spec.channel import load
from engine.spec.schema import schema
from transforms.canonical import catalogue

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"^[a-z0-9_]+(\.[a-z0-9_]+)+$")
SINGLE = {"poison", "overload"}


def codes() -> dict[str, str]:
    """Every error code that the source gives as `code="..."`, and a file that does."""
    found: dict[str, str] = {}
    for top in ("engine", "channels", "listeners", "transforms", "destinations"):
        for file in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                for keyword in node.keywords:
                    value = keyword.value
                    if (
                        keyword.arg == "code"
                        and isinstance(value, ast.Constant)
                        and isinstance(value.value, str)
                    ) and (CODE.match(value.value) or value.value in SINGLE):
                        found[value.value] = str(file.relative_to(ROOT))
    return found


def test_there_are_codes():
    assert len(codes()) > 80


@pytest.mark.parametrize("code", sorted(codes()))
def test_every_error_code_is_explained(code):
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{re.escape(code)}` \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    assert row, f"{code} ({codes()[code]}) is not in docs/errors.md"
    assert len(row[1]) > 10, code


def test_no_error_code_is_explained_that_does_not_exist():
    page = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
    source = "\n".join(
        file.read_text(encoding="utf-8")
        for top in ("engine", "channels", "listeners", "transforms", "destinations", "console")
        for file in (ROOT / top).rglob("*.py")
    )
    for code in re.findall(r"^\| `([a-z0-9_.]+)` \|", page, re.MULTILINE):
        last = code.rpartition(".")[2]
        assert f'"{code}"' in source or f'"{last}"' in source or f"{code.rpartition('.')[0]}." in source, code


def verbs() -> list[list[str]]:
    """Every verb and subcommand."""
    found = []
    for name in VERBS:
        command = cli.get_command(None, name)
        subcommands = sorted(getattr(command, "commands", {}))
        found += [[name, sub] for sub in subcommands] or [[name]]
    return found


@pytest.mark.parametrize("verb", verbs(), ids=" ".join)
def test_every_verb_has_help_with_an_example(verb):
    result = CliRunner().invoke(cli, [*verb, "--help"])
    assert result.exit_code == 0
    assert "Example: isthmus " + verb[0] in " ".join(result.output.split())


@pytest.mark.parametrize("name", sorted(VERBS))
def test_every_verb_is_documented(name):
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert re.search(rf"isthmus {name}\b|`{name}\b", text), name


def test_a_wrong_verb_gets_a_suggestion():
    result = CliRunner().invoke(cli, ["mesages"])
    assert result.exit_code == 2
    assert "Did you mean 'messages'?" in result.output


def test_the_reference_is_fresh():
    assert (ROOT / "docs/reference.md").read_text(encoding="utf-8") == reference.page()


def test_the_schema_is_fresh():
    assert json.loads((ROOT / "config/channels.schema.json").read_text(encoding="utf-8")) == schema(
        CONNECTIONS
    )


def test_the_schema_of_events_is_fresh():
    text = (ROOT / "docs/events.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == catalogue.schemas()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_page_names_a_place_of_one_machine(page):
    assert not re.search(r"(?<![\w.])/(work|root|home)/", page.read_text(encoding="utf-8"))


def channel_snippets() -> list[tuple[str, str]]:
    """YAML blocks that are whole configurations."""
    found = []
    for page in PAGES:
        for number, block in enumerate(
            re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        ):
            if re.match(r"# [\w./-]+\.\w+\n", block):
                continue  # one file of several
            if re.search(r"^channels:", block, re.MULTILINE) and "…" not in block and "..." not in block:
                found.append((f"{page.name}:{number}", block))
    return found


@pytest.mark.parametrize(
    ("name", "block"), channel_snippets(), ids=lambda value: value if len(value) < 40 else ""
)
def test_configurations_in_the_docs_are_right(name, block, tmp_path):
    file = tmp_path / "channels.yaml"
    file.write_text(block, encoding="utf-8")
    problems = [
        str(problem) for problem in load(file).problems if problem.code not in ("env.unset", "secret.missing")
    ]
    assert not problems, name


def named_files(page: Path) -> dict[str, str]:
    """Blocks that begin with the name of a file: `# channels/adt.yaml`."""
    blocks = re.findall(r"```\w+\n# ([\w./-]+\.\w+)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    return dict(blocks)


@pytest.mark.parametrize("page", [page for page in PAGES if named_files(page)], ids=lambda page: page.name)
def test_configurations_of_several_files_in_the_docs_can_be_built(page, tmp_path):
    for name, text in named_files(page).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    configuration = load(tmp_path / "channels.yaml")
    assert [str(problem) for problem in check(configuration)] == []
    assert set(named_files(page)) <= {name for name, _ in configuration.files.digests}
