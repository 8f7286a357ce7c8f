"""The two ways to talk to Odoo: JSON-2 (19 and later) and JSON-RPC (16 to 18). Bytes in, bytes out; no I/O.

Guarantees: one call in, the same meaning on both; NUL characters and lone surrogates never reach Odoo (a NUL
is a ValueError there, a surrogate an HTML 500); an answer is a value or an `OdooError`.

Refuses: positional arguments over JSON-2, which has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.odoo.errors import OdooError, classify, not_json
from engine.states import Result

JSON = "application/json"
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Call:
    """One call of a method of a model. `args` are positional arguments after the ids (JSON-RPC only)."""

    model: str
    method: str
    ids: list[int] | None = None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """What goes over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


def dumps(value: Any) -> bytes:
    """JSON that Odoo can read: see `clean`."""
    try:
        data = orjson.dumps(value)
    except TypeError:  # a lone surrogate, or a type that JSON has not (raised again below)
        return orjson.dumps(clean(value))
    return orjson.dumps(clean(value)) if b"\\u0000" in data else data


def clean(value: Any) -> Any:
    """`value` without NUL characters, and with U+FFFD in place of lone surrogates."""
    if isinstance(value, str):
        return SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value.replace("\x00", ""))
    if isinstance(value, dict):
        return {clean(name): clean(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(item) for item in value]
    return value


class Json2:
    """`POST /json/2/<model>/<method>` with a bearer key; one transaction for each request."""

    name = "json2"

    def __init__(self, database: str, api_key: str) -> None:
        self._headers = {
            "Authorization": f"bearer {api_key}",
            "X-Odoo-Database": database,
            "Content-Type": JSON,
            "User-Agent": "isthmus",
        }

    def request(self, call: Call) -> Request:
        """The request for a call."""
        if call.args:
            raise OdooError(
                "positional arguments do not exist in Odoo's JSON-2",
                result=Result.PERMANENT,
                code="odoo.arguments",
                where=f"{call.model}.{call.method}",
                todo="name them: kwargs instead of args",
            )
        body = dict(call.kwargs)
        if call.ids is not None:
            body["ids"] = call.ids
        if call.context:
            body["context"] = call.context
        return Request("POST", f"/json/2/{call.model}/{call.method}", self._headers, dumps(body))

    def answer(self, call: Call, status: int, body: bytes) -> Any:
        """The bare JSON value, or an error object with `name` and `message`."""
        value = _parse(status, body)
        if status == 200:
            return value
        if not isinstance(value, dict) or "name" not in value:
            raise not_json(status, body)
        raise classify(str(value["name"]), str(value.get("message", "")), call.model, _columns(call))


class JsonRpc:
    """`POST /jsonrpc` with `execute_kw`; `uid` comes from `authenticate`."""

    name = "jsonrpc"

    def __init__(self, database: str, api_key: str, uid: int = 0) -> None:
        self._database = database
        self._api_key = api_key
        self.uid = uid
        self._headers = {"X-Odoo-Database": database, "Content-Type": JSON, "User-Agent": "isthmus"}

    def request(self, call: Call) -> Request:
        """The request for a call."""
        kwargs = dict(call.kwargs)
        args: list[Any] = [] if call.ids is None else [call.ids]
        for name in {"create": ["vals_list"], "write": ["vals"]}.get(call.method, []):
            if name in kwargs:  # Odoo up to 18 wants it by position: overrides call it otherwise
                args.append(kwargs.pop(name))
        args.extend(call.args)
        if call.context:
            kwargs["context"] = call.context
        where = [self._database, self.uid, self._api_key, call.model, call.method, args, kwargs]
        return self.service("object", "execute_kw", where)

    def service(self, service: str, method: str, args: list[Any]) -> Request:
        """A request to one of the services `common` and `object`."""
        params = {"service": service, "method": method, "args": args}
        body = {"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}
        return Request("POST", "/jsonrpc", self._headers, dumps(body))

    def authenticate(self, login: str) -> Request:
        """The request that gives the user's id, or False."""
        return self.service("common", "authenticate", [self._database, login, self._api_key, {}])

    def answer(self, call: Call, status: int, body: bytes) -> Any:
        """`result`, or the error in `error.data`; the HTTP status is 200 for both."""
        value = _parse(status, body)
        if not isinstance(value, dict) or not ("result" in value or "error" in value):
            if isinstance(value, dict) and value.get("jsonrpc"):
                return None  # Odoo leaves `result` out when a method gives None
            raise not_json(status, body)
        if "error" in value:
            data = (value["error"] or {}).get("data") or {}
            name = str(data.get("name") or "unknown")
            message = str(data.get("message") or value["error"].get("message") or "")
            raise classify(name, message, call.model, _columns(call))
        return value["result"]


def _columns(call: Call) -> Iterable[str]:
    """The columns that a `load` sends: Odoo 16 names an unknown one by a bare KeyError."""
    return call.kwargs.get("fields") or () if call.method == "load" else ()


def _parse(status: int, body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise not_json(status, body) from None
