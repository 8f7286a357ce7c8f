"""Targets that read HL7v2: framer, view, paths, character sets, escapes, dates, batches."""

from __future__ import annotations

from random import Random

from engine.errors import ConfigError, HL7Error
from engine.hl7 import ack, batch, charset, dates, paths
from engine.hl7.delimiters import NEVER, STANDARD, delimiters, locate
from engine.hl7.er7 import Message
from engine.hl7.escapes import escape, unescape
from engine.hl7.mllp import MAX_SIZE, Framer, frame, frameable
from engine.hl7.paths import PathError
from engine.hl7.peek import count_headers, peek, value
from engine.model import ABSENT, CLEAR

from .mutate import CHARSETS, CODECS, PUNCTUATION, TEXTS, flood, message, mutated, noise, text
from .runner import Target

# Framer: (chunks, max_size). The frames do not depend on the chunks; nothing raises.


def make_stream(rng: Random) -> tuple[list[bytes], int]:
    parts = []
    for _ in range(rng.randrange(1, 5)):
        raw = noise(rng) if rng.random() < 0.7 else message(rng, 4_000)
        parts.append(frame(raw) if rng.random() < 0.7 else raw)
        if rng.random() < 0.3:
            parts.append(rng.choice((b"\r", b"\n", b"\x1c", b"\x0b", b"\x1c\r", b" ", b"x")))
    stream = b"".join(parts)
    for _ in range(rng.randrange(3)):
        stream = mutated(rng, stream)
    chunks = []
    most = (
        rng.choice((1, 2, 3, 7, 60, 500, 5_000)) if len(stream) < 2_000 else rng.choice((100, 1_000, 65_536))
    )
    if rng.random() < 0.002:
        stream, most = flood(rng), rng.choice((1_000, 65_536))
    while stream:
        length = rng.randrange(1, most + 1)
        chunks.append(stream[:length])
        stream = stream[length:]
    return chunks, rng.choice((MAX_SIZE, MAX_SIZE, 5, 40, 300))


def frames_of(chunks: list[bytes], max_size: int) -> list[tuple[bytes, str, bool]]:
    framer = Framer(max_size)
    found = []
    largest = max(map(len, chunks), default=0)
    for chunk in chunks:
        found += framer.feed(chunk)
        assert framer.buffered <= min(max_size, 1 << 20) + largest + 128 * 1024, "memory"
    found += framer.close()
    assert not framer.open and not framer.unsettled and framer.buffered == 0, "not as new after close"
    return [(one.raw, one.error.code if one.error else "", one.complete) for one in found]


def check_stream(item: tuple[list[bytes], int]) -> None:
    chunks, max_size = item
    whole = b"".join(chunks)
    found = frames_of(chunks, max_size)
    assert found == frames_of([whole], max_size), "the frames depend on the chunks"
    if len(whole) < 400:
        assert found == frames_of([whole[n : n + 1] for n in range(len(whole))], max_size), "byte by byte"
    for raw, code, complete in found:
        assert b"\x0b" not in raw or code == "mllp.unframed", "two messages in one frame"
        assert code or complete
        if not code:
            assert raw in whole
    if frameable(whole) and len(whole) <= max_size:
        assert frames_of([frame(whole)], max_size) == [(whole, "", True)]


def check_once(item: tuple[list[bytes], int]) -> None:
    """What one connection does with it."""
    chunks, max_size = item
    framer = Framer(max_size)
    for chunk in chunks:
        framer.feed(chunk)
    framer.close()


# View: (bytes, path, value, override). Lossless, never raises once it was made, what is set is read.

PLACES = [
    "MSH-1", "MSH-2", "MSH-9.1", "MSH-10", "MSH-18", "PID-3", "PID-3.1", "PID-3[2].1", "PID-3[5=MR].1", "PID-3[9]",
    "PID-5.1", "PID-5.1.2", "PID-8", "PID-999", "OBX[2]-5", "OBX[9999]-5[9999].999.999", "MRG-1.1", "ZZZ-1", "PV1-19.1",
    "MSH-3[1].2.3", "FHS-2", "AL1-3.2", "PID-3[5.1=\"\"].1", "PID[1]-13",
]  # fmt: skip
VALUES = [
    "",
    "x",
    "O^Hara & Söhne~|\\",
    "a\rb\nc",
    "\x0b\x1c",
    '""',
    "\\.br\\",
    "\\F",
    "\ufeff",
    *TEXTS,
    " a ",
    "\x85",
]


