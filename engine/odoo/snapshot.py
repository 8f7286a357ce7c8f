"""What one Odoo database has, kept in a file: models, their fields, what a new record gets by itself.

    odoo.clinic.json        beside the channel file, for the connection `clinic`; `lint --odoo` writes it
    DATA/odoo/clinic.json   in the data folder; the engine writes it when a destination starts

Guarantees: a snapshot holds names, types and labels and no record; a database that was not asked about a model
says nothing about it; one of the data folder counts only for the server and database that it was taken from, and is
replaced whole. Refuses (ConfigError): a file that is no snapshot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from engine.errors import ConfigError
from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.sandbox.models import models as declared
from engine.odoo.sandbox.schema import Model
from engine.states import Result

OLDEST, NEWEST = 16, 19


class Snapshot(msgspec.Struct):
    """What is known of one database."""

    version: str  # "19.0"
    models: dict[str, dict[str, Any] | None]  # fields_get of each; None: there is no such model
    defaults: dict[str, list[str]] = {}  # required fields that Odoo fills itself
    names: list[str] = []  # of models that there are, as far as they could be asked
    taken: str = ""  # when, as the engine keeps it: 2026-03-01T09:00:00Z
    of: str = ""  # server and database, as the engine keeps it

    @property
    def title(self) -> str:
        """`Odoo 19.0`."""
        return f"Odoo {self.version}"

    def fields(self, model: str) -> dict[str, Any] | None:
        """The fields of a model, None when they are not known."""
        return self.models.get(model)

    def knows(self, model: str) -> bool:
        """Whether it was asked about this model."""
        return model in self.models or bool(self.names)

    def required(self, model: str) -> list[str]:
        """Fields that a new record must be given."""
        fields, filled = self.models.get(model) or {}, self.defaults.get(model, ())
        return [
            name for name, info in fields.items()
            if info.get("required") and not info.get("readonly") and name not in filled
        ]  # fmt: skip

    def gone(self, model: str, field: str) -> str:
        """The versions that had a field which this one has not, `16 to 18`; empty when none is known."""
        mine = int(self.version.partition(".")[0])
        having = [
            major
            for major in range(OLDEST, NEWEST + 1)
            if major < mine and field in getattr(declared(major).get(model), "fields", {})
        ]
        return f"{having[0]} to {having[-1]}" if len(having) > 1 else str(having[0]) if having else ""


def of_sandbox(major: int = NEWEST) -> Snapshot:
    """What the sandbox declares: no database is opened."""
    known = declared(major)
    models: dict[str, dict[str, Any] | None] = {name: _declared(model) for name, model in known.items()}
    defaults = {
        name: [field.name for field in model.fields.values() if field.default is not None]
        for name, model in known.items()
    }
    return Snapshot(f"{major}.0", models, defaults | RULES, sorted(known))


RULES = {
    "res.users": ["company_id", "company_ids", "partner_id"],
    "calendar.event": ["show_as", "stop"],
    "account.move": ["move_type", "state", "journal_id", "currency_id", "date"],
}
"""Required fields of the sandbox that Odoo computes or takes from elsewhere."""


def _declared(model: Model) -> dict[str, Any]:
    return {
        field.name: {
            "type": field.type,
            "string": field.string,
            "required": field.required,
            "readonly": field.readonly,
            **({"relation": field.relation} if field.relation else {}),
            **({"selection": [list(pair) for pair in field.selection]} if field.selection else {}),
        }
        for field in model.fields.values()
    }


async def take(client: OdooClient, models: list[str]) -> Snapshot:
    """Ask a database. OdooError when it cannot be asked at all."""
    major, minor = await client.version()
    found = Snapshot(f"{major}.{minor}", {})
    try:
        rows = await client.search_read("ir.model", [], ["model"])
        found.names = sorted(row["model"] for row in rows)
    except OdooError:
        found.names = []  # the user may not read ir.model: no suggestions then
    for model in models:
        await _ask(client, found, model)
    relations = {
        str(info["relation"]) for fields in found.models.values() for info in (fields or {}).values()
        if info.get("relation") in ("res.country", "res.country.state", "res.lang", "res.company")
    }  # fmt: skip
    for model in sorted(relations - found.models.keys()):
        await _ask(client, found, model)
    return found


async def _ask(client: OdooClient, found: Snapshot, model: str) -> None:
    try:
        fields = await client.fields_get(model)
    except OdooError as error:
        if error.result in (Result.RETRY, Result.UNKNOWN) or error.code in ("odoo.login", "odoo.access"):
            raise
        found.models[model] = None
        return
    found.models[model] = {
        name: {key: info[key] for key in KEPT if info.get(key) not in (None, False)}
        for name, info in fields.items()
    }
    required = [name for name, info in fields.items() if info.get("required")]
    try:
        filled = await client.call(model, "default_get", fields=required) if required else {}
    except OdooError:
        filled = dict.fromkeys(required)  # it cannot be asked: nothing is missed then
    computed = [name for name in required if fields[name].get("depends")]
    found.defaults[model] = sorted({*filled, *computed})


KEPT = ("type", "string", "required", "readonly", "relation", "selection")


def file_of(connection: str, folder: Path) -> Path:
    """Where the snapshot of a connection is."""
    return folder / f"odoo.{connection}.json"


def kept_in(data_dir: Path, connection: str) -> Path:
    """Where the engine keeps what it found at its last start."""
    return data_dir / "odoo" / f"{connection}.json"


def keep(snapshot: Snapshot, path: Path) -> None:
    """Keep what the engine found; models that others asked of the same database stay. OSError."""
    try:
        before = read(path)
    except ConfigError:
        before = None  # damaged: it is written anew
    if before is not None and (before.of, before.version) == (snapshot.of, snapshot.version):
        snapshot.models = {**before.models, **snapshot.models}
        snapshot.defaults = {**before.defaults, **snapshot.defaults}
        snapshot.names = snapshot.names or before.names
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    write(snapshot, beside)
    beside.replace(path)


def read(path: Path) -> Snapshot | None:
    """The snapshot in a file; None when there is no file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Snapshot)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(
            f"this is no snapshot of an Odoo: {type(error).__name__}",
            code="odoo.snapshot",
            where=f"{path}:1:1",
            todo="write it again with `lint --odoo`",
        ) from None


def write(snapshot: Snapshot, path: Path) -> None:
    """Keep a snapshot."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(snapshot), indent=1) + b"\n")
