"""From bytes to text without losing any: MSH-18 (HL7 table 0211), its many spellings, and its lies.

Guarantees: every byte string decodes; never U+FFFD for a byte, never a rejection because of MSH-18. Tried in
this order, strictly: the channel's override, what MSH-18 declares, UTF-8, Windows-1252, ISO 8859-1 (which
cannot fail). Decoding with another codec than the declared one gives a warning.
Finds UTF-16 and UTF-32, which MLLP and ER7 delimiters cannot carry, so that they can be refused by name.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

from engine.errors import ConfigError

ESC = b"\x1b"  # ISO 2022 is made of ASCII bytes and this one

_TABLE_0211 = {
    "ASCII": "ascii",
    "USASCII": "ascii",
    "ISO646US": "ascii",
    "ISOIR6": "ascii",
    "UNICODE": "utf_8",  # 2.3-2.6 say UNICODE for an unnamed form; on a byte wire it can only be UTF-8
    "UNICODEUTF8": "utf_8",
    "UTF8": "utf_8",
    "ISOIR192": "utf_8",
    "ISOIR100": "iso8859_1",
    "ISOIR101": "iso8859_2",
    "ISOIR109": "iso8859_3",
    "ISOIR110": "iso8859_4",
    "ISOIR144": "iso8859_5",
    "ISOIR127": "iso8859_6",
    "ISOIR126": "iso8859_7",
    "ISOIR138": "iso8859_8",
    "ISOIR148": "iso8859_9",
    "ISOIR166": "tis_620",
    "ISOIR13": "shift_jis",  # JIS X 0201; its half-width katakana are the single bytes of Shift JIS
    "ISOIR14": "iso2022_jp_ext",
    "ISOIR87": "iso2022_jp_ext",
    "ISOIR159": "iso2022_jp_ext",
    "SHIFTJIS": "shift_jis",
    "SJIS": "shift_jis",
    "EUCJP": "euc_jp",
    "GB180302000": "gb18030",
    "GB18030": "gb18030",
    "GBK": "gbk",
    "GB2312": "gb2312",
    "BIG5": "big5",
    "CNS116431992": "euc_tw",
    "KSX1001": "euc_kr",
    "KSC5601": "euc_kr",
    "EUCKR": "euc_kr",
    "LATIN1": "iso8859_1",
    "ANSI": "cp1252",
    "CP1252": "cp1252",
    "WINDOWS1252": "cp1252",
    "WIN1252": "cp1252",
}
_PART = re.compile(r"(?:ISO)?8859(\d{1,2})$")
_CODE_PAGE = re.compile(r"(?:WINDOWS|CP|WIN)(125[0-8]|437|850|852|858)$")


# Only sets in which ASCII bytes mean themselves and line ends stay line ends: no UTF-7, UTF-16, HZ, EBCDIC.
_ACCEPTED = re.compile(
    r"(ascii|utf-8|koi8-[rut]|mac-roman|tis-620|shift_jis|gb2312|gbk|gb18030|big5|big5hkscs|cp(125\d|437|85\d|86\d|"
    r"874|932|949|950)|iso8859-\d+|euc_(jp|kr|jis_2004|jisx0213)|iso2022_(jp(_1|_2|_3|_2004|_ext)?|kr))$"
)


class Decoded(NamedTuple):
    """Text, the codec that gave it, and a warning where that is not the declared one."""

    text: str
    codec: str
    warning: str = ""


def codec_of(name: str) -> str | None:
    """The Python codec for one spelling of HL7 table 0211, or None when nobody knows it."""
    key = re.sub(r"[^A-Z0-9]", "", name.upper())
    known = _TABLE_0211.get(key)
    if known is None and (part := _PART.match(key)):
        known = f"iso8859_{int(part[1])}"
    if known is None and (page := _CODE_PAGE.match(key)):
        known = f"cp{page[1]}"
    try:
        return known if known and codecs.lookup(known) else None
    except LookupError:
        return None  # CNS 11643 has no codec in Python; 8859/12 was never issued


def override(name: str) -> str:
    """The codec for a channel's `charset` setting: a name of table 0211 or of Python."""
    found = codec_of(name)
    if found is None:
        try:
            info = codecs.lookup(name)
        except (LookupError, ValueError):
            info = None
        if info is None or not _ACCEPTED.match(info.name):
            raise ConfigError(
                f"unknown character set {name!r}",
                code="hl7.charset",
                todo="use a name of HL7 table 0211, such as UNICODE UTF-8 or 8859/1",
            )
        found = info.name
    return found


def declared(msh18: str, repetition: str = "~") -> str | None:
    """The codec that a whole MSH-18 means; an alternate ISO 2022 set decides (`ASCII~ISO IR87`)."""
    codecs_ = [codec_of(name) for name in msh18.split(repetition) if name]
    if "iso2022_jp_ext" in codecs_:
        return "iso2022_jp_ext"
    return next((codec for codec in codecs_ if codec), None)


def wide(raw: bytes) -> str:
    """`UTF-16` or `UTF-32` when the bytes look like it (byte order mark or NUL pattern), else ``."""
    head = raw[:64].lstrip(b"\x0b")
    if head[:4] in (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff") or b"M\0\0\0S\0\0\0H" in head:
        return "UTF-32"
    if b"\0\0\0M\0\0\0S\0\0\0H" in head:
        return "UTF-32"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"M\0S\0H" in head:
        return "UTF-16"
    return ""


def decode(raw: bytes, msh18: str = "", *, charset: str | None = None, repetition: str = "~") -> Decoded:
    """Text of `raw`; `charset` is the channel's override and is believed. Never fails."""
    wanted = override(charset) if charset else declared(msh18, repetition)
    warning = "" if wanted or not msh18 else "MSH-18 names an unknown character set"
    if wanted:
        text = _strict(raw, wanted)
        if text is not None and (charset or not _lies(raw, text, wanted)):
            return Decoded(text, wanted)
        warning = f"the bytes are not in the character set that is declared ({wanted})"
    for codec in ("utf_8", "cp1252", "latin_1"):
        text = _strict(raw, codec)
        if text is not None:
            if codec != "utf_8" and not warning:
                warning = "MSH-18 declares no character set and the bytes are not UTF-8"
            return Decoded(text, codec, f"{warning}; read as {codec}" if warning else "")
    raise AssertionError("ISO 8859-1 decodes every byte")


def _strict(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


def _lies(raw: bytes, text: str, codec: str) -> bool:
    """UTF-8 behind a single-byte name, which decodes anything.

    Believed to be UTF-8 when it is valid UTF-8 and either says only what the declared set can say, or the
    declared reading has control characters (80-9F) that no text has.
    """
    if raw.isascii() or not codec.startswith(("iso8859", "cp", "ascii", "tis")):
        return False
    real = _strict(raw, "utf_8")
    if real is None:
        return False
    try:
        return bool(real.encode(codec))
    except UnicodeEncodeError:
        return any("\x80" <= c <= "\x9f" for c in text)