def make_view(rng: Random) -> tuple[bytes, str, str, str]:
    chosen = rng.choice(VALUES) if rng.random() < 0.8 else text(rng, 'ab|^~\\&\r\n"é.XFE0', 12)
    override = rng.choice((*CODECS, *CHARSETS)) if rng.random() < 0.1 else ""
    return message(rng), rng.choice(PLACES), chosen, override


def view_of(raw: bytes, override: str) -> Message | None:
    try:
        return Message(raw, charset=override or None)
    except ConfigError as error:
        assert override, error
    except HL7Error as error:
        assert locate(raw) < 0, error
    return None


def check_view(item: tuple[bytes, str, str, str]) -> None:
    raw, path, chosen, override = item
    view = view_of(raw, override)
    if view is None:
        return
    assert bytes(view) == raw
    everything = [view[place] for place in PLACES]
    for place in PLACES[:8]:
        there = place in view
        assert view.get(place, "?") == (view[place] if there else "?")
        every = view.all(place)
        if view[place] is not ABSENT and "[" not in place:
            assert every[0] == view[place], f"all({place}) begins with another value"
        view.encoded(place)
    texts = [segment.text for segment in view]
    assert all("\r" not in one and "\n" not in one for one in texts)
    for segment in view.segments("PID"):
        for repetition in segment.repetitions(3):
            assert isinstance(repetition.value, str) and isinstance(repetition[1, 2], str)
        assert segment["3.1"] == segment.value(paths.relative("3.1"))
    assert all(isinstance(warning, str) for warning in view.warnings)
    assert repr(view) and bytes(view) == raw
    assert [view[place] for place in PLACES] == everything, "reading changed something"
    set_and_read(view, path, chosen, override, texts)


def check_reading(item: tuple[bytes, str, str, str]) -> None:
    """What one step does with it: a path is read, and set in all its repetitions."""
    raw, path, chosen, override = item
    view = view_of(raw, override)
    if view is None:
        return
    found = view.all(path)
    assert view[path] is ABSENT or "[" in path or view[path] == found[0]
    try:
        view.change(path, lambda value: chosen)
    except HL7Error as error:
        assert error.code in ("hl7.set", "hl7.charset.encode"), error.code
    assert bytes(view)


def set_and_read(view: Message, path: str, chosen: str, override: str, texts: list[str]) -> None:
    if path.startswith("MSH") and not texts[0].startswith("MSH" + view.delimiters.field):
        return  # what stands before the header is called MSH too: refused where messages are received
    old = view[path]
    try:
        view[path] = chosen
    except HL7Error as error:
        assert error.code in ("hl7.set", "hl7.charset.encode"), error.code
        return
    written = bytes(view)
    if path == "MSH-18":
        return
    again = Message(written, charset=override or None)
    if again.codec != view.codec:  # the new text lets the bytes be read in another character set
        assert not view.raw.isascii() or not chosen.isascii()
        return
    wanted = chosen
    if view.delimiters.escape == NEVER and escape(chosen, view.delimiters) != chosen:
        return
    if chosen == '""':
        wanted = '""' if view.delimiters.escape != NEVER else again[path]
    assert again[path] == wanted, f"{path}: {wanted!r} was set over {old!r}, {again[path]!r} is read"
    assert again[path] is not CLEAR or wanted == ""
    after = [segment.text for segment in again]
    different = [n for n, line in enumerate(texts) if n >= len(after) or after[n] != line]
    assert len(different) <= 1 and len(after) - len(texts) in (0, 1), "more than one segment changed"


# Paths: any text is a path or a PathError that points into it.


