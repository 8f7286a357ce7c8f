"""Headings, paragraphs and tables, written as Markdown or as one HTML page. Guarantee: no text becomes markup."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}th,td{border:1px solid #bbb;padding:.2rem .5rem;text-align:left;"
    "vertical-align:top}code{overflow-wrap:anywhere}"
)


class Code(str):
    """Text that is shown as it is written."""


class Heading(NamedTuple):
    """A heading of a level from 1."""

    level: int
    text: str


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Rows(NamedTuple):
    """A table."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


Block = Heading | Text | Rows


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as Markdown."""
    parts = []
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"{'#' * block.level} {block.text}")
        elif isinstance(block, Text):
            parts.append(block.text)
        else:
            lines = [block.head, ["---"] * len(block.head), *block.rows]
            parts.append("\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    plain = " ".join(text.split()).replace("|", "\\|")
    if not isinstance(text, Code) or not plain:
        return plain.replace("<", "&lt;")
    fence = "``" if "`" in plain else "`"
    pad = " " if "`" in plain else ""
    return f"{fence}{pad}{plain}{pad}{fence}"


def html(blocks: Sequence[Block]) -> str:
    """The blocks as one page that needs nothing else."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    parts = ["<!doctype html>", '<html lang="en"><head><meta charset="utf-8">']
    parts.append(f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>")
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"<h{block.level}>{escape(block.text)}</h{block.level}>")
        elif isinstance(block, Text):
            parts.append(f"<p>{escape(block.text)}</p>")
        else:
            head = "".join(f"<th>{escape(cell)}</th>" for cell in block.head)
            body = "\n".join(f"<tr>{''.join(map(_td, row))}</tr>" for row in block.rows)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>")
    return "\n".join([*parts, "</body></html>", ""])


def _td(text: str) -> str:
    inner = f"<code>{escape(text)}</code>" if isinstance(text, Code) and text else escape(text)
    return f"<td>{inner}</td>"
