"""Every code of lint has its row in docs/lint.md, and every row is a code that lint gives."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/lint.md").read_text(encoding="utf-8")
CODE = re.compile(
    r'"((?:hl7|fhirpath|expression|variable|event|table|connection|port|channel|secret|odoo)\.[a-z_]+|template\.beside)"'
)
FILES = [
    *(ROOT / "channels/lint").glob("*.py"),
    ROOT / "engine/fhir/path_syntax.py",
    ROOT / "engine/cli/lint.py",
]


def given() -> set[str]:
    source = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    told = re.findall(r'self\.tell\(\s*"(syntax|function|arguments|element|type|variable)"', source)
    return {*CODE.findall(source), *(f"fhirpath.{code}" for code in told)}


def test_codes_and_page_agree():
    rows = set(re.findall(r"^\| `([a-z0-9_.]+\.[a-z_]+)` \| .+ \| .{10,} \|$", PAGE, re.MULTILINE))
    assert rows == given()
    assert len(rows) >= 30
