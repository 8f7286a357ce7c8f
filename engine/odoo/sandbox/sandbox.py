"""The door of the sandbox: one HTTP-shaped request in, one answer out, and a look inside for people.

Guarantees: `handle` never raises; whatever a caller sends gets the answer that Odoo of that version gives.
The key is compared in constant time and checked before the body is parsed (JSON-2). No text of a request is
logged. Refuses: everything without the key except the version.
"""

from __future__ import annotations

import hmac
import inspect
import sqlite3
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from engine import clock
from engine.odoo.sandbox import pages
from engine.odoo.sandbox.database import ADMIN, ENGINE_16, ENGINE_19, Database
from engine.odoo.sandbox.faults import (
    AccessFault,
    ConcurrencyFault,
    Crash,
    DatabaseFault,
    DeniedFault,
    Fault,
    HttpFault,
    UserFault,
)
from engine.odoo.sandbox.methods import READ_ONLY, Undo, method
from engine.odoo.sandbox.models import models
from engine.odoo.sandbox.operations import Operations

Answer = tuple[int, dict[str, str], bytes]
_KEY_FIELDS = (
    "name",
    "ref",
    "start",
    "stop",
    "phone",
    "email",
    "active",
    "module",
    "model",
    "res_id",
    "subject",
)
_BUGS = (TypeError, KeyError, ValueError, IndexError, AttributeError, OverflowError, sqlite3.Error)
"""What arguments of a wrong shape make of Python code: Odoo answers with the exception as well."""


def _crash(error: Exception) -> Crash:
    if isinstance(error, sqlite3.Error):
        return Crash("psycopg2.errors.InvalidTextRepresentation", "invalid input syntax\n")
    return Crash(f"builtins.{type(error).__name__}", str(error))


