"""The `odoo` destination: operations into Odoo, in batches, as if each were written alone.

Guarantees: what `render` gives is what is sent on every attempt; every delivery of a batch gets one outcome;
nobody is e-mailed by Odoo unless `mail` is set; a template that this Odoo contradicts holds the destination, and
no delivery becomes ERROR because of it. Refuses: a template and operations at once, or neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import structlog
from pydantic import Field, model_validator
from twisted.internet.defer import Deferred, succeed

from engine.change import Change
from engine.errors import ConfigError, StepError
from engine.model import Delivery, Operation, Outcome, Scope
from engine.odoo import snapshot
from engine.odoo.client import OdooClient
from engine.odoo.connection import AWAY, SANDBOX, OdooConnection, probe
from engine.odoo.plan import Planner
from engine.odoo.protocol import dumps
from engine.odoo.writer import Writer
from engine.spec import presets, structure
from engine.spec.component import BuildContext, Settings, component
from engine.spec.document import did_you_mean
from engine.spec.meaning import ConnectionName, Operations, TemplateName
from engine.spec.template import Made, Template, compile_template, find, template_of
from engine.states import Result

LARGEST = 200
NOTHING = ("null", "Null", "NULL", "~")  # what clears a field
OPERATION_LIST = msgspec.json.Decoder(list[Operation])
log = structlog.get_logger()


@component("destination", "odoo", example="odoo: {connection: clinic, template: patient}")
class Odoo(Settings):
    """Writes records into Odoo: upsert, write, archive, call and merge operations made by a template.

    Records are found by external ids alone, so a message that is sent again never makes a second record.
    """

    answers: ClassVar[str] = "json"

    connection: ConnectionName = Field(description="Name of an `odoo` connection.", examples=["clinic"])
    template: TemplateName = Field(
        default="",
        description="Template that makes the operations: a shipped one's name or the path of a YAML file.",
        examples=["patient", "templates/visit.yaml"],
    )
    preset: str = Field(
        default=presets.PLAIN,
        description="What is changed of `template` for the modules of this Odoo: `plain` (no module), `oca_medical`, "
        "`almightycs`, `browseinfo`, or the path of a YAML file.",
        examples=["oca_medical", "presets/ours.yaml"],
    )
    operations: Operations = Field(
        default=[],
        description="The template itself, in place of `template`.",
        examples=[
            [{"upsert": "res.partner", "key": "patient/1", "values": {"name": "{{ msg['PID-5.1'] }}"}}]
        ],
    )
    batch_size: int = Field(default=LARGEST, ge=1, le=LARGEST, description="Messages in one batch, at most.")
    in_flight: int = Field(default=1, ge=1, le=16, description="Batches that may be under way at once.")
    lang: str = Field(default="", description="Language of names and messages.", examples=["de_DE"])
    context: dict[str, Any] = Field(default={}, description="Added to the context of every call.")
    mail: bool = Field(default=False, description="Let Odoo e-mail attendees and followers.")
    adopt: dict[str, str] = Field(
        default={},
        description="Take over records that Odoo has already, by model and field, when exactly one fits.",
        examples=[{"res.partner": "ref"}],
    )

    @model_validator(mode="after")
    def _one_source(self) -> Odoo:
        if bool(self.template) == bool(self.operations):
            raise ValueError("give either `template` or `operations`")
        if self.operations and self.preset != presets.PLAIN:
            raise ValueError("`preset` changes a `template`, not `operations`")
        return self

    def reads(self, context: BuildContext) -> Iterable[Path]:
        """The files of template and preset."""
        try:
            used = presets.find(self.preset, context)
            return (find(self.template, context), *([used] if used else ())) if self.template else ()
        except ConfigError:
            return ()  # told by `build`

    def build(self, context: BuildContext) -> OdooDestination:
        """Compile the template; nothing is sent before `start`."""
        connection = context.connections.get(self.connection)
        if not isinstance(connection, OdooConnection):
            raise ConfigError(
                f"there is no Odoo connection {self.connection!r}",
                code="odoo.connection",
                where=context.channel,
                todo=did_you_mean(self.connection, context.connections) or "declare it under `connections`",
            )
        source: Any = self.operations or self.template
        template = compile_template(source, context, preset=self.preset)
        return OdooDestination(self, connection, template, context)


def contradictions(found: snapshot.Snapshot, specs: list[structure.Spec]) -> list[str]:
    """What a template writes down and an Odoo cannot take from anybody: fields that it has not, and constants that
    a selection has not. What expressions give is not known here."""
    told: dict[str, None] = {}
    for spec in specs:
        fields = found.fields(spec.model)
        if fields is None:
            continue  # not known, or told as such
        for leaf in structure.leaves(spec, ""):
            if leaf.path[0] != "values" or len(leaf.path) < 2:
                continue
            name = leaf.path[1]
            info = fields.get(str(name))
            constant = len(leaf.path) == 2 and leaf.text not in NOTHING and "{" not in leaf.text
            choices = {str(one) for pair in (info or {}).get("selection") or () for one in pair}
            if info is None:
                text = f"no field {name!r} on {spec.model}, which the template writes"
            elif constant and choices and leaf.text not in choices:
                text = f"no {leaf.text!r} in the selection {spec.model}.{name}, which the template writes"
            else:
                continue
            told[f"{found.title} has {text} ({spec.where})"] = None
    return list(told)


class OdooDestination:
    """What runs: see destinations.base."""

    def __init__(
        self,
        settings: Odoo,
        connection: OdooConnection,
        template: Callable[[Scope], list[dict[str, Any]]],
        context: BuildContext,
    ) -> None:
        self.batch_size = settings.batch_size
        self.in_flight = settings.in_flight
        self._settings = settings
        self._connection = connection
        self._template = template
        self._context = context
        self._writer: Writer | None = None
        self._fits = True  # Odoo can take what the template makes, as far as is known

    def render(self, scope: Scope) -> bytes | None:
        """The operations for this message, as JSON; None when there are none."""
        made = self._template(scope)
        if not made:
            return None
        payload = dumps(made)
        try:
            OPERATION_LIST.decode(payload)
        except msgspec.ValidationError as error:
            raise StepError(
                f"the template does not make operations: {error}",
                code="odoo.operation",
                where=self._settings.template or "operations",
                todo="see docs/odoo.md for what an operation holds",
            ) from None
        return payload

    def explain(self, scope: Scope) -> list[Made]:
        """The operations for this message, each with the part of the template that made it."""
        return self.template.explain(scope)

    @property
    def template(self) -> Template:
        """The compiled template."""
        return template_of(self._template)

    @property
    def template_file(self) -> Path | None:
        """Where the template stands, None when it is written in the channel."""
        return find(self._settings.template, self._context) if self._settings.template else None

    @property
    def server(self) -> str:
        """The address of Odoo, for links to its records."""
        return self._connection.url

    def deliver(self, batch: list[Delivery]) -> Deferred[list[Outcome]]:
        """One outcome for each delivery."""
        return Deferred.fromCoroutine(self._sent(batch) if self._fits else self._checked(batch))

    def plan(self, operations: list[Operation]) -> Deferred[list[Change]]:
        """What they would change; writes nothing."""
        return self._ready().plan(operations)

    def planner(self) -> Planner:
        """For plans one after another: what an earlier one would write counts for the later ones."""
        return self._ready().planner()

    def start(self) -> Deferred[None]:
        """Check the connection, and what the template writes against what Odoo has.

        Fails with ConfigError for what people must mend; until then every delivery waits.
        """
        return Deferred.fromCoroutine(self._start())

    def stop(self) -> Deferred[None]:
        """Nothing is held open between calls."""
        return succeed(None)

    async def _start(self) -> None:
        self._fits = False
        for warning in await self._check():
            log.warning("odoo.start", channel=self._context.channel, why=warning)

    async def _check(self) -> list[str]:
        """Ask Odoo whether what we would send can be right; gives warnings. Raises ConfigError."""
        models = list(dict.fromkeys(spec.model for spec in self.template.specs))
        warnings = await probe(self._client(), self._connection.module, models)
        if any(warning.startswith(AWAY) for warning in warnings):
            return warnings
        if not self._connection.url.startswith(SANDBOX):
            await self._look(models)
        self._fits = True
        return warnings

    async def _checked(self, batch: list[Delivery]) -> list[Outcome]:
        """Odoo was not there at the start, or what we send was refused: ask before anything is sent."""
        try:
            await self._check()
        except ConfigError as error:
            return [Outcome(one.message_id, Result.CONFIG, error.code, error.what) for one in batch]
        return await self._sent(batch)

    async def _sent(self, batch: list[Delivery]) -> list[Outcome]:
        outcomes = await self._ready().deliver(batch)
        if any(outcome.code == "odoo.unknown_field" for outcome in outcomes):
            self._fits = False  # Odoo has changed since the start
        return outcomes

    async def _look(self, models: list[str]) -> None:
        """Keep what this Odoo has for `lint`. Raises ConfigError when the template writes what it has not."""
        connection, data_dir = self._settings.connection, self._context.data_dir
        try:
            found = await snapshot.take(self._client(), models)
            found.taken = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            found.of = f"{self._connection.url} {self._connection.database}"
            if data_dir is not None:
                snapshot.keep(found, snapshot.kept_in(data_dir, connection))
        except Exception as error:  # it is a help, and no reason to stop
            why = getattr(error, "what", type(error).__name__)
            log.warning("odoo.not_kept", connection=connection, why=why)
            return
        told = contradictions(found, self.template.specs)
        if told:
            more = f", and {len(told) - 1} more" if len(told) > 1 else ""
            raise ConfigError(
                f"{told[0]}{more}",
                code="odoo.mapping",
                where=self._context.channel,
                todo="change the template, or Odoo; `isthmus lint` tells all",
            )

    def _client(self) -> OdooClient:
        client = self._connection.client(self._context.reactor, self._context.data_dir)
        wanted = dict(self._settings.context)
        if self._settings.lang:
            wanted["lang"] = self._settings.lang
        return client.using(wanted, self._settings.mail)

    def _ready(self) -> Writer:
        if self._writer is None:
            _, index = self._connection.shared(self._context.reactor, self._context.data_dir)
            self._writer = Writer(
                self._client(),
                self._context.reactor.seconds,
                self._connection.module,
                adopt=self._settings.adopt,
                index=index,
            )
        return self._writer
