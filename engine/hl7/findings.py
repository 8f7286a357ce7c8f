"""What a check of a message against HL7 found: place and rule, in words that are the same every time.

Guarantees: no finding holds a value of the message; `read` gives back what `told` wrote, so that an ERR segment for
each finding can be made from a stored error. ERR-3 is HL7 table 0357 (v2.5.1 chapter 2.15.5; 104 and 198: v2.8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

Level = Literal["structure", "tables", "strict"]
LEVELS: tuple[Level, ...] = ("structure", "tables", "strict")
"""What is checked, each with those before it: structure; values in tables, and lengths; how values are written."""

MISSING, TOO_MANY = "is required and missing", "occurs more often than allowed"
WRONG_TYPE, TOO_LONG = "has the wrong data type", "is too long"
NOT_IN_TABLE, FOREIGN = "has a value that is not in table", "holds what does not belong there"
NOT_WRITTEN = "is not written as"

SHOWN = 10
_CONDITIONS = {
    MISSING: "101", TOO_MANY: "198", WRONG_TYPE: "102", TOO_LONG: "104", NOT_IN_TABLE: "103", NOT_WRITTEN: "102",
}  # fmt: skip
_PLACE = r"[A-Z][A-Z0-9]{2}(?:\[\d+\])?(?:-\d+(?:\[\d+\])?(?:\.\d+){0,2})?"
_TOLD = re.compile(rf"({_PLACE}) (\S[^;]*?)(?: \(.*)?$", re.DOTALL)


class Problem(NamedTuple):
    """One breach of the standard: from which level on it counts, where (`PID-3`, `PID`, `ADT_A01`), and what."""

    level: Level
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where} {self.what}"

    @property
    def condition(self) -> str:
        """ERR-3: a missing segment is a fault of the sequence (100), anything without a code of its own 199."""
        if self.what == MISSING and "-" not in self.where:
            return "100"
        return next((code for words, code in _CONDITIONS.items() if self.what.startswith(words)), "199")


def told(problems: Iterable[str]) -> str:
    """One text of them all; of many the first ten, and how many more there are."""
    found = list(problems)
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "; ".join(found[:SHOWN]) + more


def read(text: str) -> list[Problem]:
    """The findings of a text that `told` made, a hint in brackets at its end left out. None: it is another text."""
    found = (_TOLD.match(part) for part in text.split("; "))
    return [Problem("structure", one[1], one[2]) for one in found if one]
