"""Notes of a FHIR server that name a resource and do not hold it: what becomes of them in the pipeline.

    unread  Patient/1  ->  it is read          ->  FILTERED, and the resource as a message of its own
                           but is our own writing ->  FILTERED, and nothing follows (engine.fhirserver.written)
    deleted Patient/1  ->  it is read as well  ->  it goes through as its deletion, or FILTERED, and the resource that
                                                   is there after all

Guarantees: the pipeline sees whole resources; what was read is stored with C2 as a message (`parent_id` is the note),
so that replay, search and `messages show` work on it; a note whose resource cannot be read yet stays RECEIVED, in its
order; a deletion goes through only when the server has the resource no more, asked when its turn comes, so that it
never meets what was made anew before.
Refuses: notes that name nothing (`fhir.unread`), where nobody can ask what changed.
"""

from __future__ import annotations

from typing import NamedTuple

from engine.errors import FormatError
from engine.fhir.notification import note, noted
from engine.fhir.resource import Fhir
from engine.fhirserver.written import OWN, Written
from engine.model import Meta
from engine.spec.lookups import Lookup


class Read(NamedTuple):
    """What takes the place of a note: a message, if any, and why the note itself goes no further."""

    raw: bytes | None
    reason: str


class Notes:
    """Of one channel. `lookup` reads from its server; `written` is what this engine wrote there."""

    def __init__(self, form: Fhir, lookup: Lookup, written: Written) -> None:
        self.form = form
        self.lookup = lookup
        self._written = written

    def read(self, raw: bytes, meta: Meta) -> Read | None:
        """What a note stands for; None when this is none, or a deletion that is true.

        Raises Wanted, StepError, FormatError.
        """
        if not meta.type.endswith((".unread", ".deleted")):
            return None
        data = self.form.view(raw).data
        told, references = noted(data)
        if not told:
            return None
        reference, *context = references
        if not reference:
            raise FormatError(
                "the server told that something changed, and not what", code="fhir.unread",
                todo="let its Subscription send ids or full resources",
            )  # fmt: skip
        found = self.lookup.ask((reference,))
        if found is None:
            if told == "deleted":
                return None
            gone = note(reference, "deleted", tuple(context))
            return Read(gone, f"{reference} is not there; its deletion follows")
        content = found if isinstance(found, bytes) else self.form.dump(found)
        if self._written.own(self.form.peek(content).control_id, meta.channel):
            return Read(None, f"{reference} is read: {OWN}")
        again = "was told to be deleted and is there" if told == "deleted" else "is read"
        return Read(content, f"{reference} {again}; it follows")
