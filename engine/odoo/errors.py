"""What an answer of Odoo means for the delivery: one classifier, by the `name` of the error.

Guarantees: the HTTP status alone never decides a JSON error (in JSON-2 a 500 is mostly a permanent error of
the data), every error gets a stable code, a place (`model.field`) where one is named, and a text without
values of records: database details are cut, quoted text and all that was sent is blanked out.

Refuses: to keep `debug` (a traceback with values in it).

| answer | result |
|---|---|
| 429, 502, 503, 504, or a 404 or 5xx that is not JSON | UNKNOWN (RETRY where it cannot have run) |
| database trouble, serialization, locks, time and memory limits | RETRY |
| key or login refused, a right is missing, no such model or method | CONFIG |
| everything else: the data | PERMANENT |
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from engine.errors import DeliveryError
from engine.states import Result

ROW_RETRY = re.compile(r"could not serialize|deadlock detected|concurrent", re.IGNORECASE)
_NO_RIGHT = re.compile(r"You are not allowed to (access|create|modify|delete) ")
_RIGHT = re.compile(r"You are not allowed to (?:access|create|modify|delete) '[^'\n]*' \([\w.]+\) records")
_CLASS = re.compile(r"<class '([\w.]+)'>: (.*)", re.DOTALL)  # "Unknown error during import: <class ..."
_PG = "psycopg2."
_PG_RETRY = frozenset(
    {
        "OperationalError",
        "InterfaceError",
        "SerializationFailure",
        "DeadlockDetected",
        "LockNotAvailable",
        "ReadOnlySqlTransaction",
        "TransactionRollback",
        "AdminShutdown",
        "CrashShutdown",
        "CannotConnectNow",
        "ConnectionException",
        "ConnectionDoesNotExist",
        "ConnectionFailure",
        "TooManyConnections",
        "OutOfMemory",
        "DiskFull",
        "InsufficientResources",
        "QueryCanceled",
        "OperatorIntervention",
        "IdleInTransactionSessionTimeout",
        "StatementCompletionUnknown",
        "PoolError",
    }
)
_SERIAL = frozenset({"SerializationFailure", "DeadlockDetected", "LockNotAvailable", "TransactionRollback"})

_TODO = {
    "odoo.login": "renew the API key of the connection and check the login",
    "odoo.access": "give the Odoo user of the connection the right (docs/odoo.md, rights)",
    "odoo.unknown_model": "install the module that has this model, or change the template",
    "odoo.unknown_method": "check the method name against this version of Odoo",
    "odoo.unknown_field": "remove the field from the template or install the module that has it",
    "odoo.unknown_database": "check the name of the database in the connection",
    "odoo.value": "mend the value in the transformer or the template, then replay",
    "odoo.validation": "mend the data, then replay",
    "odoo.missing": "the record was deleted in Odoo; replay makes it again",
    "odoo.serialization": "it is sent again; two writers met on one record",
    "odoo.database": "it is sent again; look at the database server of Odoo",
    "odoo.no_database": "it is sent again; check the database name and that PostgreSQL runs",
    "odoo.unreachable": "it is sent again; check Odoo and the proxy before it",
    "odoo.limit": "it is sent again; Odoo stopped the request at a limit",
    "odoo.url": "check the URL of the connection: this is not Odoo",
    "odoo.arguments": "check the arguments of the call against this version of Odoo",
    "odoo.user": "Odoo refuses it; read the answer kept with the delivery",
    "odoo.error": "read the answer kept with the delivery and the log of Odoo",
}


class OdooError(DeliveryError):
    """An answer that is not the wanted one. `name` is Odoo's, `detail` its message: may hold patient data."""

    code = "odoo.error"

    def __init__(
        self,
        what: str,
        *,
        result: str,
        code: str = "",
        where: str = "",
        todo: str = "",
        name: str = "",
        detail: str = "",
    ) -> None:
        super().__init__(what, result=result, code=code, where=where, todo=todo or _TODO.get(code, ""))
        self.name = name
        self.detail = detail


