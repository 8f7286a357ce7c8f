"""Inputs made from samples: the repository's own, and the corpus beside it when that is there."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from random import Random

from tests.corpus import HL7V2

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = ROOT / "config" / "samples"
KB64 = 64 * 1024

PUNCTUATION = b"!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
CHARSETS = [
    "", "ASCII", "8859/1", "8859/2", "8859/5", "8859/8", "8859/12", "8859/15", "8859/0", "UNICODE UTF-8",
    "UNICODE", "UTF8", "UTF-16", "ISO IR6", "ISO IR13", "ISO IR14", "ISO IR87", "ISO IR159", "ASCII~ISO IR87",
    "ISO IR100", "ISO IR126", "ISO IR166", "GB 18030-2000", "GBK", "GB2312", "BIG-5", "CNS 11643-1992",
    "KS X 1001", "SJIS", "EUC-JP", "CP1252", "WINDOWS-1251", "CP437", "nonsense", "8859/١", "~", "\x00", "ANSI",
]  # fmt: skip
TEXTS = [
    "Müller", "Ωμέγα", "Иванов", "山田太郎", "王小明", "김철수", "אבג", "สมชาย",
    "ﾔﾏﾀﾞ", "😀", "\ufffd", "é\u0301",
]  # fmt: skip
CODECS = [
    "utf_8", "latin_1", "cp1252", "iso8859_5", "shift_jis", "euc_jp", "iso2022_jp_ext", "gb18030", "big5",
    "euc_kr", "tis_620", "utf_16", "utf_16_le", "utf_32_be",
]  # fmt: skip
TOKENS = [
    b"\r", b"\n", b"\r\n", b"\x0b", b"\x1c", b"\x1c\r", b"\x0b\x0b", b"|", b"^", b"~", b"\\", b"&", b'""', b'|""|',
    b"\xef\xbb\xbf", b"\x1b", b"\x1b$B", b"\x1b(B", b"\x0e", b"\x0f", b"\x00", b"\xff", b"\xff\xfe", b" ", b"\t",
    b"\x0c", b"\\F\\", b"\\E\\", b"\\.br\\", b"\\X0D0A\\", b"\\XFF\\", b"\\X\\", b"\\C2842\\", b"\\Z1\\", b"\\H\\",
    b"\\P\\",
    b"MSH", b"\rMSH|^~\\&|A|B", b"\rPID|", b"\rPID|1||7^^^A^MR~8", b"\nPV1|1|I", b"\rFHS|^~\\&", b"BHS|^~\\&|A|B\r",
    b"BTS|1\r", b"FTS|1\r", b"BTS|" + b"9" * 30, b"MRG|5\r", b"ADT^A40", b"SIU^S12", b"ACK", b"2.1", b"2.8",
    b"20260229", b"99991231235959+1400", b"00010101", b"24000000", b"-", b"0", b"1", b"\x85", b"\xe2\x80\xa8", b"\x80",
]  # fmt: skip


@lru_cache(maxsize=1)
def seeds() -> list[bytes]:
    """The sample messages, with line ends as they are sent."""
    own = [file.read_bytes() for file in sorted(SAMPLES.glob("*.hl7"))]
    found = [raw.replace(b"\r\n", b"\r").replace(b"\n", b"\r") for raw in own]
    foreign = [file.read_bytes() for file in sorted(HL7V2.rglob("*.hl7"))]
    return found + [raw for raw in foreign if len(raw) < 8_000]


def message(rng: Random, most: int = KB64) -> bytes:
    """A sample message after some mutations."""
    raw = rng.choice(seeds())
    if rng.random() < 0.001 and most == KB64:
        at = rng.randrange(len(raw) + 1)
        raw = raw[:at] + flood(rng, most - len(raw)) + raw[at:]
    if rng.random() < 0.3:
        raw = declare(rng, raw)
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5, 8))):
        raw = mutated(rng, raw)
    return raw[:most]


def flood(rng: Random, most: int = KB64) -> bytes:
    """One thing over and over, as large as it may be: what takes more than linear time shows it here."""
    piece = b"".join(rng.choice((*TOKENS, b"a", b"1")) for _ in range(rng.randrange(1, 4)))
    if rng.random() < 0.3:
        return b"~".join(b"%d" % number + piece for number in range(most // (len(piece) + 6)))
    return piece * (most // len(piece))


def declare(rng: Random, raw: bytes) -> bytes:
    """The message with another MSH-18, and a text in some encoding in it."""
    line, end, rest = raw.partition(b"\r")
    fields = line.split(b"|")
    fields += [b""] * (18 - len(fields))
    fields[17] = rng.choice(CHARSETS).encode("utf-8")
    text = rng.choice(TEXTS).encode(rng.choice(CODECS), "replace")
    at = rng.randrange(len(rest) + 1)
    return b"|".join(fields) + end + rest[:at] + text + rest[at:]


def mutated(rng: Random, raw: bytes) -> bytes:
    """One mutation."""
    length = len(raw)
    at = rng.randrange(length + 1)
    to = min(length, at + rng.choice((1, 2, 3, 10, 50)))
    match rng.randrange(16):
        case 0:
            return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
        case 1 | 2 | 3:
            return raw[:at] + rng.choice(TOKENS) + raw[at:]
        case 4:
            return raw[:at] + rng.choice(TOKENS) + raw[to:]
        case 5:
            return raw[:at] + raw[to:]
        case 6:
            return raw[:to] + raw[at:to] + raw[to:]
        case 7:
            other = rng.choice(seeds())
            cut = rng.randrange(len(other) + 1)
            return raw[:at] + other[cut:]
        case 8:
            return raw[:at]
        case 9:  # other separators
            old = rng.choice(b"|^~\\&")
            return raw.replace(bytes([old]), bytes([rng.choice(PUNCTUATION)]))
        case 10:  # another MSH-2
            encoding = bytes(rng.choice(PUNCTUATION) for _ in range(rng.randrange(7)))
            return raw.replace(b"^~\\&", encoding, 1)
        case 11:
            return raw.replace(b"\r", rng.choice((b"\n", b"\r\n", b"\r\r", b"\n\r", b"\r ", b"\x1c\r")))
        case 12:
            return rng.choice((b"\xef\xbb\xbf", b"\x0b", b" ", b"\r\n", b"\x0b\xef\xbb\xbf", b"x")) + raw
        case 13:  # a field of the header
            fields = raw.split(b"|", 20)
            place = rng.randrange(len(fields))
            fields[place] = rng.choice(TOKENS)
            return b"|".join(fields)
        case 14:
            return raw + rng.choice((b"\r", b"\x1c", b"\x1c\r", b"\r\r", raw, b""))
        case _:
            if rng.random() < 0.05:  # large
                piece = raw[at:to] or rng.choice(TOKENS)
                return (raw[:at] + piece * rng.randrange(1, KB64 // len(piece)) + raw[at:])[:KB64]
            return raw[:at] + rng.choice(TEXTS).encode(rng.choice(CODECS), "replace") + raw[at:]


def noise(rng: Random, most: int = 300) -> bytes:
    """Bytes and tokens without any plan."""
    parts = []
    for _ in range(rng.randrange(12)):
        parts.append(rng.choice(TOKENS) if rng.random() < 0.6 else rng.randbytes(rng.randrange(8)))
    return b"".join(parts)[:most]


def text(rng: Random, alphabet: str, most: int) -> str:
    """Characters of an alphabet."""
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(most)))