class Sandbox:
    """One database. `rights` is "admin" or "engine" (an internal user who may not touch technical records)."""

    def __init__(
        self,
        path: Path | str = ":memory:",
        *,
        version: str = "19.0",
        database: str = "clinic",
        api_key: str = "sandbox",
        login: str = "sandbox",
        rights: str = "admin",
        now: Callable[[], clock.Micros] = clock.now,
    ) -> None:
        self.version = version
        self.major = int(version.split(".", maxsplit=1)[0])
        self.database = database
        self.login = login
        self.admin = rights == "admin"
        self.uid = ADMIN if self.admin else ENGINE_19 if self.major >= 17 else ENGINE_16
        self._key = api_key
        self._now = now
        self._lock = threading.Lock()
        self.models = models(self.major)
        self.db = Database(path, self.models, version, self._time(), login)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def _time(self) -> str:
        return datetime.fromtimestamp(self._now() / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

    def handle(self, verb: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request: (status, headers, body)."""
        names = {name.lower(): value for name, value in headers.items()}
        route = path.partition("?")[0]
        with self._lock:
            if route == "/web/version" and self.major >= 18:
                return self._json(200, {"version_info": self._info(), "version": self.version})
            if route == "/web/webclient/version_info":
                return self._rpc(names, body, lambda _: self._about())
            if route == "/jsonrpc":
                return self._rpc(names, body, self._service)
            if route.startswith("/json/2") and self.major >= 19:
                return self._json2(verb, route, names, body)
        return pages.not_found()

    def _info(self) -> list[Any]:
        return [self.major, int(self.version.split(".")[1]), 0, "final", 0, ""]

    def _about(self) -> dict[str, Any]:
        return {
            "server_version": self.version,
            "server_version_info": self._info(),
            "server_serie": self.version,
            "protocol_version": 1,
        }

    @staticmethod
    def _json(status: int, value: Any, **headers: str) -> Answer:
        return status, {"Content-Type": "application/json; charset=utf-8", **headers}, orjson.dumps(value)

    # --- JSON-2

    def _json2(self, verb: str, route: str, headers: dict[str, str], body: bytes) -> Answer:
        if headers.get("x-odoo-database", self.database) != self.database:
            return pages.no_database()
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and kind != "application/json":
            return pages.unsupported()
        try:
            return self._json(200, self._json2_call(verb, route, headers, body))
        except HttpFault as fault:
            more = {"WWW-Authenticate": "Bearer "} if fault.status == 401 else {}
            return self._json(fault.status, fault.body(), **more)
        except Fault as fault:
            return self._json(fault.status, fault.body())

    def _json2_call(self, verb: str, route: str, headers: dict[str, str], body: bytes) -> Any:
        parts = route.split("/")
        if len(parts) != 5 or verb != "POST":
            raise HttpFault("NotFound", 404, "Did you mean POST /json/2/<model>/<method>?")
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            text = "User not authenticated, use an API Key with a Bearer Authorization header."
            raise HttpFault("Unauthorized", 401, text)
        if not self._is_key(key.strip()):
            raise HttpFault("Unauthorized", 401, "Invalid apikey")
        try:
            params = orjson.loads(body) if body else {}
        except orjson.JSONDecodeError:
            raise HttpFault(
                "BadRequest", 400, f"could not parse the body as json: {pages.why(body)}"
            ) from None
        if not isinstance(params, dict):
            params = {}
        name, call = parts[3], parts[4]
        ids, context = params.pop("ids", []), params.pop("context", None) or {}
        model = self.models.get(name)
        if model is None:
            raise HttpFault("NotFound", 404, f"the model {name!r} does not exist")

        def prepare(function: Callable[..., Any], takes_ids: bool) -> tuple[list[Any], dict[str, Any]]:
            if ids and not takes_ids:
                raise HttpFault("UnprocessableEntity", 422, f"cannot call {name}.{call} with ids")
            args = [ids] if takes_ids else []
            try:
                inspect.signature(function).bind(*args, **params)
            except TypeError as error:
                raise HttpFault("UnprocessableEntity", 422, str(error)) from None
            return args, params

        try:
            return self._call(name, call, context, prepare)
        except Crash as fault:
            if fault.name == "builtins.AttributeError" and fault.message.startswith("The method "):
                raise HttpFault("NotFound", 404, fault.message) from None
            raise

    def _is_key(self, key: Any) -> bool:
        return isinstance(key, str) and hmac.compare_digest(key.encode(), self._key.encode())

    # --- JSON-RPC

    def _rpc(self, headers: dict[str, str], body: bytes, answer: Callable[[Any], Any]) -> Answer:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("application/json", "application/json-rpc"):
            return pages.wrong_type(self.major)
        try:
            asked = orjson.loads(body)
        except orjson.JSONDecodeError:
            if self.major < 17:
                text = "400 Bad Request: Invalid JSON data"
                return self._json(200, self._error(None, HttpFault("BadRequest", 200, text, [])))
            return 400, {"Content-Type": "text/html; charset=utf-8"}, b"Invalid JSON data"
        if not isinstance(asked, dict):
            if self.major < 17:
                return pages.broken()
            return 400, {"Content-Type": "text/html; charset=utf-8"}, b"Invalid JSON-RPC data"
        value: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.get("id")}
        try:
            try:
                result = answer(asked.get("params") or {})
            except _BUGS as error:
                raise _crash(error) from None
            if result is not None:
                value["result"] = result
            elif self.major < 17:
                value["result"] = None
        except Fault as fault:
            value = self._error(asked.get("id"), fault)
        return self._json(200, value)

    def _error(self, number: Any, fault: Fault) -> dict[str, Any]:
        code = 0 if self.major >= 17 else 200
        error = {"code": code, "message": "Odoo Server Error", "data": fault.body()}
        return {"jsonrpc": "2.0", "id": number, "error": error}

    def _service(self, params: dict[str, Any]) -> Any:
        service, name, args = params.get("service"), params.get("method"), list(params.get("args") or [])
        if service == "common":
            return self._common(str(name), args)
        if service != "object" or name not in ("execute_kw", "execute"):
            raise Crash("builtins.NameError", f"Method not available {name}")
        if len(args) < 5:
            raise Crash("builtins.ValueError", "not enough values to unpack (expected at least 5)")
        database, uid, key, model_name, call, *rest = args
        if database != self.database:
            text = f'connection to server failed: FATAL:  database "{database}" does not exist\n'
            raise Crash("psycopg2.OperationalError", text)
        if uid != self.uid or not self._is_key(key):
            raise DeniedFault("Access Denied")
        positional = list(rest[0]) if name == "execute_kw" and rest else rest if name == "execute" else []
        named = dict(rest[1] or {}) if name == "execute_kw" and len(rest) > 1 else {}
        context = named.pop("context", None) or {}
        if model_name not in self.models:
            raise UserFault(f"Object {model_name} doesn't exist")

        def prepare(function: Callable[..., Any], takes_ids: bool) -> tuple[list[Any], dict[str, Any]]:
            args = list(positional)
            if takes_ids:
                if not args:
                    raise Crash("builtins.IndexError", "list index out of range")
                args[0] = [args[0]] if isinstance(args[0], int) else args[0]
            try:
                inspect.signature(function).bind(*args, **named)
            except TypeError as error:
                text = str(error).replace(
                    "missing a required argument: ", "missing 1 required positional argument: "
                )
                raise Crash("builtins.TypeError", f"BaseModel.{call}() {text}") from None
            return args, named

        result = self._call(str(model_name), str(call), context, prepare)
        if call == "create" and positional and isinstance(positional[0], dict):
            return result[0]
        return result

    def _common(self, name: str, args: list[Any]) -> Any:
        if name == "version":
            return self._about()
        if name in ("login", "authenticate") and len(args) >= 3:
            database, login, key = args[:3]
            if database != self.database:
                text = f'connection to server failed: FATAL:  database "{database}" does not exist\n'
                raise Crash("psycopg2.OperationalError", text)
            return self.uid if login == self.login and self._is_key(key) else False
        raise Crash("builtins.Exception", f"Method not found: {name}")

    # --- both

    def _call(self, name: str, call: str, context: dict[str, Any], prepare: Callable[..., Any]) -> Any:
        model = self.models[name]
        env = Operations(self.db, self.major, self.uid, self.admin, self._time(), context)
        if call.startswith("_") or (call == "exists" and self.major >= 19):
            shown = f"'{name}.{call}'" if self.major >= 17 else call
            raise AccessFault(f"Private methods (such as {shown}) cannot be called remotely.")
        function = method(env, model, call)
        if function is None:
            if self.major >= 17:
                raise Crash("builtins.AttributeError", f"The method '{name}.{call}' does not exist")
            raise Crash("builtins.AttributeError", f"type object '{name}' has no attribute '{call}'")
        args, named = prepare(function, "ids" in inspect.signature(function).parameters)
        try:
            with self.db.transaction(write=call not in READ_ONLY):
                return function(*args, **named)
        except Undo as undone:
            return undone.answer
        except DatabaseFault as fault:
            raise fault.as_api(self.major) from None
        except ConcurrencyFault as fault:
            if call != "load":
                raise
            place = {"rows": {"from": 0, "to": 0}, "record": 0}
            return {
                "ids": False,
                "messages": [{**place, "type": "error", "message": fault.message}],
                "nextrow": 0,
            }
        except _BUGS as error:
            raise _crash(error) from None

    # --- for people and tests

    def summary(self, limit: int = 20) -> dict[str, list[dict[str, Any]]]:
        """The newest records that were made here, by model, with their key fields and external ids."""
        found: dict[str, list[dict[str, Any]]] = {}
        with self._lock:
            env = Operations(self.db, self.major, ADMIN, True, self._time(), {"active_test": False})
            with self.db.transaction(write=False):
                for model in self.models.values():
                    made = env.search(model, [["create_uid", "!=", 1]], limit=limit, order="id desc")
                    if not made or model.name in ("ir.model.data", "calendar.attendee"):
                        continue
                    fields = [name for name in _KEY_FIELDS if name in model.fields]
                    found[model.name] = env.read(model, made, fields)
                    for record in found[model.name]:
                        record["xml_ids"] = [
                            row[0]
                            for row in self.db.rows(
                                "SELECT module || '.' || name FROM ir_model_data WHERE model = ? AND res_id = ?"
                                " ORDER BY id",
                                (model.name, record["id"]),
                            )
                        ]
        return found

    def mails(self) -> list[dict[str, Any]]:
        """The e-mails that a real Odoo would have queued to attendees: subject, recipients, record."""
        with self._lock, self.db.transaction(write=False):
            env = Operations(self.db, self.major, ADMIN, True, self._time(), {"active_test": False})
            model = env.model("mail.message")
            ids = env.search(model, [["message_type", "=", "user_notification"]], order="id")
            return env.read(model, ids, ["subject", "model", "res_id", "partner_ids"])
