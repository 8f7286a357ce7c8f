"""`connections: {clinic: {odoo: {...}}}`: where an Odoo is and how to log in.

Guarantees: all destinations of one connection share one client, so one login, one cache of fields and of
external ids, one limit on simultaneous calls; the key is never shown.

Refuses: a URL that is not http, https or `sandbox:`, and a module for external ids that Odoo has installed
(an upgrade of that module would delete our names).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, field_validator

from engine.errors import ConfigError
from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.externalid import MODULE, valid_module
from engine.odoo.index import XidIndex
from engine.odoo.lookup import check, search
from engine.odoo.transport import HttpTransport, SandboxTransport, Transport
from engine.spec.lookups import Fetch, Key
from engine.spec.units import Duration
from engine.states import Result

SANDBOX = "sandbox:"
SANDBOX_FILE = "odoo-sandbox.db"


class OdooConnection(BaseModel):
    """One database of one Odoo server, as one user."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    lookups: ClassVar[str] = "odoo"

    url: str = Field(
        description="Address of the server, or `sandbox:` for the stand-in that lives in the engine.",
        examples=["https://odoo.example.org", "sandbox:"],
    )
    database: str = Field(default="clinic", description="Name of the database.", examples=["clinic"])
    api_key: SecretStr = Field(
        default=SecretStr("sandbox"), description="API key of the user (Preferences, Account Security)."
    )
    login: str = Field(
        default="", description="Login name of the key's user; Odoo 16 to 18 need it.", examples=["hl7"]
    )
    protocol: Literal["auto", "json2", "jsonrpc"] = Field(
        default="auto", description="`auto`: JSON-2 from Odoo 19 on, JSON-RPC before."
    )
    timeout: Duration = Field(
        default=100.0, gt=0, description="Time to wait for an answer; below Odoo's limit_time_real (120)."
    )
    connections: int = Field(
        default=2, ge=1, description="Calls at the same time, at most; fewer than Odoo has workers."
    )
    context: dict[str, Any] = Field(default={}, description="Added to the context of every call.")
    module: str = Field(
        default=MODULE, description="Module name in the external ids; one for each engine or facility."
    )

    _shared: tuple[OdooClient, XidIndex] | None = PrivateAttr(default=None)

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if not url.startswith(("http://", "https://", SANDBOX)):
            raise ValueError("must start with http://, https:// or sandbox:")
        return url

    @field_validator("module")
    @classmethod
    def _plain_module(cls, module: str) -> str:
        if not valid_module(module):
            raise ValueError("must be lower-case letters, digits and _, and start with a letter")
        return module

    def fetcher(self, query: Any, reactor: Any, data_dir: Path | None) -> Fetch:
        """What answers a `lookup` step: one call for the keys of a batch."""
        check(query)

        async def fetch(keys: list[Key]) -> dict[Key, Any]:
            return await search(self.client(reactor, data_dir), query, keys)

        return fetch

    def client(self, reactor: Any, data_dir: Path | None) -> OdooClient:
        """The client that all destinations of this connection share."""
        return self.shared(reactor, data_dir)[0]

    def shared(self, reactor: Any, data_dir: Path | None) -> tuple[OdooClient, XidIndex]:
        """The client and what it knows of external ids."""
        if self._shared is None:
            client = OdooClient(
                self._transport(reactor, data_dir),
                self.database,
                self.api_key.get_secret_value(),
                login=self.login or ("engine" if self.url.startswith(SANDBOX) else ""),
                protocol=self.protocol,
                context=self.context,
                connections=self.connections,
                seconds=reactor.seconds,
            )
            self._shared = client, XidIndex(reactor.seconds)
        return self._shared

    def _transport(self, reactor: Any, data_dir: Path | None) -> Transport:
        if not self.url.startswith(SANDBOX):
            return HttpTransport(self.url, reactor, self.timeout)
        named = self.url.removeprefix(SANDBOX)
        if not named and data_dir is None:
            raise ConfigError(
                "the sandbox has no folder to keep its database in",
                code="odoo.sandbox",
                todo="name a file: sandbox:/path/to/file.db",
            )
        return SandboxTransport.open(named or Path(data_dir or ".") / SANDBOX_FILE, reactor)


AWAY = "Odoo was not reached at start"


async def probe(client: OdooClient, module: str, models: list[str]) -> list[str]:
    """Check version, key, external ids and models; gives warnings, raises ConfigError for what to mend.

    A server that cannot be reached now is a warning: messages are accepted and wait for it.
    """
    try:
        await client.version()
        await client.authenticate()
        for model in models:
            await client.fields_get(model, age=0)
        taken = await _taken(client, module)
    except OdooError as error:
        if error.result in {Result.RETRY, Result.UNKNOWN}:
            return [f"{AWAY}: {error.what}"]
        raise ConfigError(error.what, code=error.code, where=error.where, todo=error.todo) from error
    if taken:
        raise ConfigError(
            f"{module!r} is the name of a module that Odoo has",
            code="odoo.module",
            where="module",
            todo="choose another module for the external ids of this connection",
        )
    if taken is None:
        return [
            "external ids cannot be read: every upsert is written whole, and write, archive, call and merge "
            "cannot work; give the user read access to ir.model.data"
        ]
    return []


async def _taken(client: OdooClient, module: str) -> bool | None:
    """Whether Odoo has a module of this name; None when external ids may not be read."""
    domain = [["module", "=", "base"], ["name", "=", f"module_{module}"]]
    try:
        return bool(await client.search_read("ir.model.data", domain, ["id"], limit=1))
    except OdooError as error:
        if error.code == "odoo.access":
            return None
        raise
