"""Every verb and subcommand says what it does, with an example that runs as it is written."""

import shlex

import click
import pytest

from engine.cli import VERBS, cli


def commands(group, context, path=()):
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, context, (*path, name))


ALL = dict(commands(cli, click.Context(cli)))
LEAVES = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}


def test_there_are_verbs():
    assert {path[0] for path in ALL} == set(VERBS)
    assert ("messages", "replay") in LEAVES and ("job", "cancel") in LEAVES


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_says_what_and_every_option_what_for(path):
    command = ALL[path]
    assert command.help and len(command.help.split("\n")[0]) > 10
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, option.name


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_an_example_is_understood(path):
    command = LEAVES[path]
    examples = [line.strip() for line in command.help.split("\n") if "Example: " in line]
    assert examples, f"{' '.join(path)} has no example"
    for example in examples:
        words = shlex.split(example.partition("Example: ")[2])
        while "=" in words[0]:  # the environment that it needs
            words.pop(0)
        assert tuple(words[: len(path) + 1]) == ("isthmus", *path)
        parser = command.make_parser(click.Context(command))
        _, left, _ = parser.parse_args(words[len(path) + 1 :])
        assert not left, f"{example}: {left}"
