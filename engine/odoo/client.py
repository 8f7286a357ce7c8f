"""Calls to one Odoo database, over JSON-2 or JSON-RPC, whichever its version has.

Guarantees: every call carries a context in which dates are UTC and Odoo e-mails nobody; the version, the
user's id are asked once, `fields_get` once an hour; never more than `connections` calls at a time. A call fails with an
`OdooError` and nothing else. No call is ever sent again here: whoever called decides.

Refuses: servers before 16, and JSON-RPC without a login name.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import orjson
from twisted.internet.defer import DeferredSemaphore

from engine.odoo.errors import OdooError
from engine.odoo.protocol import JSON, Call, Json2, JsonRpc, Request
from engine.odoo.transport import Transport
from engine.states import Result

QUIET: dict[str, Any] = {
    "tz": "UTC",
    "lang": "en_US",
    "tracking_disable": True,
    "mail_create_nosubscribe": True,
    "no_mail_to_attendees": True,
    "dont_notify": True,
    "skip_contact_description": True,
}
"""The context of every call: UTC dates, no tracking, no follower, no mail to attendees, and (Odoo 19) no name,
e-mail and phone of the first attendee appended to an event's description."""
FIELDS_TTL = 3600.0  # seconds
MAIL_SWITCHES = ("no_mail_to_attendees", "dont_notify")
ATTRIBUTES = ["type", "string", "required", "readonly", "relation", "selection", "digits", "depends"]
Fields = dict[str, dict[str, Any]]
ProtocolName = Literal["auto", "json2", "jsonrpc"]


class _Session:
    """What all users of one connection share: protocol, user, version, fields of models."""

    def __init__(self, connections: int) -> None:
        self.wire: Json2 | JsonRpc | None = None
        self.version: tuple[int, int] | None = None
        self.fields: dict[str, tuple[float, Fields]] = {}
        self.slots = DeferredSemaphore(connections)


