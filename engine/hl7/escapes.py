r"""HL7 escape sequences in text (HL7 v2.5.1 chapter 2.7), both ways.

Guarantees: `unescape(escape(text)) == text` for every text, and `escape` never gives a delimiter, a segment
terminator or a byte that frames MLLP. Read: \F\ \S\ \T\ \R\ \E\ the delimiters, \P\ the truncation character,
\.br\ a new line, \H\ \N\ (highlighting) nothing, \Xdd..\ bytes in the message's character set. Kept as they are:
\Cxxyy\, \Mxxyyzz\, \Zxx\, other formatting commands (\.sp\, \.in\ ...), unknown sequences, and an escape
character that is not closed.
"""

from __future__ import annotations

import re

from engine.hl7.delimiters import NEVER, Delimiters

_patterns: dict[str, re.Pattern[str]] = {}


def _pattern(escape: str) -> re.Pattern[str]:
    pattern = _patterns.get(escape)
    if pattern is None:
        e = re.escape(escape)
        pattern = re.compile(f"{e}(F|S|T|R|E|P|H|N|\\.br|X(?:[0-9A-Fa-f]{{2}})+|\\.[A-Za-z]{{2}}[-+0-9]*"
                             f"|[CMZ][0-9A-Za-z]*){e}")  # fmt: skip
        _patterns[escape] = pattern
    return pattern


def unescape(text: str, delimiters: Delimiters, codec: str = "utf_8") -> str:
    """`text` with its escape sequences resolved; what is not one stays."""
    if delimiters.escape not in text:
        return text

    def resolve(match: re.Match[str]) -> str:
        sequence = match[1]
        match sequence:
            case "F":
                return delimiters.field
            case "S":
                given = delimiters.component
            case "T":
                given = delimiters.subcomponent
            case "R":
                given = delimiters.repetition
            case "E":
                given = delimiters.escape
            case "P":
                given = delimiters.truncation or NEVER
            case "H" | "N":
                return ""
            case ".br":
                return "\n"
            case _ if sequence[0] == "X":
                try:
                    return bytes.fromhex(sequence[1:]).decode(codec)
                except UnicodeDecodeError:
                    return match[0]
            case _:
                given = NEVER
        return match[0] if given == NEVER else given

    return _pattern(delimiters.escape).sub(resolve, text)


_tables: dict[Delimiters, dict[int, str]] = {}


def escape(text: str, delimiters: Delimiters) -> str:
    """`text` fit to be a value: delimiters, line ends and the bytes that frame MLLP escaped.

    In a message whose MSH-2 leaves no escape character they become blanks.
    """
    table = _tables.get(delimiters)
    if table is None:
        table = _table(delimiters)
        if len(_tables) < 1000:
            _tables[delimiters] = table
    return text.translate(table)


def _table(delimiters: Delimiters) -> dict[int, str]:
    e = delimiters.escape
    table = {}
    named = {
        delimiters.component: "S",
        delimiters.subcomponent: "T",
        delimiters.repetition: "R",
        delimiters.field: "F",
        delimiters.escape: "E",
        "\n": "X0A" if "." in delimiters[:5] else ".br",
        "\r": "X0D",
        "\x0b": "X0B",
        "\x1c": "X1C",
    }
    for char, name in named.items():
        if char != NEVER:
            table[ord(char)] = f"{e}{name}{e}" if e != NEVER else " "
    return table