def classify(
    name: str, message: str, model: str = "", columns: Iterable[str] = (), values: Iterable[str] = ()
) -> OdooError:
    """The error for Odoo's exception `name` with `message`, met on `model` while sending `columns`.

    `values` are what was sent: they are blanked out of the text. What holds a whole destination is logged and shown
    to everybody, so of a missing right only Odoo's own sentence is told: modules write what they like, names too.
    """
    result, code, place = _judge(name, message, list(columns))
    where = f"{model}.{place}" if model and place else model
    said = scrub(message, (model, place), values)
    if code == "odoo.access":
        said = " ".join(found[0] for found in _RIGHT.finditer(message))
    what = f"{_SAY.get(code, 'Odoo refuses it')} ({name})" + (f": {said}" if said else "")
    return OdooError(what, result=result, code=code, where=where, name=name, detail=message)


_SAY = {
    "odoo.login": "Odoo does not accept the API key or login",
    "odoo.access": "a right is missing in Odoo",
    "odoo.private_method": "the method is private",
    "odoo.unknown_model": "Odoo has no such model",
    "odoo.unknown_method": "Odoo has no such method",
    "odoo.unknown_field": "Odoo has no such field",
    "odoo.unknown_database": "Odoo has no such database",
    "odoo.value": "Odoo cannot read a value",
    "odoo.validation": "Odoo's rules refuse the record",
    "odoo.missing": "the record does not exist any more",
    "odoo.serialization": "two writers met on one record",
    "odoo.database": "the database of Odoo cannot work now",
    "odoo.limit": "Odoo stopped the request at a limit",
    "odoo.arguments": "Odoo does not accept the arguments",
}


def _judge(name: str, message: str, columns: list[str]) -> tuple[str, str, str]:
    short = name.rpartition(".")[2]
    if name.startswith(_PG):
        if short in _PG_RETRY:
            if "does not exist" in message and "database" in message:
                return Result.CONFIG, "odoo.unknown_database", ""
            return Result.RETRY, "odoo.serialization" if short in _SERIAL else "odoo.database", ""
        return Result.PERMANENT, "odoo.value", _named(message)
    if short in {"Unauthorized", "AccessDenied", "SessionExpiredException"}:
        return Result.CONFIG, "odoo.login", ""
    if short in {"AccessError", "Forbidden"}:
        if message.startswith("Private method"):
            return Result.PERMANENT, "odoo.private_method", ""
        return Result.CONFIG, "odoo.access", ""
    if short == "NotFound":
        return Result.CONFIG, "odoo.unknown_method" if "method" in message else "odoo.unknown_model", ""
    if short == "UserError" and re.match(r"Object \S+ doesn't exist", message):
        return Result.CONFIG, "odoo.unknown_model", ""
    if short == "AttributeError" and re.search(r"has no attribute|^The method '.*' does not exist", message):
        return Result.CONFIG, "odoo.unknown_method", ""
    if short == "MissingError":
        return Result.PERMANENT, "odoo.missing", ""
    if short == "ValidationError" or (short == "KeyError" and message.strip("'\"") == "lang"):
        return (
            Result.PERMANENT,
            "odoo.validation",
            "",
        )  # Odoo 16 answers a violated CHECK with KeyError 'lang'
    if short in {"ConcurrencyError", "LockError"}:
        return Result.RETRY, "odoo.serialization", ""
    if short == "KeyError" and message.strip("'\"") in {part.partition("/")[0] for part in columns}:
        return Result.PERMANENT, "odoo.unknown_field", message.strip("'\"")
    if short == "ValueError":
        found = re.search(r"Invalid field (?:name )?'([\w./]+)'", message)
        if found:
            return Result.PERMANENT, "odoo.unknown_field", found[1]
        return Result.PERMANENT, "odoo.value", _named(message)
    if short == "MemoryError" or "time limit exceeded" in message:
        return Result.RETRY, "odoo.limit", ""
    if short in {"TooManyRequests", "BadGateway", "ServiceUnavailable", "GatewayTimeout"}:
        return Result.UNKNOWN, "odoo.unreachable", ""
    if short in {"UnprocessableEntity", "BadRequest", "UnsupportedMediaType", "RequestEntityTooLarge"}:
        return Result.PERMANENT, "odoo.arguments", ""
    return Result.PERMANENT, "odoo.user" if short in {"UserError", "RedirectWarning"} else "odoo.error", ""


