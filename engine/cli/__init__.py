"""The command line: plain verbs, each with `--help` and an example; exit 0 done, 1 found something, 2 used wrongly.

A verb's module is imported when the verb is used, so that `--help` and small verbs start fast.
"""

from __future__ import annotations

import importlib
import resource
import sys
from typing import Any

import click

from engine.errors import IsthmusError

VERBS = {
    "run": ("engine.cli.run", "Start the engine with a configuration."),
    "demo": ("engine.cli.demo", "Start on the Odoo sandbox, send the samples, show what became of them."),
    "sandbox": ("engine.cli.sandbox", "Serve the Odoo stand-in alone."),
    "lint": ("engine.cli.lint", "Check configuration files."),
    "fmt": ("engine.cli.fmt", "Put YAML files into their normal form."),
    "try": ("engine.cli.try_", "What a channel would do to a message, step by step."),
    "plan": ("engine.cli.plan", "What messages would change in Odoo, field by field."),
    "test": ("engine.cli.test", "Run the channel tests beside a configuration."),
    "import-mirth": ("engine.cli.import_mirth", "Convert channel exports of Mirth Connect to YAML."),
    "impact": ("engine.cli.impact", "What an edited configuration would make of messages that came already."),
    "survey": (
        "engine.cli.survey",
        "What arrives and nobody uses, what is read and never arrives, codes seen.",
    ),
    "explain": ("engine.cli.explain", "What a place (PID-3.4), message type, HL7 table or error code is."),
    "new": ("engine.cli.new", "Begin a channel, with a sample message and a test."),
    "send": ("engine.cli.send", "Send HL7 files over MLLP and show the answers."),
    "messages": ("engine.cli.messages", "List, show, replay, resend, discard and export messages."),
    "job": ("engine.cli.job", "Watch, pause, resume and cancel acts on many messages."),
    "status": ("engine.cli.status", "What the engine and its channels are doing."),
    "console": ("engine.cli.console", "Serve the web console and the REST API."),
    "user": ("engine.cli.people:user", "Users of the console and the API."),
    "token": ("engine.cli.people:token", "API tokens."),
    "audit": ("engine.cli.people:log", "Who did what, and whether the audit log is whole."),
    "channel": ("engine.cli.channel", "Start, stop, pause and resume a channel."),
    "config": ("engine.cli.config", "The configurations that ran: history, diff, rollback."),
    "db": ("engine.cli.db", "Look after the store: backup, check, prune, vacuum, migrate, keys."),
    "docs": (
        "engine.cli.docs:docs",
        "Write the reference and verb pages, or the interface specification of a channel.",
    ),
    "schema": ("engine.cli.docs:schema", "Write the JSON Schema of channel files."),
    "bench": ("engine.cli.bench", "Measure this machine."),
}


class Verbs(click.Group):
    """The verbs, imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order of a working day."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One verb."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        found: click.Command = getattr(importlib.import_module(module), name or "command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, without importing the verbs."""
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """A wrong verb gets a suggestion."""
        if args and args[0] not in VERBS:
            from engine.spec.document import did_you_mean

            ctx.fail(f"there is no verb {args[0]!r}. {did_you_mean(args[0], VERBS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="isthmus")
def cli() -> None:
    """Isthmus: HL7v2 and FHIR to Odoo, with nothing lost on the way."""


def main() -> None:
    """Run the command line; an error of ours is one clear line and exit 2."""
    # Messages and keys are in our memory: a crash must not leave it on the disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    try:
        cli(standalone_mode=True, prog_name="isthmus")
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:
        from engine.store.sqlite import classify

        told = error if isinstance(error, IsthmusError) else classify(error)
        if told is None:
            raise
        click.echo(f"isthmus: {told} [{told.code}]", err=True)
        sys.exit(2)
