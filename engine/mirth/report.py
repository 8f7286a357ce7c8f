"""What somebody has to read after an import: what was not converted, line by line, and the code of it."""

from __future__ import annotations

import re

from engine.mirth.export import Result
from engine.mirth.findings import PARTS


def summary(results: list[Result]) -> list[str]:
    """`connectors 2 of 3 converted, …`, over all files."""
    lines = []
    for kind in PARTS:
        counts = [result.findings.counts()[kind] for result in results]
        done = sum(one["converted"] + one["adapted"] for one in counts)
        total = sum(one.total() for one in counts)
        if total:
            lines.append(f"{kind}s: {done} of {total} converted")
    return lines


def report(results: list[Result]) -> str:
    """The report as Markdown: every finding in a table, then the code that was not converted."""
    lines = ["# Import from Mirth", "", *(f"- {line}" for line in summary(results))]
    for result in results:
        lines += ["", f"## {result.findings.file}", "", "| line | channel | part | | why | what to do |"]
        lines += ["|---|---|---|---|---|---|"]
        for one in result.findings.all:
            cells = (str(one.line), one.channel, one.what, one.status, one.why, one.hint)
            lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    quotes = [(result, quote) for result in results for quote in result.findings.quotes]
    if quotes:
        lines += ["", "## Code that was not converted"]
    for result, quote in quotes:
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", quote.code)), 3)
        lines += ["", f"### {result.findings.file}:{quote.line} {quote.channel} {quote.what}".rstrip(), ""]
        lines += [f"{fence}javascript", quote.code.strip("\n"), fence]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
