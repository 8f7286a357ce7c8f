"""The `date_window` filter: messages whose date is near, or within fixed days.

Guarantees: times are compared as instants, those without an offset in the channel's `timezone`; relative bounds
count from the receipt of the message, so it gets the same answer when it is run again. A date without its time is
its first moment. Refuses: bounds that are no duration and no date (`ConfigError`); a value that is no date
(`StepError`, unless `unreadable` says otherwise).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from engine.errors import StepError
from engine.hl7 import dates
from engine.model import Filter, Scope
from engine.spec.component import BuildContext, Settings, component
from engine.spec.fields import check_paths
from engine.spec.meaning import HL7Path
from engine.spec.units import seconds
from engine.spec.values import as_text, is_present

Outcome = Literal["pass", "stop", "error"]
_RELATIVE = re.compile(r"([+-])\s*(\d.*)")


def _bound(value: str) -> str:
    if found := _RELATIVE.fullmatch(value):
        seconds(found[2])
    elif value and dates.parse(value) is None:
        raise ValueError("not a bound: write -30d, +12h or a date")
    return value


Bound = Annotated[str, AfterValidator(_bound)]


@component("filter", "date_window", example="date_window: {path: PV1-44, after: -30d, before: +1d}")
class DateWindow(Settings):
    """Lets only messages pass whose date lies between two bounds.

    A bound is relative to the receipt of the message (`-30d`, `+12h`) or a date (`2026-01-01`).
    """

    path: HL7Path = Field(min_length=1, description="Where the date is.", examples=["PV1-44", "period.start"])
    after: Bound = Field(default="", description="Earliest moment that passes.", examples=["-30d"])
    before: Bound = Field(
        default="", description="First moment that does not pass any more.", examples=["+1d"]
    )
    absent: Outcome = Field(default="pass", description="What a message without the date does.")
    unreadable: Outcome = Field(default="error", description="What a message does whose date cannot be read.")

    @model_validator(mode="after")
    def _says_something(self) -> DateWindow:
        if not self.after and not self.before:
            raise ValueError("give `after` or `before`")
        return self

    def build(self, context: BuildContext) -> Filter:
        """Work the bounds out."""
        path, zone = self.path, str(context.options.get("timezone") or "UTC")
        check_paths([path], context)
        after, before = self._moment(self.after, zone), self._moment(self.before, zone)

        def check(scope: Scope) -> str | None:
            value = scope.msg[path]
            if not is_present(value):
                return self._otherwise(self.absent, "is absent")
            stamp = dates.parse(as_text(value).strip())
            at = dates.to_utc(stamp, zone) if stamp is not None else None
            if at is None:
                return self._otherwise(self.unreadable, "cannot be read")
            at = at.astimezone(UTC)
            received = datetime.fromtimestamp(scope.message.received_at / 1e6, UTC)
            if after is not None and at < _from(after, received):
                return f"{path} is before {self.after}"
            if before is not None and at >= _from(before, received):
                return f"{path} is not before {self.before}"
            return None

        return check

    def _otherwise(self, outcome: Outcome, what: str) -> str | None:
        if outcome == "error":
            raise StepError(
                f"the date at {self.path} {what}", code="date.window",
                todo="`absent` and `unreadable` of date_window say what such messages do",
            )  # fmt: skip
        return f"{self.path} {what}" if outcome == "stop" else None

    @staticmethod
    def _moment(bound: str, zone: str) -> datetime | timedelta | None:
        if found := _RELATIVE.fullmatch(bound):
            distance = timedelta(seconds=seconds(found[2]))
            return distance if found[1] == "+" else -distance
        stamp = dates.parse(bound) if bound else None
        at = dates.to_utc(stamp, zone) if stamp is not None else None
        return at.astimezone(UTC) if at is not None else None


def _from(bound: datetime | timedelta, received: datetime) -> datetime:
    return received + bound if isinstance(bound, timedelta) else bound
