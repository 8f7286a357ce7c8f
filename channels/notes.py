"""What a FHIR server only names: notes of a resource, what becomes of them in the pipeline, and references.

    unread  Patient/1  ->  it is read          ->  FILTERED, and the resource as a message of its own
                           but is our own writing ->  FILTERED, and nothing follows (engine.fhirserver.written)
    deleted Patient/1  ->  it is read as well  ->  it goes through as its deletion, or FILTERED, and the resource that
                                                   is there after all

What a resource refers to and did not bring along (the patient of an Appointment) is read when events are made of it,
and of what was deleted the last version, which tells which record that was.

Guarantees: the pipeline sees whole resources; what was read is stored with C2 as a message (`parent_id` is the note),
so that replay, search and `messages show` work on it; a note whose resource cannot be read yet stays RECEIVED, in its
order; a deletion goes through only when the server has the resource no more, asked when its turn comes, so that it
never meets what was made anew before; a reference to another server is never taken for one to this.
Refuses: notes that name nothing (`fhir.unread`), where nobody knows what to ask the server for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import msgspec

from engine.errors import FormatError, StepError
from engine.fhir.notification import note, noted
from engine.fhir.resource import Fhir
from engine.fhirserver.reading import GONE, LAST, Agreement, ResourceLookup
from engine.fhirserver.written import OWN, Written
from engine.model import Meta

Interpret = Callable[[Any, Meta], list[Any]]


class Read(NamedTuple):
    """What takes the place of a note: a message, if any, and why the note itself goes no further."""

    raw: bytes | None
    reason: str


class Notes:
    """Of one channel. `lookup` reads from its server; `written` is what this engine wrote there."""

    def __init__(
        self,
        form: Fhir,
        lookup: ResourceLookup,
        agreement: Agreement,
        written: Written,
        searched: Collection[str] = (),
    ) -> None:
        """`searched`: types that the listener looks for itself, also when it is told that something changed."""
        self.form = form
        self.lookup = lookup
        self.agreement = agreement
        self._written = written
        self._searched = frozenset(searched)
        self.met: set[str] = (
            set()
        )  # what was read because another resource referred to it, since it was emptied

    def interpreter(self, interpret: Interpret | None) -> Interpret | None:
        """`interpret`, which may ask the server of the channel."""
        if interpret is None:
            return None
        return lambda message, meta: interpret(
            message, msgspec.structs.replace(meta, resolve=self.resolve, last=self.last)
        )

    def resolve(self, reference: str) -> Any:
        """The resource (as data) that a reference names, deleted ones as they were last; None when it is of another
        server, was never there or must not be read. Raises Wanted, StepError."""
        own = self.lookup.own(reference)
        if not own:
            return None
        try:
            found = self.lookup.ask((own,))
        except StepError as error:
            if error.code == "fhir.access":
                return None
            raise
        if found is None:
            found = self.last(own)
        if found is not None and own.partition("/")[0] in self._searched:
            self.met.add(own)
        return self.form.view(found).data if isinstance(found, bytes) else found

    def last(self, reference: str) -> Any:
        """The last version (as data) of what was deleted; None where none is told. Raises Wanted, StepError."""
        return self.lookup.ask((reference, LAST))

    def read(self, raw: bytes, meta: Meta) -> Read | None:
        """What a note stands for; None when this is none, or a deletion that is true.

        Raises Wanted, StepError, FormatError.
        """
        if not meta.type.endswith((".unread", ".deleted")):
            self._written.seen(meta.control_id, meta.channel)
            return None
        data = self.form.view(raw).data
        told, references = noted(data)
        if not told:
            return None
        reference, *context = references
        if not reference and self._searched:
            return Read(None, "it does not say what changed: the server is searched for what did")
        if not reference:
            raise FormatError(
                "the server told that something changed, and not what", code="fhir.unread",
                todo="write `catch_up` of the listener, or let its Subscription send ids or full resources",
            )  # fmt: skip
        content = self.now(reference, sure=told == "deleted")
        if content is None:
            if told == "deleted":
                return None
            gone = note(reference, "deleted", tuple(context))
            return Read(gone, f"{reference} is not there; its deletion follows")
        if self.own(content, meta.channel):
            return Read(None, f"{reference} is read: {OWN}")
        again = "was told to be deleted and is there" if told == "deleted" else "is read"
        return Read(content, f"{reference} {again}; it follows")

    def now(self, reference: str, *, sure: bool = False) -> bytes | None:
        """The resource as the server has it; None when it is not there. `sure`: it was told to be deleted, and a cache
        of the server may show it still. Raises Wanted, StepError."""
        found = self.lookup.ask((reference,))
        if sure and found is not None and self.lookup.ask((reference, GONE)):
            return None
        return found if found is None or isinstance(found, bytes) else self.form.dump(found)

    def own(self, content: bytes, channel: str) -> bool:
        """Whether this engine wrote this version."""
        return self._written.own(self.form.peek(content).control_id, channel)
