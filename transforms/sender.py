"""The `sender` filter: who sent the message, and for whom it is.

Guarantees: every setting that is given must fit, one of its values is enough; names are compared whole, `*` stands
for anything. Refuses: networks that are none, settings of HL7 for other formats (`ConfigError`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from pydantic import Field, IPvAnyNetwork, field_validator, model_validator

from engine.errors import ConfigError
from engine.model import Filter, Scope
from engine.spec.component import BuildContext, Settings, component

HEADER = {
    "application": "MSH-3",
    "facility": "MSH-4",
    "receiving_application": "MSH-5",
    "receiving_facility": "MSH-6",
}


@component("filter", "sender", example="sender: {application: [EHR, 'LAB*'], facility: RGH}")
class Sender(Settings):
    """Lets only the messages of the named senders pass, or with `deny` all others.

    HL7 names are compared with the whole field and with its first component (MSH-3.1, namespace id).
    """

    application: list[str] = Field(
        default=[],
        description="Sending application (MSH-3); in other formats the sender.",
        examples=[["EHR"]],
    )
    facility: list[str] = Field(default=[], description="Sending facility (MSH-4).", examples=[["RGH"]])
    receiving_application: list[str] = Field(default=[], description="MSH-5.", examples=[["ISTHMUS"]])
    receiving_facility: list[str] = Field(default=[], description="MSH-6.", examples=[["CLINIC"]])
    peer: list[IPvAnyNetwork] = Field(
        default=[],
        description="Network that the message came from.",
        examples=[["10.20.0.0/16", "192.0.2.7"]],
    )
    client: list[str] = Field(
        default=[], description="Common name of the client's TLS certificate.", examples=[["ehr.example"]]
    )
    deny: bool = Field(default=False, description="Stop these senders, let all others pass.")

    @field_validator("*", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _says_something(self) -> Sender:
        if not any(getattr(self, name) for name in (*HEADER, "peer", "client")):
            raise ValueError("name a sender, or remove the filter")
        return self

    def build(self, context: BuildContext) -> Filter:
        """A test for each setting that is given."""
        hl7 = context.format is None or context.format.name == "hl7v2"
        tests: list[tuple[str, Callable[[Scope], bool]]] = []
        for name, path in HEADER.items():
            wanted = getattr(self, name)
            if wanted and not hl7 and name != "application":
                raise ConfigError(
                    f"`{name}` is for HL7 v2", code="sender.format", todo="use `application`, peer or client"
                )
            if wanted:
                tests.append((name, _header(path, wanted) if hl7 else _named(wanted)))
        if self.peer:
            tests.append(("peer", _network([ipaddress.ip_network(str(one)) for one in self.peer])))
        if self.client:
            tests.append(("client", _client(self.client)))
        deny = self.deny

        def check(scope: Scope) -> str | None:
            unfit = next((name for name, fits in tests if not fits(scope)), "")
            if deny:
                return None if unfit else "the sender is denied"
            return f"the sender's {unfit.replace('_', ' ')} is not let through" if unfit else None

        return check


def _fits(value: str, wanted: list[str]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in wanted)


def _header(path: str, wanted: list[str]) -> Callable[[Scope], bool]:
    first = f"{path}.1"

    def fits(scope: Scope) -> bool:
        return _fits(scope.msg[first], wanted) or _fits(scope.msg[path], wanted)

    return fits


def _named(wanted: list[str]) -> Callable[[Scope], bool]:
    return lambda scope: _fits(scope.message.sender, wanted)


def _client(wanted: list[str]) -> Callable[[Scope], bool]:
    return lambda scope: _fits(scope.message.peer.partition(" ")[2], wanted)


def _network(networks: list[Any]) -> Callable[[Scope], bool]:
    def fits(scope: Scope) -> bool:
        host = scope.message.peer.partition(" ")[0].rpartition(":")[0].strip("[]").partition("%")[0]
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False  # a file, a timer
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in networks)

    return fits