def make_path(rng: Random) -> str:
    if rng.random() < 0.3:
        return text(rng, "PIDMSHOBXZ0123456789-.[]=\"'^ abc_\x00é١\n", 24)
    path = rng.choice(PLACES)
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(path) + 1)
        piece = rng.choice(
            (*"0123456789-.[]=\"' ^", "PID", "[1]", "[5=MR]", ".patient_name", "0", "99999", "\u0661")
        )
        path = path[:at] + piece + path[at + rng.randrange(3) :]
    return path


SAMPLE = Message(b'MSH|^~\\&|A|B|C|D|2026||ADT^A01|1|P|2.5.1\rPID|1||7^^^A^MR~8^^^B^PI||X&Y^Z||""|F\r')


def check_path(path: str) -> None:
    try:
        found = paths.compile(path)
    except PathError as error:
        assert 1 <= error.column <= len(path) + 1 and error.what and str(error)
        assert SAMPLE_RAISES(path), "one read raises, another does not"
    else:
        assert found.field > 0 and paths.compile(path) is found
        assert isinstance(SAMPLE[path], str)
        first = value(SAMPLE.raw, path, peek(SAMPLE.raw))
        assert first == str(SAMPLE[path]), f"value says {first!r}, the view says {SAMPLE[path]!r}"
        every = SAMPLE.all(path)
        assert SAMPLE[path] is ABSENT or SAMPLE[path] in every
    try:
        assert isinstance(SAMPLE.segments("PID")[0][path], str)
    except PathError as error:
        assert 1 <= error.column <= len(path) + 1


def SAMPLE_RAISES(path: str) -> bool:
    try:
        SAMPLE[path]
    except PathError:
        return True
    return False


def warm_path() -> None:
    for path in ("PID.patient_name.family_name", "PID.nothing_like_it", "QQQ.nothing", "ZZZ.nothing"):
        check_path(path)


# Character sets: every byte string decodes, lines stay lines.


def make_encoded(rng: Random) -> tuple[bytes, str, str]:
    parts = []
    for _ in range(rng.randrange(6)):
        kind = rng.random()
        if kind < 0.5:
            parts.append(rng.choice(TEXTS).encode(rng.choice(CODECS), "replace"))
        elif kind < 0.7:
            parts.append(rng.randbytes(rng.randrange(6)))
        else:
            parts.append(
                rng.choice(
                    (b"\r", b"\n", b"abc", b"|", b"\x1b$B", b"\x1b(B", b"\x1b$)C", b"\x0e", b"\x0f", b"~")
                )
            )
    raw = b"".join(parts)
    if rng.random() < 0.002:
        raw = (raw or b"\xe4") * rng.randrange(1, 2_000)
    name = rng.choice(CHARSETS) if rng.random() < 0.9 else text(rng, "ISO-8859/1 UTF~\x00é", 20)
    return raw[:65_536], name, rng.choice((*CODECS, *CHARSETS)) if rng.random() < 0.2 else ""


def check_encoded(item: tuple[bytes, str, str]) -> None:
    raw, name, override = item
    try:
        found = charset.decode(raw, name, charset=override or None)
    except ConfigError:
        assert override
        return
    for end, end_byte in (("\r", b"\r"), ("\n", b"\n")):
        assert found.text.count(end) == raw.count(end_byte), f"{found.codec}: a line end was lost or made"
    if "\ufffd" in found.text:
        assert "\ufffd".encode(found.codec) in raw, "a byte was replaced"
    if found.codec.startswith(("utf_8", "latin", "cp125", "iso8859", "ascii")):
        assert found.text.encode(found.codec) == raw, "not lossless"
    if not raw.isascii() and found.codec != (charset.declared(name) or "utf_8") and not override:
        assert found.warning
    assert isinstance(charset.wide(raw), str)


# Escapes: (text, MSH-1, MSH-2). What is escaped has no delimiter in it, and comes back.


def make_escaped(rng: Random) -> tuple[str, str, str]:
    field = rng.choice("|" if rng.random() < 0.5 else PUNCTUATION.decode())
    encoding = STANDARD if rng.random() < 0.3 else text(rng, PUNCTUATION.decode(), 7)
    return text(rng, "|^~\\&#FSTREPHX0D1C.br+-\r\n\x0b\x1cCMZé" + field + encoding, 30), field, encoding


