"""`subscribe` of `fhir_subscription`: what the channel asks its FHIR server to tell it of.

Guarantees: what the server is told is what the listener asks for: its path token, header, bearer token and signature.
Refuses (ConfigError): to register without a server; patient data or secrets over the network in clear; secrets that
servers spoil on the way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from engine.errors import ConfigError
from engine.fhir.subscription import Payload, Wanted
from engine.fhirserver.connection import FhirConnection, is_local
from engine.spec.component import Settings
from engine.spec.units import Age
from listeners.reconcile import searches


class Subscribe(Settings):
    """The channel's own Subscription, which it keeps on the server of `connection`."""

    url: str = Field(
        description="Address of `path` as the server reaches it; a `path_token` is put behind it.",
        examples=["https://isthmus.example:2577/fhir/hook"],
    )
    criteria: list[str] = Field(
        default=[],
        description="R4: searches whose matches are told; one Subscription for each.",
        examples=[["Patient?", "Appointment?status=booked,cancelled"]],
    )
    topic: str = Field(
        default="",
        description="R4 with the backport, R4B, R5: canonical URL of the topic.",
        examples=["http://example.org/topic/admission"],
    )
    filters: list[str] = Field(
        default=[], description="What of a topic is told.", examples=[["Encounter?class=IMP"]]
    )
    payload: Payload | None = Field(
        default=None,
        description="What a notification holds. Default: `full-resource` of criteria, `id-only` of a topic.",
    )
    heartbeat: Age = Field(
        default=300, ge=1, description="Of a topic: how often the server tells that it is there."
    )
    extension: list[dict[str, Any]] = Field(
        default=[], description="Further extensions of the Subscription, as FHIR JSON."
    )

    @field_validator("criteria", "filters", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("criteria", "filters")
    @classmethod
    def _searches(cls, value: list[str]) -> list[str]:
        return searches(value)

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise ValueError("must be http://host/path or https://host/path, without user and parameters")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _one_way(self) -> Subscribe:
        if bool(self.criteria) == bool(self.topic):
            raise ValueError("give either `criteria` or `topic`")
        if self.criteria and self.filters:
            raise ValueError("`filters` are of a topic; criteria hold theirs")
        if self.criteria and self.payload == "id-only":
            raise ValueError("`id-only` is of topics; criteria take `full-resource` or `empty`")
        return self

    def wanted(
        self, connection: Any, channel: str, token: SecretStr | None, path_token: SecretStr | None,
        header: tuple[str, SecretStr] | None, signature: SecretStr | None,
    ) -> list[Wanted]:  # fmt: skip
        """The Subscriptions that this asks for. Raises ConfigError."""
        if not isinstance(connection, FhirConnection):
            raise ConfigError(
                "a channel registers on the server of its connection, and names none", code="fhir.subscribe",
                todo="write `connection: NAME`",
            )  # fmt: skip
        if connection.version == "R5" and self.criteria:
            raise ConfigError(
                "a server of R5 knows topics, not criteria", code="fhir.subscribe", todo="write `topic`"
            )
        headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token is not None else {}
        if header is not None:
            headers[header[0]] = header[1].get_secret_value()
        secrets = [one.get_secret_value() for one in (path_token, token, header and header[1]) if one]
        _carried(secrets, path_token)
        payload = self.payload or ("id-only" if self.topic else "full-resource")
        self._not_in_clear(payload, bool(secrets or signature))
        if (secrets or signature) and _clear(connection.base):
            raise ConfigError(
                "the server would be told the secrets of the listener in clear text: its `base` is http://",
                code="fhir.clear", todo="reach the server by https://",
            )  # fmt: skip
        return [
            Wanted(
                endpoint=f"{self.url}/{path_token.get_secret_value()}" if path_token else self.url,
                criteria=criteria,
                topic=self.topic,
                filters=tuple(self.filters),
                payload=payload,
                headers=tuple(headers.items()),
                signature=signature.get_secret_value() if signature else "",
                heartbeat=self.heartbeat if self.topic else 0,
                extension=tuple(_plain(one) for one in self.extension),
                reason=f"Isthmus, channel {channel}",
            )
            for criteria in self.criteria or [""]
        ]

    def _not_in_clear(self, payload: str, secrets: bool) -> None:
        if _clear(self.url) and (payload == "full-resource" or secrets):
            what = "patients' data" if payload == "full-resource" else "the secrets of the listener"
            raise ConfigError(
                f"{what} would cross the network in clear text: `url` is http://", code="fhir.clear",
                todo="write https:// and give the listener `tls`, or put a proxy with TLS before it",
            )  # fmt: skip


def _clear(url: str) -> bool:
    """What is sent there crosses the network in clear text."""
    parts = urlsplit(url)
    return parts.scheme == "http" and not is_local(parts.hostname or "")


def _carried(secrets: list[str], path_token: SecretStr | None) -> None:
    """Whether servers carry the secrets as they are. Medplum cuts a header at its second colon."""
    if any(not re.fullmatch(r"[\x21-\x7e]+", one) or ":" in one for one in secrets):
        raise ConfigError(
            "a server is told the secrets of this listener, and one has a colon, a space or a letter outside of ASCII"
            " in it", code="fhir.subscribe", todo="make one of letters and digits, such as `openssl rand -hex 32`",
        )  # fmt: skip
    if path_token and not re.fullmatch(r"[A-Za-z0-9._~-]+", path_token.get_secret_value()):
        raise ConfigError(
            "path_token is part of an address, and has other signs in it than letters, digits and -._~",
            code="fhir.subscribe", todo="make one with `openssl rand -hex 32`",
        )  # fmt: skip


def _plain(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """An extension has a `url`."""
    if not isinstance(one.get("url"), str):
        raise ConfigError(
            "an extension has no url", code="fhir.subscribe", todo="write it as FHIR JSON: {url: …, valueString: …}"
        )  # fmt: skip
    return one
