"""docs/cli.md has every verb, subcommand and option, and is fresh."""

import re
from pathlib import Path

import click
import pytest

from engine.cli import cli, manual

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
ALL = dict(manual.commands(cli))


def test_the_page_is_fresh():
    assert PAGE.read_text("utf-8") == manual.page(), "run `isthmus docs`"


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_verb_has_its_section_with_all_options(path):
    title = f"{'#' * (len(path) + 1)} isthmus {' '.join(path)}\n"
    section = re.split(r"\n##+ isthmus ", f"\n{manual.page()}".partition(f"\n{title}")[2])[0]
    assert "isthmus " + " ".join(path) in section
    for option in ALL[path].params:
        if isinstance(option, click.Option):
            assert f"`{option.opts[0]}`" in section and option.help.split()[0] in section
    if not isinstance(ALL[path], click.Group):
        assert "```sh\nisthmus " in section
