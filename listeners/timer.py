"""Messages by the clock: the listener `timer`.

Guarantees: a firing has one moment of its schedule, whenever it really happens: its control id and its body are made
of that moment, so the same firing again is the same message and is not stored twice (C1). What was fired last is kept
in the store. The clock may jump and the engine may stand still: no moment is fired twice, and of several that went by
only the last can be fired. Refuses: a schedule that never comes, a body that is no message of the channel's format.

| what happens                                 | then                                                        |
|----------------------------------------------|-------------------------------------------------------------|
| the channel starts for the first time,       | nothing is fired before the next moment                     |
| or its schedule was changed                  |                                                             |
| moments went by (stopped, held back)         | `missed: once` fires the last of them now, `skip` none      |
| the store cannot take it now (AR 207)        | tried again, until a later moment takes its place           |
| killed after C1, before it was noted         | fired again: the duplicate check knows it                   |
| summer time begins, ends                     | a moment that the day has not comes at the end of the gap,  |
|                                              | one that it has twice comes once (cron's rule)              |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
import structlog
from cronsim import CronSim, CronSimError
from pydantic import Field, field_validator, model_validator
from twisted.internet import defer

from engine.clock import Micros
from engine.errors import ConfigError, HL7Error
from engine.formats.base import worst
from engine.hl7.format import Hl7v2
from engine.model import Incoming, Meta, Scope
from engine.spec.component import BuildContext, Settings, component
from engine.spec.expressions import compile_text
from engine.spec.meaning import Value
from engine.spec.template import compile_value
from engine.spec.units import Age, age_text
from listeners.base import Receiver

SECOND = 1_000_000
LATE = 60 * SECOND  # a firing that comes later than this was missed
LONGEST = 30.0  # seconds until the clock on the wall is looked at again
RETRY = 5.0  # seconds
JSON_BODY = {"time": "{{ time }}", "local": "{{ local }}"}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_log = structlog.get_logger()


@component("listener", "timer", example="timer: {every: 5m, body: {poll: wards, time: '{{ time }}'}}")
class Timer(Settings):
    """Makes a message at set times.

    `every` counts from 1970-01-01 00:00 UTC, so `1h` is on the hour. `at` is a time of day or a cron expression
    (minute, hour, day, month, weekday), or several. A template in `body` knows `time` (UTC) and `local`, the moment
    of the firing in ISO 8601, and `control_id`, which is another one each time.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"time", "local", "control_id"})

    every: Age | None = Field(default=None, gt=0, description="Time between two firings.", examples=["5m"])
    at: list[str] = Field(
        default=[],
        description="Times of day or cron expressions.",
        examples=[["06:30", "18:00"], ["*/15 7-19 * * mon-fri"]],
    )
    timezone: str = Field(
        default="",
        description="Time zone of `at` and `local` (IANA name); by default the channel's.",
        examples=["Europe/Madrid"],
    )
    missed: Literal["once", "skip"] = Field(
        default="once",
        description="What is done at a start about moments that went by meanwhile (by more than a minute).",
        json_schema_extra={
            "meanings": {"once": "The last of them is fired.", "skip": "None of them is fired."}
        },
    )
    body: Value = Field(
        default=None,
        description="The message: data, which becomes JSON, or a text; with Jinja in it. By default `time` and"
        " `local` as JSON.",
        examples=[{"poll": "wards", "time": "{{ time }}"}],
    )

    @field_validator("at", mode="before")
    @classmethod
    def _a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("at")
    @classmethod
    def _comes(cls, value: list[str]) -> list[str]:
        for text in value:
            try:
                next(CronSim(_cron(text), datetime(2026, 1, 1, tzinfo=UTC)))
            except CronSimError as error:
                raise ValueError(
                    f"{text!r} is neither a time of day nor a cron expression ({error})"
                ) from None
            except StopIteration:
                raise ValueError(f"{text!r} never comes") from None
        return value

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            return value and ZoneInfo(value).key
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"there is no time zone {value!r} (write an IANA name)") from None

    @model_validator(mode="after")
    def _one_way(self) -> Timer:
        if (self.every is None) == (not self.at):
            raise ValueError("give either `every` or `at`")
        return self

    def build(self, context: BuildContext) -> TimerListener:
        """Compile the body, and make two to see that they are messages. Nothing is fired before `start`."""
        return TimerListener(self, context)


