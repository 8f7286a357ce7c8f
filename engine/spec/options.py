"""What can be said about a channel and a destination besides their components, each with its meaning."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from engine.spec.meaning import HL7Path, MessageTypeName
from engine.spec.retention import Retention, Storage
from engine.spec.units import Age, Duration

OnError = Literal["hold_key", "hold_lane", "skip"]
AckLevel = Literal["stored", "routed", "delivered"]


ACKS: dict[str, Any] = {
    "stored": "The message is in the store: the fastest honest answer.",
    "routed": "Filters and transformers went through; AE when a step fails.",
    "delivered": "The destinations answered.",
}


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class Duplicates(_Options):
    """What happens to a message whose sender and MSH-10 were seen before."""

    window: Age = Field(default=7 * 86400, description="How long a control id is remembered.")
    other_bytes: Literal["accept", "reject"] = Field(
        default="accept",
        description="The same control id with other content: accept and flag it, or reject it (AR with ERR).",
    )


class Retry(_Options):
    """Waiting times between attempts: exponential, with jitter, kept in the store."""

    initial: Duration = Field(default=1.0, gt=0, description="First wait.")
    factor: float = Field(default=2.0, ge=1, description="Each wait is this much longer than the one before.")
    max: Duration = Field(default=300.0, gt=0, description="Longest wait.")
    jitter: float = Field(default=0.2, ge=0, le=1, description="Random part of a wait, as a share of it.")
    attempts: int = Field(default=0, ge=0, description="Give up (ERROR) after so many attempts; 0: never.")


class Backlog(_Options):
    """Marks of work that is stored but not done, per channel, in messages."""

    pause: int = Field(default=200_000, gt=0, description="Stop reading from the listener at this many.")
    refuse: int = Field(default=250_000, gt=0, description="Answer AR 207 at this many.")


ColumnName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,30}$")]


class SearchColumn(_Options):
    """One searchable column."""

    path: HL7Path = Field(description="Where its value stands in the message as it was received.")
    plain: bool = Field(
        default=False,
        description="Keep the value as text, so that it is shown and found by its beginning (`ICU*`): never for what"
        " tells of a patient. Otherwise a keyed hash is kept, which only the exact value finds.",
    )


class Search(_Options):
    """What messages are searched by, besides their identifiers."""

    columns: dict[ColumnName, HL7Path | SearchColumn] = Field(
        default={},
        max_length=16,
        description="Columns by name: a path, or `path` and `plain`. Kept of messages that are routed from then on.",
        examples=[{"account": "PID-18.1", "ward": {"path": "PV1-3.1", "plain": True}}],
    )

    @property
    def declared(self) -> dict[str, SearchColumn]:
        """Each column, the short form written out."""
        return {
            name: SearchColumn(path=one) if isinstance(one, str) else one
            for name, one in self.columns.items()
        }


class ChannelOptions(_Options):
    """Everything on a channel that is not a component."""

    description: str = Field(default="", description="What this channel is for.")
    group: str = Field(
        default="",
        max_length=60,
        description="Heading under which the console shows it.",
        examples=["Laboratory"],
    )
    tags: list[str] = Field(
        default=[],
        max_length=20,
        description="Words that channels share: the console filters by them, and rights are given on `tag:NAME`.",
        examples=[["lab", "night"]],
    )
    silent_after: Duration = Field(
        default=3600.0,
        ge=0,
        description="Time without a message until a channel that had some is shown as silent; 0: never.",
    )
    enabled: bool = Field(default=True, description="Whether `run` starts it.")
    ordering_key: HL7Path = Field(
        default="",
        description="Path of the value whose messages stay in order. A message without it waits for nobody."
        " By default PID-3.1 (HL7 v2), the patient's reference (FHIR), or the `mrn` of the format.",
        examples=["PID-18.1"],
    )
    lanes: int = Field(
        default=64, ge=1, le=4096, description="Number of lanes: hash(ordering key) mod lanes."
    )
    order_with: str = Field(
        default="", description="Another channel whose messages of the same key are kept in order with these."
    )
    ack: AckLevel | dict[MessageTypeName, AckLevel] = Field(
        default="stored",
        description="When the ACK goes out; also per message type, with `otherwise`.",
        json_schema_extra={"meanings": ACKS},
    )
    ack_deadline: Duration = Field(
        default=30.0, gt=0, description="Time until a routed or delivered ACK falls back to an honest AE."
    )
    ack_mode: Literal["original", "enhanced"] = Field(
        default="original",
        description="`enhanced` obeys MSH-15 and MSH-16: CA, CE or CR now, the application ACK later. `original`"
        " answers every message once with AA, AE or AR, whatever MSH-15 and MSH-16 say.",
        json_schema_extra={
            "meanings": {
                "original": "One answer a message: AA, AE or AR.",
                "enhanced": "CA, CE or CR now, the application ACK later, as MSH-15 and MSH-16 ask.",
            }
        },
    )
    ack_to: str = Field(
        default="",
        description="Where application ACKs of enhanced mode go: `mllp://host:port`; empty: the same connection.",
    )
    duplicates: Duplicates = Field(default=Duplicates(), description="Duplicate messages.")
    backlog: Backlog = Field(default=Backlog(), description="Back-pressure.")
    retention: Retention = Field(default=Retention(), description="How long content and messages are kept.")
    storage: Storage = Field(
        default="full",
        description="What is kept of a finished message: `full` everything, `no-content` no bodies but the ACK,"
        " `metadata` neither bodies nor texts, only codes.",
        json_schema_extra={
            "meanings": {
                "full": "Everything is kept.",
                "no-content": "No bodies but the ACK.",
                "metadata": "Neither bodies nor texts, only codes.",
            }
        },
    )
    search: Search = Field(default=Search(), description="Searchable columns.")
    charset: str = Field(
        default="", description="Character set of the messages, when MSH-18 lies or is missing."
    )
    timezone: str = Field(default="UTC", description="Time zone of times without an offset (IANA name).")
    mrn: dict[str, Any] = Field(
        default={}, description="Which PID-3 repetition is the MRN: `authority` (PID-3.4), `type` (PID-3.5)."
    )
    canonical: dict[str, Any] = Field(
        default={}, description="Options of the canonical adapter (default_authority, default_duration …)."
    )

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"there is no time zone {value!r} (write a name such as Europe/Berlin)"
            ) from None
        return value

    @model_validator(mode="after")
    def _remembers(self) -> ChannelOptions:
        kept = self.retention.messages
        if kept is not None and kept < self.duplicates.window:
            raise ValueError(
                f"retention.messages ({kept} s) is shorter than duplicates.window ({self.duplicates.window} s):"
                " a message sent again would be taken for a new one"
            )
        return self


class DestinationOptions(_Options):
    """Everything on a destination that is not its component."""

    on_error: OnError = Field(
        default="hold_key",
        description="After ERROR, what waits: later messages of the same key, of the same lane, or nothing.",
        json_schema_extra={
            "meanings": {
                "hold_key": "Later messages of that patient (ordering key) wait, everybody else passes.",
                "hold_lane": "All messages of that lane wait.",
                "skip": "Nothing waits: later messages overtake.",
            }
        },
    )
    retry: Retry = Field(default=Retry(), description="Retry policy.")
