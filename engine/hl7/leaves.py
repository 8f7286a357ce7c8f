"""Every place of a message that holds something, with its path and its value: for `try`, `test` and `impact`.

Guarantees: in the order of the message; each path reads back the value that stands beside it, and names no more
than it must: `PID-8`, `PID-5.1`, `PID-3[2].4.1`, `OBX[3]-5`. Refuses: nothing; lines that are no segments and the
separators of a header are passed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.hl7.segment import HEADERS, NAME, NULL, Segment

if TYPE_CHECKING:
    from engine.hl7.er7 import Message


def leaves(message: Message) -> Iterator[tuple[str, str]]:
    """`(path, value)` of every value; CLEAR where the field is `""`."""
    segments = [segment for segment in message.segments() if NAME.match(segment.name)]
    total = Counter(segment.name for segment in segments)
    seen: Counter[str] = Counter()
    for segment in segments:
        name = segment.name
        seen[name] += 1
        start = f"{name}[{seen[name]}]" if total[name] > 1 else name
        for number in range(3 if name in HEADERS else 1, len(segment.fields)):
            yield from field(segment, f"{start}-{number}", number)


def field(segment: Segment, path: str, number: int) -> Iterator[tuple[str, str]]:
    """The same of one field; `path` is how it is called."""
    given = segment.wording.delimiters
    texts = segment.texts(number)
    for count, text in enumerate(texts, 1):
        place = f"{path}[{count}]" if len(texts) > 1 else path
        if text == NULL or given.component not in text:
            yield from _parts(segment, place, text, 1 if given.subcomponent in text else 0)
            continue
        for component, part in enumerate(text.split(given.component), 1):
            yield from _parts(segment, f"{place}.{component}", part, 0)


def _parts(segment: Segment, place: str, text: str, component: int) -> Iterator[tuple[str, str]]:
    given = segment.wording.delimiters
    if text == NULL or given.subcomponent not in text:
        if text:
            yield place, segment.part(text, 0, 0)
        return
    place += f".{component}" if component else ""
    for sub, part in enumerate(text.split(given.subcomponent), 1):
        if part:
            yield f"{place}.{sub}", segment.part(part, 0, 0)
