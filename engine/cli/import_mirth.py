"""`import-mirth`: channel exports of Mirth Connect as channels in YAML."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import msgspec

from engine.cli.lint import check
from engine.mirth import export
from engine.mirth.findings import Finding
from engine.mirth.report import report, summary
from engine.spec.channel import load
from engine.spec.document import Problem

REPORT = ".import.md"


@click.command("import-mirth")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--to",
    type=click.Path(path_type=Path),
    help="A YAML file, or a folder for `channels.yaml`; beside it the report.",
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
@click.option(
    "--json", "as_json", is_flag=True, help="For programs: the findings as JSON on standard output."
)
def command(files: tuple[Path, ...], to: Path | None, force: bool, as_json: bool) -> None:
    """Convert channel exports of Mirth Connect and Open Integration Engine, 3.0 to 4.x, to YAML.

    FILES are channels, channel groups or backups of a server. What is not converted is told line by line, and its
    code is quoted in the report beside the YAML (`channels.import.md`). A channel of which a part is missing comes
    out with `enabled: false`. Nothing of an export is run.

    Exit 0 when everything was converted, 1 when something is left to do.

    Example: isthmus import-mirth channel.xml --to config/lab.yaml
    """
    server = export.Server()
    for file in files:
        server.read(file)
    results = server.convert()
    text = export.text(results, server.tables)
    target = to / "channels.yaml" if to and (to.is_dir() or not to.suffix) else to
    problems = _write(text, report(results), target, force) if target else _linted(text)
    findings = [one for result in results for one in result.findings.told]
    if as_json:
        click.echo(_json(results, problems))
    elif target is None:
        click.echo(text, nl=False)
    for line in [] if as_json else _told(results, problems):
        click.echo(line, err=True)
    left = any(one.status == "not converted" for one in findings) or any(
        p.severity == "error" for p in problems
    )
    sys.exit(1 if left else 0)


def _told(results: list[export.Result], problems: list[Problem]) -> list[str]:
    lines = [f"{result.findings.file}:{one}" for result in results for one in result.findings.told]
    lines += [f"lint: {problem}" for problem in problems]
    channels = [one for result in results for one in result.channels]
    inner = sum(one.inner for one in channels)
    told = f"channels: {sum(one.whole for one in channels)} of {len(channels)} have a listener here"
    told += f", {inner} went into others" if inner else ""
    return [*lines, told, *summary(results)]


def _write(text: str, told: str, target: Path, force: bool) -> list[Problem]:
    """Write both files; what `lint` says of the YAML."""
    beside = target.with_name(target.stem + REPORT)
    there = [str(file) for file in (target, beside) if file.exists()]
    if there and not force:
        raise click.UsageError(f"{' and '.join(there)} would be written over; name another place, or --force")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")
    beside.write_text(told, encoding="utf-8")
    return _problems(target)


def _linted(text: str) -> list[Problem]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "channels.yaml"
        file.write_text(text, encoding="utf-8")
        found = _problems(file)
    return [
        Problem(
            one.code,
            msgspec.structs.replace(one.mark, file="channels.yaml"),
            one.text,
            one.hint,
            one.severity,
        )
        for one in found
    ]


def _problems(file: Path) -> list[Problem]:
    """What `lint` says; a configuration without a channel is what an export without a listener gives."""
    return [one for one in check(load(file)) if one.code != "channels.none"]


def _json(results: list[export.Result], problems: list[Problem]) -> str:
    told: list[tuple[str, Finding]] = [
        (result.findings.file, one) for result in results for one in result.findings.all
    ]
    found = {
        "findings": [{"file": file, **msgspec.to_builtins(one)} for file, one in told],
        "problems": problems,
    }
    return msgspec.json.format(msgspec.json.encode(found), indent=1).decode()
