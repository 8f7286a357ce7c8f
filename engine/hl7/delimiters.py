r"""Where the header begins and which characters separate what: MSH-1 and MSH-2 (HL7 v2.5.1 chapter 2.5.4).

Guarantees: any MSH-2 gives usable delimiters; what had to be assumed is said in `warning`. A separator that
cannot be known is `NEVER`, a character that no message has. Refuses: a header whose fourth byte cannot be a
separator (a letter, digit, blank, quote, control or non-ASCII byte): that is text, not HL7.

| MSH-2        | read as                                                  |
|--------------|----------------------------------------------------------|
| `^~\&`       | component, repetition, escape, subcomponent              |
| `^~\&#`      | the same; `#` is the truncation character (HL7 2.7)      |
| `^~\\&`      | the same; the doubled backslash is taken once            |
| `^~` `~\&`   | only standard characters, but too few: the standard four |
| `@`          | by position; the rest from the standard four             |
| empty, text, not ASCII | the standard four                              |
"""

from __future__ import annotations

from typing import NamedTuple

STANDARD = "^~\\&"
NEVER = "\uffff"
BLANK = b" \t\r\n\x0b\x0c\x1c"
BOM = b"\xef\xbb\xbf"
MLLP = b"\x0b\x1c"
LEADING = " \t\x0b\x0c\x1c\ufeff"
_SEPARATORS = frozenset(b"!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_BLANK = frozenset(b" \t\x0c")
_STARTS = frozenset(b"\r\n\x0b\x1c")


class Delimiters(NamedTuple):
    """The separators of one message, each one character."""

    field: str
    component: str
    repetition: str
    escape: str
    subcomponent: str
    truncation: str = ""
    warning: str = ""

    @property
    def encoding_characters(self) -> str:
        """MSH-2 as it should have been written: `delimiters` reads the same out of it.

        A separator that is missing is written as the component separator once more, which cannot be it; without
        a component separator nothing is written, because only an empty MSH-2 leaves that out.
        """
        if self.component == NEVER:
            return ""
        four = self.component + self.repetition + self.escape + self.subcomponent
        return (four + self.truncation).replace(NEVER, self.component)


def locate(raw: bytes, start: int = 0) -> int:
    """The offset, from `start` on, of the first `MSH` with a plausible separator at the start of a line, or -1.

    Only blanks, a byte order mark and MLLP bytes may stand before it. Takes time in proportion to the bytes,
    whatever they are.
    """
    at = raw.find(b"MSH", start)
    while at >= 0:
        if at + 3 < len(raw) and raw[at + 3] in _SEPARATORS:
            before = at
            while before and (raw[before - 1] in _BLANK or raw[max(0, before - 3) : before] == BOM):
                before -= 1 if raw[before - 1] in _BLANK else len(BOM)
            if not before or raw[before - 1] in _STARTS:
                return at
        at = raw.find(b"MSH", at + 3)
    return -1


_known: dict[tuple[str, str], Delimiters] = {}


def delimiters(field: str, encoding: str) -> Delimiters:
    """The delimiters that MSH-1 `field` and MSH-2 `encoding` mean."""
    found = _known.get((field, encoding))
    if found is None:
        found = _read(field, encoding)
        if len(_known) < 1000:  # senders are few; hostile ones must not fill the memory
            _known[field, encoding] = found
    return found


def _read(field: str, encoding: str) -> Delimiters:
    text = encoding.replace("\\\\", "\\") if len(encoding) > 4 else encoding
    warning = ""
    if text != encoding:
        warning = "MSH-2 has its backslash doubled; it is taken once"
    if not text or len(text) > 6 or any(c.isalnum() or not "!" <= c <= "~" for c in text):
        return _complete(field, "", "MSH-2 has no encoding characters; the standard ones are assumed")
    if len(text) < 4:
        given = "" if set(text) <= set(STANDARD) else text
        return _complete(field, given, "MSH-2 has fewer than 4 characters; the standard ones are assumed")
    if len({field, *text[:4]}) < 5:
        return _complete(field, text[:4], "MSH-2 uses one character for two purposes")
    return Delimiters(field, text[0], text[1], text[2], text[3], text[4:5], warning)


def _complete(field: str, given: str, warning: str) -> Delimiters:
    four: list[str] = []
    for place, standard in enumerate(STANDARD):
        wanted = given[place : place + 1]
        free = [c for c in (wanted, standard) if c and c != field and c not in four]
        four.append(free[0] if free else NEVER)
    return Delimiters(field, four[0], four[1], four[2], four[3], warning=warning)