class Schedule:
    """The moments of a timer, in microseconds since the epoch."""

    def __init__(self, settings: Timer, zone: ZoneInfo) -> None:
        self._every = (settings.every or 0) * SECOND
        self._crons = [_cron(text) for text in settings.at]
        self._zone = zone
        self.text = f"every {age_text(settings.every)}" if settings.every else f"at {', '.join(settings.at)}"
        self.key = f"{self.text} {zone.key}"

    def last(self, at: Micros) -> Micros:
        """The last moment that is not after `at`."""
        if self._every:
            return at // self._every * self._every
        start = self._local(at // SECOND * SECOND) + timedelta(seconds=1)
        return max(_micros(next(CronSim(cron, start, reverse=True))) for cron in self._crons)

    def after(self, at: Micros) -> Micros:
        """The first moment after `at`."""
        if self._every:
            return (at // self._every + 1) * self._every
        return min(_micros(next(CronSim(cron, self._local(at)))) for cron in self._crons)

    def _local(self, at: Micros) -> datetime:
        return datetime.fromtimestamp(at // SECOND, UTC).astimezone(self._zone)


class Firing(Incoming):
    """The message of one moment."""

    __slots__ = ("_answered", "reference")

    def __init__(self, raw: bytes, at: Micros, reference: str, answered: Callable[[Any], None]) -> None:
        super().__init__(raw, "timer", at)
        self.reference = reference
        self._answered = answered

    def answer(self, data: Any) -> None:
        """It is stored, or refused."""
        self._answered(data)


class TimerListener:
    """See listeners.base.Listener."""

    def __init__(self, settings: Timer, context: BuildContext) -> None:
        self.settings = settings
        self.channel = context.channel
        self.reactor = context.reactor
        self.format = context.format or Hl7v2()
        self.zone = ZoneInfo(settings.timezone or str(context.options.get("timezone") or "UTC"))
        self.schedule = Schedule(settings, self.zone)
        self.receiver: Receiver
        self.paused = False
        self.fired: Micros = 0  # the last moment that is done with
        self.firings = self.skipped = 0
        self.why = ""
        self._call: Any = None
        body = JSON_BODY if settings.body is None else settings.body
        self._text = isinstance(body, str)
        compiled: Callable[..., Callable[[Scope], Any]] = compile_text if self._text else compile_value
        self._body = compiled(body, context, "body")
        self._check()

    def start(self, receiver: Receiver) -> Any:
        """Wait for the next moment; what was missed is fired now, as `missed` says."""
        self.receiver = receiver
        self._begin()
        return defer.succeed(self.schedule.text)

    def pause(self) -> None:
        """Fire nothing more."""
        self.paused = True
        self._cancel()

    def resume(self) -> None:
        """Go on, with what was missed as `missed` says."""
        self.paused = False
        self._begin()

    def stop(self) -> Any:
        """Fire nothing more."""
        self._cancel()
        return defer.succeed(None)

    def close(self) -> Any:
        """Nothing is held open."""
        return defer.succeed(None)

    def status(self) -> dict[str, Any]:
        """Counts since the start, and the next moment."""
        return {
            "address": self.schedule.text,
            "paused": self.paused,
            "firings": self.firings,
            "skipped": self.skipped,
            "next": self._time(self.schedule.after(max(self.fired, self.receiver.now())), self.zone),
            "why": self.why,
        }

    # Firing -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self.paused:
            return
        at, _, schedule = self.receiver.noted().partition(" ")
        if schedule == self.schedule.key:
            self.fired = int(at)
        else:
            self.fired = self.receiver.now()
            self._note(self.fired, kept=True)
        self._look()

    def _look(self) -> None:
        """Fire what is due, and wait for the next."""
        now = self.receiver.now()
        due = self.schedule.last(now)
        if due > self.fired:
            before, self.fired = self.fired, due
            if self.settings.missed == "skip" and now - due > LATE:
                self.skipped += 1
                self._note(due, kept=True)
            else:
                self._fire(due, before)
        wait = min(LONGEST, (self.schedule.after(max(now, self.fired)) - now) / SECOND + 0.001)
        self._later(min(wait, RETRY) if self.fired < due else wait)

    def _fire(self, due: Micros, before: Micros) -> None:
        try:
            raw = self._render(due)
        except Exception as error:
            self.why = f"the body cannot be made: {getattr(error, 'what', type(error).__name__)}"
            _log.error("timer.failed", channel=self.channel, error=type(error).__name__)
            self._note(due, kept=True)
            return
        self._note(due, kept=False)

        def answered(data: Any) -> None:
            verdict = worst(self.format, data)
            if verdict is not None and verdict.condition == "207" and verdict.code in ("AR", "CR"):
                self.why = "the engine takes no messages now"
                if self.fired == due:
                    self.fired = before
                    self._note(before, kept=False)
                    if self._call is not None and self._call.active():
                        self._later(RETRY)
                return
            self.why = ""
            self.firings += 1
            self._note(due, kept=True)

        self.receiver.receive(Firing(raw, self.receiver.now(), self._reference(due), answered))

    def _note(self, at: Micros, *, kept: bool) -> None:
        self.receiver.note(f"{at} {self.schedule.key}", kept=kept)

    def _later(self, seconds: float) -> None:
        self._cancel()
        self._call = self.reactor.callLater(seconds, self._look)

    def _cancel(self) -> None:
        if self._call is not None and self._call.active():
            self._call.cancel()

    # The message ------------------------------------------------------------------------------------------

    def _reference(self, at: Micros) -> str:
        return f"{self.channel}-{datetime.fromtimestamp(at // SECOND, UTC):%Y%m%dT%H%M%SZ}"

    def _time(self, at: Micros, zone: Any = UTC) -> str:
        text = datetime.fromtimestamp(at // SECOND, UTC).astimezone(zone).isoformat()
        return text.replace("+00:00", "Z") if zone is UTC else text

    def _render(self, at: Micros) -> bytes:
        scope = Scope(None, Meta(channel=self.channel, received_at=at))
        scope.vars.update(
            time=self._time(at), local=self._time(at, self.zone), control_id=self._reference(at)
        )
        made = self._body(scope)
        if not self._text:
            return orjson.dumps(made)
        text = str(made)
        return (text.strip().replace("\n", "\r") + "\r" if self.format.name == "hl7v2" else text).encode()

    def _check(self) -> None:
        """Two firings are two messages of the channel's format."""
        try:
            one, two = (self.format.peek(self._render(at)) for at in (0, 86_400 * SECOND))
        except HL7Error as error:
            raise ConfigError(
                f"the body is no message of the channel's format ({self.format.name}): {error.what}",
                code="timer.body",
                todo="write the message in `body`, or the `format` of the channel (json)",
            ) from None
        if one.control_id and one.control_id == two.control_id:
            raise ConfigError(
                "every firing has the same control id, so the second would count as a duplicate",
                code="timer.control_id",
                todo="put {{ control_id }} there",
            )


def _cron(text: str) -> str:
    """A time of day as a cron expression; anything else as it is."""
    found = _CLOCK.fullmatch(text.strip())
    return f"{int(found[2])} {int(found[1])} * * *" if found else text


def _micros(at: datetime) -> Micros:
    return int(at.timestamp()) * SECOND
