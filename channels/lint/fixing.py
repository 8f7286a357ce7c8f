"""`lint --fix`: corrects a word that stands at the place of a finding, when there is one word that was meant.

Guarantees: only that word changes, so comments and layout stay; only findings of `SAFE` whose hint is "Did you
mean", where the two words are nearly the same; nothing is changed that does not stand there as it was told.
Refuses nothing: what is not safe is left.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from channels.lint import check
from engine.spec.channel import load
from engine.spec.document import Problem

SAFE = ("key.unknown", "table.unknown", "expression.filter", "expression.test", "fragment.unknown")
KINDS = ("listener", "filter", "transformer", "destination", "format")
NEAR = 0.75  # how alike the words must be, 0 to 1
ROUNDS = 20
_WORD = re.compile(r"'([^']+)'")
_MEANT = re.compile(r"Did you mean '([^']+)'\?")


def fix_file(path: Path) -> list[str]:
    """Correct a configuration in its files; gives a line for each correction."""
    done: list[str] = []
    for _ in range(ROUNDS):
        fixes: dict[tuple[str, int], tuple[Problem, str, str]] = {}
        for problem in check(load(path)):
            words = correction(problem)
            if words is not None:
                fixes.setdefault((problem.mark.file, problem.mark.line), (problem, *words))  # one a line
        made = [
            f"{problem.mark}: {old} → {new} [{problem.code}]"
            for problem, old, new in fixes.values()
            if _replace(problem, old, new)
        ]
        if not made:
            break
        done += made
    return done


def correction(problem: Problem) -> tuple[str, str] | None:
    """The word that stands there and the one that was meant."""
    kind, _, last = problem.code.partition(".")
    if problem.code not in SAFE and not (kind in KINDS and last == "unknown"):
        return None
    word, meant = _WORD.search(problem.text), _MEANT.match(problem.hint)
    if word is None or meant is None:
        return None
    near = difflib.SequenceMatcher(None, word[1], meant[1]).ratio()
    return (word[1], meant[1]) if near >= NEAR else None


def _replace(problem: Problem, old: str, new: str) -> bool:
    path = Path(problem.mark.file)
    data = path.read_bytes().decode("utf-8")
    lines = data.split("\n")
    line = lines[problem.mark.line - 1]
    begin = problem.mark.column - 1 + (problem.mark.line == 1 and line.startswith("\ufeff"))
    begin += line[begin : begin + 1] in ("'", '"')
    after = line[begin + len(old) : begin + len(old) + 1]
    if line[begin : begin + len(old)] != old or after.isalnum() or after == "_":
        return False
    lines[problem.mark.line - 1] = line[:begin] + new + line[begin + len(old) :]
    path.write_bytes("\n".join(lines).encode("utf-8"))
    return True