class OdooClient:
    """One database of one server, as one user. `context` is merged over QUIET."""

    def __init__(
        self,
        transport: Transport,
        database: str,
        api_key: str,
        *,
        login: str = "",
        protocol: ProtocolName = "auto",
        context: Mapping[str, Any] | None = None,
        connections: int = 2,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = seconds
        self._transport = transport
        self._database = database
        self._api_key = api_key
        self._login = login
        self._protocol = protocol
        self._session = _Session(connections)
        self.context: dict[str, Any] = {**QUIET, **(context or {})}

    def __repr__(self) -> str:
        return f"<OdooClient {self._database!r}>"

    def using(self, context: Mapping[str, Any], mail: bool = False) -> OdooClient:
        """The same connection with another context; `mail` takes the switches against e-mail out."""
        twin = copy.copy(self)
        twin.context = {**self.context, **context}
        if mail:
            for name in MAIL_SWITCHES:
                twin.context.pop(name, None)
        return twin

    async def call(
        self,
        model: str,
        method: str,
        ids: Sequence[int] | None = None,
        *args: Any,
        context: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call a method with named arguments (positional ones only over JSON-RPC)."""
        wire = await self._wire()
        full = {**self.context, **context} if context else self.context
        call = Call(model, method, None if ids is None else list(ids), args, kwargs, full)
        status, body = await self._send(wire.request(call))
        try:
            return wire.answer(call, status, body)
        except OdooError as error:
            if error.code == "odoo.login":
                self._session.wire = None  # the next call logs in again
            raise

    async def load(self, model: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
        """`load()`: all rows or none; gives {"ids": [...] or False, "messages": [...]}."""
        answer = await self.call(model, "load", fields=list(columns), data=[list(row) for row in rows])
        if not isinstance(answer, dict):
            raise _strange(f"{model}.load")
        return answer

    async def search_read(
        self, model: str, domain: list[Any], fields: Sequence[str], *, limit: int | None = None, **more: Any
    ) -> list[dict[str, Any]]:
        """Records that a domain finds; `more` is `order`, `offset` or `context`."""
        if limit is not None:
            more["limit"] = limit
        return _records(
            await self.call(model, "search_read", domain=domain, fields=list(fields), **more), model
        )

    async def read(self, model: str, ids: Sequence[int], fields: Sequence[str]) -> list[dict[str, Any]]:
        """The records, archived ones too; those that do not exist are left out."""
        context = {"active_test": False}
        return _records(await self.call(model, "read", ids, fields=list(fields), context=context), model)

    async def existing(self, model: str, ids: Sequence[int]) -> set[int]:
        """Those of `ids` that exist, archived ones too. (`read` of `id` alone does not look.)"""
        if not ids:
            return set()
        context = {"active_test": False}
        found = await self.search_read(model, [["id", "in", list(ids)]], ["id"], context=context)
        return {row["id"] for row in found}

    async def fields_get(self, model: str, age: float = FIELDS_TTL) -> Fields:
        """The fields of a model with ATTRIBUTES; asked again when the answer is older than `age` seconds."""
        known = self._session.fields.get(model)
        if known is not None and self._seconds() - known[0] <= age:
            return known[1]
        found = await self.call(model, "fields_get", attributes=ATTRIBUTES)
        if not isinstance(found, dict):
            raise _strange(f"{model}.fields_get")
        self._session.fields[model] = self._seconds(), found
        return found

    async def version(self) -> tuple[int, int]:
        """(19, 0): the server's version, asked once, without a login."""
        if self._session.version is None:
            self._session.version = await self._ask_version()
        return self._session.version

    async def _ask_version(self) -> tuple[int, int]:
        first = Request("GET", "/web/version", {"Accept": JSON, "User-Agent": "isthmus"}, b"")
        status, body = await self._send(first)
        found = _version_info(body) if status == 200 else None  # Odoo 16 has no such page
        if found is None:
            rpc = JsonRpc(self._database, self._api_key)
            status, body = await self._send(rpc.service("common", "version", []))
            found = _version_info(orjson.dumps(rpc.answer(Call("", "version"), status, body)))
        if found is None:
            raise OdooError("the server tells no version", result=Result.CONFIG, code="odoo.url")
        if found[0] < 16:
            raise OdooError(
                f"Odoo {found[0]}.{found[1]} is too old",
                result=Result.CONFIG,
                code="odoo.version",
                todo="Isthmus speaks to Odoo 16 and later",
            )
        return found

    async def authenticate(self) -> None:
        """Prove the key: raises `odoo.login` when Odoo does not accept it."""
        await self.call("res.users", "context_get")

    async def _wire(self) -> Json2 | JsonRpc:
        if self._session.wire is None:
            json2 = self._protocol == "json2"
            if self._protocol == "auto":
                json2 = (await self.version())[0] >= 19
            self._session.wire = Json2(self._database, self._api_key) if json2 else await self._log_in()
        return self._session.wire

    async def _log_in(self) -> JsonRpc:
        rpc = JsonRpc(self._database, self._api_key)
        if not self._login:
            raise OdooError(
                "JSON-RPC needs the login name of the key's user",
                result=Result.CONFIG,
                code="odoo.login",
                todo="set `login` in the connection",
            )
        status, body = await self._send(rpc.authenticate(self._login))
        uid = rpc.answer(Call("res.users", "authenticate"), status, body)
        if not uid:
            raise OdooError(
                "Odoo does not accept the login and API key", result=Result.CONFIG, code="odoo.login"
            )
        rpc.uid = int(uid)
        return rpc

    async def _send(self, request: Request) -> tuple[int, bytes]:
        status, _, body = await self._session.slots.run(
            self._transport.request, request.method, request.path, request.headers, request.body
        )
        return status, body


def _version_info(body: bytes) -> tuple[int, int] | None:
    """(major, minor) of `version_info`; SaaS versions say "saas~18"."""
    try:
        told = orjson.loads(body)
        info = told.get("version_info") or told["server_version_info"]
        return int(str(info[0]).rpartition("~")[2]), int(info[1])
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, ValueError, AttributeError):
        return None


def _records(answer: Any, model: str) -> list[dict[str, Any]]:
    if not isinstance(answer, list):
        raise _strange(model)
    return answer


def _strange(where: str) -> OdooError:
    return OdooError(
        "Odoo's answer has not the shape that it should have",
        result=Result.UNKNOWN,
        code="odoo.answer",
        where=where,
        todo="check the version of Odoo and what stands between it and Isthmus",
    )
