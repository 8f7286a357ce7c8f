"""MLLP framing without I/O: bytes in, frames out (HL7 v2 Transport Specification: MLLP, release 1).

Guarantees: every message that was sent comes out as a frame of its own, whatever way the network cut the
bytes; no message is ever joined to another; what is wrong comes out as a frame with an error, so that it can
be stored and answered. Time is linear in the bytes, memory is at most `max_size` plus one chunk and goes
back after a large frame. Refuses nothing by raising: bytes never raise.

VT is 0x0B, FS 0x1C, CR 0x0D.

| in a frame                                | then                                                           |
|-------------------------------------------|----------------------------------------------------------------|
| `FS CR`                                   | the frame is complete                                          |
| `FS VT`                                   | complete (CR forgotten), and the next frame is open            |
| `FS` and silence (`expire`) or `close`    | complete                                                       |
| `FS` and any other byte                   | both are content                                               |
| `VT` as the very first byte (`VT VT`)     | a doubled start block: ignored, it carries nothing             |
| `VT` later                                | what came before: incomplete, `mllp.unclosed`; a new frame     |
| nothing, or only white space, then `FS CR`| `mllp.empty`                                                   |
| more than `max_size` bytes                | skipped to its end, then its first 64 KiB with `mllp.too_large`|
| `close`                                   | incomplete, `mllp.truncated`                                   |

| outside of a frame                        | then                                                           |
|-------------------------------------------|----------------------------------------------------------------|
| CR, LF, space, tab, form feed, `FS` alone | ignored                                                        |
| anything else (a bare `MSH|…` too)        | `mllp.unframed`, once for each run that ends with `VT`,        |
|                                           | `FS CR`, `expire` or `close`; its first 64 KiB                 |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from engine.errors import HL7Error

VT: Final = b"\x0b"
FS: Final = b"\x1c"
CR: Final = b"\r"
END: Final = b"\x1c\r"
MAX_SIZE: Final = 16 * 1024 * 1024
GRACE: Final = 0.5  # seconds of silence after which `expire` is due
KEPT: Final = 64 * 1024  # bytes kept of what is too large or not framed

_BLANK: Final = b" \t\r\n\f"
_IGNORED: Final = _BLANK + FS
_MARKS: Final = (VT, FS, END)
_VT, _FS, _END = range(3)
Fault = Callable[[], HL7Error]
"""Makes the error of a frame."""


def frame(data: bytes) -> bytes:
    """`data` between `VT` and `FS CR`. See `frameable` for what a receiver could not take apart again."""
    return b"\x0b%b\x1c\r" % data


def frameable(data: bytes) -> bool:
    """Whether a receiver would find exactly `data` in `frame(data)`."""
    return bool(data.strip(_BLANK)) and VT not in data and END not in data


class Frame:
    """What stood in one frame. `error` says what was wrong with the framing; `complete`: its end was seen."""

    __slots__ = ("_error", "_fault", "complete", "raw")

    def __init__(self, raw: bytes, fault: Fault | None = None, complete: bool = True) -> None:
        self.raw = raw
        self.complete = complete
        self._fault = fault
        self._error: HL7Error | None = None

    @property
    def error(self) -> HL7Error | None:
        """Made when it is asked for: hostile bytes hold tens of thousands of frames, and nobody need look at all."""
        if self._error is None and self._fault is not None:
            self._error = self._fault()
        return self._error

    def __repr__(self) -> str:
        return f"<Frame {len(self.raw)} bytes {self.error.code if self.error else 'ok'}>"


class Framer:
    """Takes one connection's bytes apart. `max_size` is in bytes, without the framing."""

    __slots__ = ("_buffer", "_head", "_inside", "_kept", "_next", "_scan", "_skip_junk", "max_size")

    def __init__(self, max_size: int = MAX_SIZE) -> None:
        self.max_size = max_size
        self._kept = min(KEPT, max_size)
        self._inside = False
        self._buffer = bytearray()  # the open frame or the run of junk, from its first byte
        self._scan = 0  # bytes of the buffer before this hold neither an end nor a start
        self._next: list[int] = []  # where the next of each of _MARKS is in the buffer, while a chunk is read
        self._head: bytes | None = None  # the open frame is too large: its beginning
        self._skip_junk = False  # this run of junk was reported already

    @property
    def open(self) -> bool:
        """A frame has begun and has not ended."""
        return self._inside

    @property
    def unsettled(self) -> bool:
        """Only silence can tell whether something has ended: call `expire` after the grace."""
        if self._inside:
            return self._scan < len(self._buffer)
        return bool(self._buffer) or self._skip_junk

    @property
    def buffered(self) -> int:
        """Bytes held in memory."""
        return len(self._buffer) + len(self._head or b"")

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that end with `data`, in order."""
        if not self._buffer and not self._inside and data[:1] == VT and data.find(FS) == len(data) - 2:
            raw = data[1:-2]
            if data[-1] == CR[0] and VT not in raw:  # the common case: one whole frame
                self._skip_junk = False
                return [self._ended(raw)]
        self._buffer += data
        self._next = [-1] * len(_MARKS)
        frames: list[Frame] = []
        start = 0
        while True:
            follow = self._read_inside(start, frames) if self._inside else self._read_outside(start, frames)
            if follow < 0:
                break
            start = follow
        return frames

    def expire(self) -> list[Frame]:
        """Nothing came for the grace: an `FS` at the end ends its frame, and a run of junk is over."""
        if not self.unsettled:
            return []
        if self._inside:
            return [self._finish(self._scan)]
        frames = self._junk(len(self._buffer), 0)
        self._reset()
        return frames

    def close(self) -> list[Frame]:
        """Nothing will come any more. The framer is as new afterwards."""
        if not self._inside or self.unsettled:
            return self.expire()
        return [self._finish(len(self._buffer), _truncated)]

    def _find(self, mark: int, scan: int) -> int:
        """Where the next of a mark is, the end of the buffer when there is none.

        What was found is remembered until it is passed: each stretch is looked through once, whatever it holds.
        """
        found = self._next[mark]
        if found < scan:
            found = self._buffer.find(_MARKS[mark], scan)
            found = self._next[mark] = found if found >= 0 else len(self._buffer)
        return found

    def _read_inside(self, start: int, frames: list[Frame]) -> int:
        """Read on in the open frame that begins at `start`; gives where the next begins, or -1."""
        buffer, scan = self._buffer, max(start, self._scan)
        size = len(buffer)
        while True:
            fs, vt = self._find(_FS, scan), self._find(_VT, scan)
            if vt < fs:
                if vt > start or self._head is not None:
                    frames.append(self._cut(start, vt, _unclosed))
                self._scan = vt + 1
                return vt + 1
            if fs + 1 >= size:
                self._keep(start, fs)
                return -1
            follow = buffer[fs + 1]
            if follow in (CR[0], VT[0]):
                frames.append(self._cut(start, fs))
                self._inside = follow == VT[0]
                self._scan = fs + 2
                return fs + 2
            scan = fs + 1

    def _keep(self, start: int, scan: int) -> None:
        """The frame goes on with the next chunk: keep it from `start`, scanned up to `scan`."""
        buffer = self._buffer
        if self._head is None and scan - start > self.max_size:
            self._head = bytes(buffer[start : start + self._kept])
        if self._head is not None:
            start = scan
        if start:  # a new buffer: a grown one would keep its memory; the rest is part of one chunk at most
            self._buffer = buffer[start:]
        self._scan = scan - start

    def _read_outside(self, start: int, frames: list[Frame]) -> int:
        """Read on between frames; `start` is where a run of junk may begin."""
        buffer, scan = self._buffer, max(start, self._scan)
        vt, end = self._find(_VT, scan), self._find(_END, scan)
        stop = min(vt, end)
        if stop < len(buffer):
            frames += self._junk(stop, start)
            self._skip_junk = False
            self._inside = vt < end
            self._scan = stop + (1 if self._inside else 2)
            return self._scan
        if start < len(buffer) and buffer[start] in _IGNORED:
            start = len(buffer) - len(buffer[start:].lstrip(_IGNORED))
        if self._skip_junk or len(buffer) - start > KEPT:
            frames += self._junk(len(buffer), start)
            self._skip_junk = True
            start = len(buffer) - buffer.endswith(FS)
        if start:
            self._buffer = buffer[start:]
        self._scan = max(0, len(self._buffer) - 1)  # the last byte may be the FS of an end
        return -1

    def _junk(self, stop: int, start: int) -> list[Frame]:
        """The frame for the run of junk in `start:stop`, unless there is none or it was reported."""
        raw = bytes(self._buffer[start : min(stop, start + KEPT)]).strip(_IGNORED)
        return [Frame(raw, _unframed, complete=False)] if raw and not self._skip_junk else []

    def _cut(self, start: int, stop: int, fault: Fault | None = None) -> Frame:
        """The frame in `start:stop` of the buffer; `fault` when it is incomplete."""
        head, self._head = self._head, None
        if head is None and stop - start > self.max_size:
            head = bytes(self._buffer[start : start + self._kept])
        if head is not None:
            return Frame(head, partial(_too_large, self.max_size), complete=fault is None)
        raw = bytes(memoryview(self._buffer)[start:stop])
        return self._ended(raw) if fault is None else Frame(raw, fault, complete=False)

    def _finish(self, stop: int, fault: Fault | None = None) -> Frame:
        found = self._cut(0, stop, fault)
        self._reset()
        return found

    def _reset(self) -> None:
        self._inside = self._skip_junk = False
        self._buffer = bytearray()
        self._scan = 0

    def _ended(self, raw: bytes) -> Frame:
        if len(raw) > self.max_size:
            return Frame(raw[: self._kept], partial(_too_large, self.max_size))
        if not raw or raw.isspace():
            return Frame(raw, _empty)
        return Frame(raw)


def _error(code: str, what: str, todo: str, condition: str = "100") -> HL7Error:
    return HL7Error(what, code=code, where="MLLP", todo=todo, ack="AR", condition=condition)


def _unclosed() -> HL7Error:
    return _error(
        "mllp.unclosed",
        "a new start block (0x0B) came before the end of this message",
        "end every message with 0x1C 0x0D and send this one again",
    )


def _unframed() -> HL7Error:
    return _error(
        "mllp.unframed",
        "data came outside of an MLLP frame",
        "begin every message with 0x0B, end it with 0x1C 0x0D and send it again",
    )


def _empty() -> HL7Error:
    return _error(
        "mllp.empty", "the MLLP frame holds no message", "send the message between 0x0B and 0x1C 0x0D"
    )


def _too_large(limit: int) -> HL7Error:
    return _error(
        "mllp.too_large",
        f"the message is larger than {limit} bytes",
        "send it in smaller parts, or have max_size of the receiving listener raised",
        condition="104",
    )


def _truncated() -> HL7Error:
    return _error(
        "mllp.truncated",
        "the connection closed or fell silent before the end of this message",
        "send it again, whole, ending with 0x1C 0x0D",
    )