def _named(message: str) -> str:
    """The field of "Wrong value for res.partner.type: ..."."""
    found = re.match(r"Wrong value for [\w.]+\.(\w+):", message)
    return found[1] if found else ""


def not_json(status: int, body: bytes) -> OdooError:
    """The error for an answer whose body is not JSON: a proxy, a stopped database, a wrong URL."""
    text = body[:4096].decode("utf-8", "replace")
    if status == 404 and "No database is selected" in text:
        return _http(status, Result.RETRY, "odoo.no_database", "Odoo has no open database of this name")
    if status in {404, 408, 429} or status >= 500:
        return _http(status, Result.UNKNOWN, "odoo.unreachable", "no answer from Odoo itself")
    if status == 401:
        return _http(status, Result.CONFIG, "odoo.login", "the server before Odoo asks for a login")
    if status < 400 or status in {403, 405}:
        return _http(status, Result.CONFIG, "odoo.url", "the answer is not one of Odoo's API")
    return _http(status, Result.PERMANENT, "odoo.arguments", "the request was refused")


def _http(status: int, result: str, code: str, what: str) -> OdooError:
    return OdooError(f"{what} (HTTP {status}, not JSON)", result=result, code=code, name=f"http.{status}")


def row_error(message: dict[str, Any], model: str, values: Iterable[str] = ()) -> OdooError:
    """The error for one message of `load()`: RETRY when the database says that two writers met."""
    text = str(message.get("message", ""))
    field = str(message.get("field") or "")
    if not field and ROW_RETRY.search(text):
        what = f"two writers met on one record: {scrub(text)}"
        return OdooError(what, result=Result.RETRY, code="odoo.serialization", where=model, detail=text)
    told = None if field else _CLASS.search(text)
    if told:
        return classify(told[1], told[2], model, values=values)
    if not field and _NO_RIGHT.match(text):
        return classify("odoo.exceptions.AccessError", text, model, values=values)
    code = "odoo.value" if field else "odoo.validation"
    return OdooError(
        f"{_SAY[code]}: {scrub(text, (model, field), values)}",
        result=Result.PERMANENT,
        code=code,
        where=f"{model}.{field}" if field else model,
        detail=text,
    )


def scrub(text: str, keep: Iterable[str] = (), values: Iterable[str] = ()) -> str:
    """`text` without values of records: its first paragraph, with quotes, numbers and `values` blanked."""
    if re.fullmatch(r"'[^']*'", text):  # Odoo 16 shows a message of load() as a quoted whole
        text = text[1:-1]
    text = re.split(r"\n\s*\n|\n?DETAIL:|Failing row|Key \(|\n\(Record", text.strip(), maxsplit=1)[0]
    kept = set(keep)
    own = {part for name in kept for part in name.split(".")}
    for value in sorted({value for value in values if len(value) > 1} - own, key=len, reverse=True):
        text = text.replace(value, "…")

    def blank(found: re.Match[str]) -> str:
        inner = found[0][1:-1]
        return found[0] if inner in kept else "'…'"

    text = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"|«[^»]*»|“[^”]*”", blank, text)
    text = re.sub(r"\S+@\S+|\d{3,}\S*", "…", text)
    return " ".join(text.split())[:300]
