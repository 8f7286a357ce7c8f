"""`connections: {ehr: {fhir: {base: ..., auth: ...}}}`: where a FHIR server is and how to log in.

Guarantees: everybody who uses one connection shares one client, so one token and one limit on simultaneous requests;
keys and tokens are never shown; certificates are always verified. Refuses: a base with a user or a query, secrets
over clear text (but on this machine).
"""

from __future__ import annotations

import ipaddress
import random
import re
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from twisted.internet.defer import DeferredLock

from engine.fhirserver.auth import Auth, Login
from engine.fhirserver.base import Base
from engine.fhirserver.client import FhirClient
from engine.fhirserver.written import Written
from engine.security.tls import ClientTls, client
from engine.spec.units import Duration
from engine.webclient import Policy, WebClient

LIMIT = 64 << 20
_OWN = frozenset(
    {
        "authorization", "accept", "content-type", "content-length", "host", "if-match", "if-none-exist",
        "connection", "transfer-encoding", "user-agent",
    }
)  # fmt: skip


class FhirConnection(BaseModel):
    """One FHIR server."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )

    base: str = Field(
        description="Service base: nothing outside it is ever asked.", examples=["https://ehr.example/fhir"]
    )
    version: Literal["R4", "R4B", "R5"] = Field(default="R4", description="FHIR version of the server.")
    auth: Auth = Field(
        default=Auth(),
        description="How the server knows us: `none`, `basic`, `bearer` or `smart_backend`.",
        examples=[{"smart_backend": {"client_id": "isthmus", "key": "!secret smart_key"}}],
    )
    timeout: Duration = Field(default=30, gt=0, description="Time to wait for an answer.")
    connections: int = Field(default=4, ge=1, le=64, description="Requests at the same time, at most.")
    tries: int = Field(
        default=4, ge=1, le=20, description="How often a request that can do no harm twice is sent, at most."
    )
    headers: dict[str, str] = Field(
        default={}, description="Sent with every request.", examples=[{"X-Tenant": "clinic"}]
    )
    tls: ClientTls = Field(default=ClientTls(), description="Certificates, where the system's do not do.")

    _folder: Path = PrivateAttr(default=Path())
    _client: FhirClient | None = PrivateAttr(default=None)
    _written: Written = PrivateAttr(default_factory=Written)
    _registering: DeferredLock = PrivateAttr(default_factory=DeferredLock)

    @field_validator("base")
    @classmethod
    def _a_base(cls, base: str) -> str:
        return Base(base).address

    @field_validator("headers")
    @classmethod
    def _plain_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not re.fullmatch(r"[\x20-\x7e\t]*", value):
                raise ValueError(f"{name!r} is no header of HTTP")
            if name.lower() in _OWN:
                raise ValueError(f"{name} is set by the engine; for logins there is `auth`")
        return headers

    @model_validator(mode="after")
    def _not_in_clear(self, info: ValidationInfo) -> FhirConnection:
        base = Base(self.base)
        if self.auth != Auth() and not base.secure and not is_local(base.host):
            raise ValueError("auth needs https:// (a login in clear text can be read by anybody on the way)")
        folder = (info.context or {}).get("folder")
        if folder is not None:
            self._folder = folder
        return self

    def reads(self) -> list[Path]:
        """The files that it needs besides the configuration."""
        return self.tls.files(self._folder)

    @property
    def written(self) -> Written:
        """The versions that this engine wrote."""
        return self._written

    @property
    def registering(self) -> DeferredLock:
        """Who looks after Subscriptions on this server; one at a time."""
        return self._registering

    def client(self, reactor: Any) -> FhirClient:
        """The client that everybody shares. Raises ConfigError for certificates that do not do."""
        if self._client is None:
            base = Base(self.base)
            policy = None
            if base.secure and self.tls != ClientTls():
                policy = Policy(client(self.tls, base.host, self._folder).factory)
            web = WebClient(reactor, self.timeout, LIMIT, policy)
            login = Login(self.auth, base, web, reactor.seconds, time.time)
            self._client = FhirClient(
                base,
                web,
                login,
                reactor,
                headers=self.headers,
                connections=self.connections,
                tries=self.tries,
                random=random.random,
                version=self.version,
            )
        return self._client


def is_local(host: str) -> bool:
    """Whether this is the machine that we run on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
