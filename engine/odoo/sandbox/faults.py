"""Errors as Odoo 16 and 19 report them.

Guarantees: every fault has the exception name, message, arguments and JSON-2 status that a client of the real
server sees; a `DatabaseFault` is what PostgreSQL would have raised, and becomes another error at the border
(`as_api`) than inside `load()` (`load_message`), as in Odoo.

Refuses: to carry a traceback (`debug` is empty).
"""

from __future__ import annotations

from typing import Any


class Fault(Exception):
    """An exception of the server: `name` is the Python name that Odoo sends, `status` the one of JSON-2."""

    name = "builtins.Exception"
    status = 500

    def __init__(self, message: str, arguments: list[Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.arguments = [message] if arguments is None else arguments

    def body(self) -> dict[str, Any]:
        """The error object of both protocols."""
        return {
            "name": self.name,
            "message": self.message,
            "arguments": self.arguments,
            "context": {},
            "debug": "",
        }

    @property
    def python(self) -> str:
        """The class as Python prints it, `<class 'ValueError'>`."""
        return f"<class '{self.name.removeprefix('builtins.')}'>"


class UserFault(Fault):
    """odoo.exceptions.UserError and its kin: `load()` of 19 shows their text as it is."""

    name = "odoo.exceptions.UserError"
    status = 422


class ValidationFault(UserFault):
    """A constraint in Python."""

    name = "odoo.exceptions.ValidationError"


class AccessFault(UserFault):
    """The user may not."""

    name = "odoo.exceptions.AccessError"
    status = 403


class MissingFault(UserFault):
    """The record does not exist."""

    name = "odoo.exceptions.MissingError"
    status = 404


class DeniedFault(UserFault):
    """Wrong user or key (JSON-RPC)."""

    name = "odoo.exceptions.AccessDenied"
    status = 403


class Crash(Fault):
    """An exception that nobody caught: a programming error of the caller, in Odoo's eyes of the server."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class HttpFault(Fault):
    """A werkzeug exception (JSON-2)."""

    def __init__(self, kind: str, status: int, message: str, arguments: list[Any] | None = None) -> None:
        super().__init__(message, [message, status] if arguments is None else arguments)
        self.name = f"werkzeug.exceptions.{kind}"
        self.status = status


class DatabaseFault(Fault):
    """What PostgreSQL refuses: NOT NULL, CHECK, UNIQUE, a foreign key, a wrong type.

    `text` is what 19 says; `field` the column when `load()` names it; `load16` and `api16` what 16 says, where
    `api16` None is that build's own failure, a KeyError 'lang'.
    """

    name = "psycopg2.IntegrityError"

    def __init__(self, text: str, field: str = "", load16: str = "", api16: str | None = None) -> None:
        super().__init__(text)
        self.field = field
        self.load16 = load16 or text
        self.api16 = api16

    def as_api(self, major: int) -> Fault:
        """The error of a call other than `load()`."""
        prefix = "The operation cannot be completed:"
        if major >= 17:
            return ValidationFault(f"{prefix} {self.text}")
        return (
            Crash("builtins.KeyError", "lang") if self.api16 is None else ValidationFault(prefix + self.api16)
        )

    def load_message(self, major: int) -> dict[str, Any]:
        """The part of a `load()` message that tells the error."""
        message = {"message": self.text if major >= 17 else self.load16}
        return {**message, "field": self.field} if self.field else message

    @property
    def text(self) -> str:
        """What 19 says."""
        return self.message


class ConcurrencyFault(Fault):
    """Another process holds the database: Odoo's serialization failure."""

    name = "psycopg2.errors.SerializationFailure"

    def __init__(self) -> None:
        super().__init__("could not serialize access due to concurrent update\n")
