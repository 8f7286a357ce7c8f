"""`test`: run the channel tests that stand beside a configuration, or write them; and what they cover."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, tostring

import click
import msgspec
from rich.text import Text

from channels import rerecord
from channels.coverage import Coverage
from channels.trial import Outcome, Runner
from engine.cli.asking import asking, lookups_option
from engine.cli.options import checked, config_option, data_option, json_option
from engine.cli.showing import console
from engine.spec.channel import Configuration
from engine.spec.document import did_you_mean


@click.command("test")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@config_option
@click.option(
    "--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write a JUnit report there, too."
)
@click.option("--coverage", is_flag=True, help="Tell which lines of the channels no test exercises.")
@click.option("--update", is_flag=True, help="Write what comes today into the expectations of failing tests.")
@click.option(
    "--record",
    "message",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Write a test from the messages of this file, with what comes of them today.",
)
@click.option("--channel", help="The channel of --record.")
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The test file that --record writes.",
)
@lookups_option
@data_option
@json_option
def command(
    paths: tuple[Path, ...],
    config: Path,
    junit: Path | None,
    coverage: bool,
    update: bool,
    message: Path | None,
    channel: str | None,
    target: Path | None,
    lookups: str,
    data: Path,
    as_json: bool,
) -> None:
    """Run the channel tests of PATHS, files or folders (default: `tests` beside the configuration).

    Nothing is sent or stored. With `--lookups ask`, --record writes into the test what `lookup` steps found: that
    may be patient data; a test that does not name them asks each time. Exit 0 when all pass, 1 otherwise.

    Example: isthmus test config/tests --coverage
    """
    configuration = checked(config)
    with asking(lookups, data) as who:
        if message is not None:
            record(configuration, Runner(configuration, None, who), message, channel, target)
            return
        files = _files(paths or (configuration.folder / "tests",))
        if not files:
            raise click.UsageError("there are no tests (*.yaml) here")
        covered = Coverage(configuration) if coverage else None
        outcomes = _run(Runner(configuration, covered, who), files, update=update)
    failed = sum(bool(outcome.wrong) for outcome in outcomes)
    if junit is not None:
        junit.write_bytes(report(outcomes))
    if as_json:
        told = {"tests": outcomes, "coverage": _covered(covered)} if covered else {"tests": outcomes}
        click.echo(msgspec.json.encode(told, enc_hook=str).decode())
    else:
        _show(outcomes)
        if covered is not None:
            _show_coverage(covered)
        click.echo(f"{len(outcomes) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


def _run(runner: Runner, files: list[Path], *, update: bool) -> list[Outcome]:
    outcomes = [outcome for file in files for outcome in runner.run(file)]
    if not update:
        return outcomes
    _update(runner, outcomes)
    return [outcome for file in files for outcome in runner.run(file)]


def _files(paths: tuple[Path, ...]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found += sorted([*path.rglob("*.yaml"), *path.rglob("*.yml")]) if path.is_dir() else [path]
    return [file for file in found if file.is_file()]


def _show(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        word = ("FAIL", "bold red") if outcome.wrong else ("ok  ", "green")
        console.print(Text.assemble(word, f" {outcome.file.name}: {outcome.name}"))
        for wrong in outcome.wrong:
            console.print(Text.assemble(f"       {wrong.where}  ", (wrong.what, "bold"), f" {wrong.text}"))
            if not wrong.text:
                console.print(Text.assemble("           expected  ", (repr(wrong.expected), "green")))
                console.print(Text.assemble("           got       ", (repr(wrong.got), "red")))


def _covered(coverage: Coverage) -> dict[str, object]:
    missing = [{"where": where, "what": what} for where, what in coverage.missing]
    return {"exercised": len(coverage.all) - len(missing), "of": len(coverage.all), "missing": missing}


def _show_coverage(coverage: Coverage) -> None:
    missing = coverage.missing
    for where, what in missing:
        console.print(Text.assemble((where, "yellow"), f"  never exercised: {what}"))
    done = len(coverage.all) - len(missing)
    console.print(
        f"coverage {coverage.share:.0%}: {done} of {len(coverage.all)} steps, operations, values and codes"
    )


def _update(runner: Runner, outcomes: list[Outcome]) -> None:
    for file in dict.fromkeys(outcome.file for outcome in outcomes if outcome.wrong):
        try:
            new = rerecord.update(runner, file)
        except (LookupError, OSError, TypeError):
            continue  # its form is wrong, and it is told
        if new != file.read_text("utf-8"):
            file.write_text(new, "utf-8")
            click.echo(f"updated {file}", err=True)


def record(
    configuration: Configuration, runner: Runner, message: Path, channel: str | None, target: Path | None
) -> None:
    """Write a test from the messages of a file."""
    if channel not in runner.pipelines:
        known = did_you_mean(channel or "", runner.pipelines)
        raise click.UsageError(f"--record wants --channel. {known}")
    file = target or configuration.folder / "tests" / f"{channel}-{message.stem}.yaml"
    if file.exists():
        raise click.UsageError(f"{file} is there already; name another file with --to, or use --update")
    parts = runner.pipelines[channel].format.parts(message.read_bytes())
    named = [
        (message.stem if len(parts) == 1 else f"{message.stem} {n}", raw) for n, raw in enumerate(parts, 1)
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(rerecord.record(runner, channel, named, file), "utf-8")
    click.echo(f"wrote {file}")


def report(outcomes: list[Outcome]) -> bytes:
    """The outcomes as JUnit XML."""
    failed = sum(bool(outcome.wrong) for outcome in outcomes)
    suite = Element("testsuite", name="channels", tests=str(len(outcomes)), failures=str(failed))
    for outcome in outcomes:
        line = outcome.where.rsplit(":", 2)[1] if outcome.where.count(":") > 1 else "1"
        case = SubElement(
            suite,
            "testcase",
            classname=outcome.file.stem,
            name=outcome.name,
            file=str(outcome.file),
            line=line,
        )
        if outcome.wrong:
            told = "\n".join(map(str, outcome.wrong))
            SubElement(case, "failure", message=str(outcome.wrong[0])).text = told
    return tostring(suite, encoding="utf-8", xml_declaration=True)
