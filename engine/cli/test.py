"""`test`: run the channel tests that stand beside a configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

import click

from channels import trial
from channels.build import Builder
from engine.cli.options import checked, config_option


@click.command("test")
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@config_option
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit report there, too."
)
def command(folder: Path | None, config: Path, junit: Path | None) -> None:
    """Run the channel tests of FOLDER (default: `tests` beside the configuration). Nothing is sent or stored.

    Exit 0 when all pass, 1 otherwise.

    Example: isthmus test config/tests
    """
    configuration = checked(config)
    builder = Builder(configuration)
    pipelines = {name: builder.pipeline(spec) for name, spec in configuration.channels.items()}
    files = sorted((folder or configuration.folder / "tests").glob("*.yaml"))
    if not files:
        raise click.UsageError("there are no tests (*.yaml) in this folder")
    outcomes = [trial.run(file, pipelines) for file in files]
    for outcome in outcomes:
        click.echo(f"{'FAIL' if outcome.wrong else 'ok  '} {outcome.file.name}: {outcome.name}")
        for line in outcome.wrong:
            click.echo(f"       {line}")
    failed = sum(bool(outcome.wrong) for outcome in outcomes)
    if junit is not None:
        junit.write_bytes(report(outcomes))
    click.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def report(outcomes: list[trial.Outcome]) -> bytes:
    """The outcomes as JUnit XML."""
    failed = sum(bool(outcome.wrong) for outcome in outcomes)
    suite = Element("testsuite", name="channels", tests=str(len(outcomes)), failures=str(failed))
    for outcome in outcomes:
        case = SubElement(suite, "testcase", classname=outcome.file.stem, name=outcome.name)
        if outcome.wrong:
            SubElement(case, "failure", message=outcome.wrong[0]).text = "\n".join(outcome.wrong)
    return tostring(suite, encoding="utf-8", xml_declaration=True)