def check_escaped(item: tuple[str, str, str]) -> None:
    plain, field, encoding = item
    encoding = encoding.partition(field or "|")[0]  # MSH-2 ends at the next separator
    given = delimiters(field or "|", encoding)
    again = delimiters(field or "|", given.encoding_characters)
    assert again[:5] == given[:5], "MSH-2 as it should have been written means something else"
    escaped = escape(plain, given)
    kept = escaped if given.escape == NEVER else escaped.replace(given.escape, "")
    for char in (*given[:3], given.subcomponent, "\r", "\n", "\x0b", "\x1c"):
        assert char not in kept, f"{char!r} is left in {escaped!r}"
    if given.escape != NEVER:
        assert unescape(escaped, given) == plain
    assert isinstance(unescape(plain, given), str)


# Dates


def make_date(rng: Random) -> tuple[str, str]:
    kinds = [
        "2026",
        "20260329023015.1234+0100",
        "2026-03-29T02:30:15Z",
        "15 Aug 1942",
        "99991231235960-1400",
        "10000101000000+1400",
    ]
    found = rng.choice(kinds) if rng.random() < 0.8 else text(rng, "0123456789+-.:TZ /é١Augc,", 26)
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(found) + 1)
        found = found[:at] + rng.choice("0123456789+-.:TZ ١\n") + found[at + rng.randrange(3) :]
    return found, rng.choice(("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"))


def check_date(item: tuple[str, str]) -> None:
    written, zone = item
    found = dates.parse(written)
    assert (found is None) == bool(dates.why_not(written))
    moment = dates.to_utc(written, zone)
    if found is None:
        assert moment is None
        return
    back = dates.to_hl7(found.at, found.precision)
    assert dates.parse(back) is not None, back
    if found.precision != "fraction" and not (
        found.had_offset and found.precision in ("year", "month", "day")
    ):
        assert dates.parse(back).at == found.at, back  # type: ignore[union-attr]


# Batches: nothing is dropped.


def make_batch(rng: Random) -> bytes:
    parts = []
    for _ in range(rng.randrange(1, 7)):
        parts.append(
            rng.choice((b"FHS|^~\\&|A|B\r", b"BHS|^~\\&|A|B||||||||7\r", b"BTS|2\r", b"FTS|1\r"))
            if rng.random() < 0.5
            else message(rng, 1_500)
            if rng.random() < 0.7
            else noise(rng)
        )
    raw = b"".join(parts)
    for _ in range(rng.randrange(3)):
        raw = mutated(rng, raw)
    return raw[:65_536]


def check_batch(raw: bytes) -> None:
    found = batch.split(raw)
    joined = b"".join(item.raw for item in found.items)
    unseen = bytes.maketrans(b"", b"")
    blank = b" \t\r\n\x0b\x1c\xef\xbb\xbf"
    assert joined.translate(unseen, blank) == raw.translate(unseen, blank), "something was dropped"
    lines = [item.line for item in found.items]
    assert lines == sorted(lines) and all(isinstance(warning, str) for warning in found.warnings)
    assert count_headers(raw) == sum(count_headers(item.raw) for item in found.items), "headers got lost"
    assert all(count_headers(one) == 1 for one in found.messages), "two messages in one"
    acks = [ack.nak("AR", HL7Error("no", ack="AR"), ack_id="1", now=0) for _ in found.messages]
    answer = batch.acknowledge(found, acks, ack_id="I1", now=0)
    again = batch.split(answer)
    assert len(again.messages) == len(acks) and not again.warnings, again.warnings


TARGETS = [
    Target("framer", make_stream, check_stream, limit=0.3),  # it is read three times, and every error made
    Target("framing", make_stream, check_once),
    Target("view", make_view, check_view, limit=0.2),  # read, changed, and read again
    Target("reading", make_view, check_reading),
    Target("paths", make_path, check_path, warm_path),
    Target("charset", make_encoded, check_encoded),
    Target("escapes", make_escaped, check_escaped),
    Target("dates", make_date, check_date),
    Target("batch", make_batch, check_batch),
]
