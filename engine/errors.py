"""Errors that say what was wrong, where, and what to do next; never patient data.

`code` is stable, dotted and documented (docs/errors.md); `where` is a channel, a message id, a
line:column or an HL7 position; `todo` tells the reader the next step.
"""

import errno
from traceback import extract_tb
from types import TracebackType


class IsthmusError(Exception):
    """Base of every error that Isthmus raises on purpose."""

    code = "internal"

    def __init__(self, what: str, *, code: str = "", where: str = "", todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.code = code or self.code
        self.where = where
        self.todo = todo

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.todo})" if self.todo else text


class ConfigError(IsthmusError):
    """A configuration that cannot run: `where` is file:line:column."""

    code = "config"


class HL7Error(IsthmusError):
    """Bytes that are not the HL7 that was expected: `where` is a position like `MSH-9`.

    `ack` and `condition` are what an answer must carry: MSA-1 (HL7 table 0008) and ERR-3 (table 0357). `each`: what
    it consists of, when the answer is to name several places.
    """

    code = "hl7"
    each: "tuple[HL7Error, ...]" = ()

    def __init__(
        self,
        what: str,
        *,
        code: str = "",
        where: str = "",
        todo: str = "",
        ack: str = "AE",
        condition: str = "207",
    ) -> None:
        super().__init__(what, code=code, where=where, todo=todo)
        self.ack = ack
        self.condition = condition


class FormatError(HL7Error):
    """Bytes that are not of the format that the channel expects; answered as an HL7Error is."""

    code = "format"


class StepError(IsthmusError):
    """A filter, transformer or template failed on one message: the message goes to ERROR."""

    code = "step"


class DeliveryError(IsthmusError):
    """A destination could not take what it was given; `result` is a `states.Result` value."""

    code = "delivery"

    def __init__(self, what: str, *, result: str, code: str = "", where: str = "", todo: str = "") -> None:
        super().__init__(what, code=code, where=where, todo=todo)
        self.result = result


class StoreError(IsthmusError):
    """The message store cannot do what it must: disk full, locked, corrupt, too new."""

    code = "store"

    @classmethod
    def of(cls, error: OSError, what: str) -> "StoreError":
        """What the operating system refused: `what` begins the sentence, such as `the key file`."""
        full, sealed = (errno.ENOSPC, errno.EDQUOT), (errno.EROFS, errno.EACCES, errno.EPERM)
        code = "full" if error.errno in full else "readonly" if error.errno in sealed else "io"
        return cls(
            f"{what} cannot be written: {error.strerror}",
            code=f"store.{code}",
            where=str(error.filename or ""),
            todo="check owner, rights and free space of the data folder, and how it is mounted",
        )


class UserError(IsthmusError):
    """What a person asked for cannot be: a wrong password, a missing right, a name that is taken."""

    code = "user"


class StepTimeout(BaseException):
    """A step used up its time budget. Not an Exception, so that a step that catches everything cannot keep it."""


def places(trace: TracebackType | None) -> str:
    """The last places of a traceback, for a log: without the text of the error, which may quote a message."""
    return "Traceback: " + ", ".join(f"{one.filename}:{one.lineno}" for one in extract_tb(trace)[-5:])
