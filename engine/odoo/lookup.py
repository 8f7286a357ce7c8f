"""What `lookup` steps ask of Odoo: all keys of a batch in one `search_read`.

Guarantees: a record is found by equality of every field of `match`, and by the domain; when several fit, the first
in `order` counts. Refuses (ConfigError): fields of other records (`partner_id.ref`), which an answer does not hold.
"""

from __future__ import annotations

from typing import Any, Protocol

from engine.errors import ConfigError, IsthmusError
from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError
from engine.spec.lookups import Key, LookupDown
from engine.states import Result

MOST = 10_000  # records in one answer


class Query(Protocol):
    """The settings of a `lookup` step."""

    model: str
    match: dict[str, Any]
    domain: list[Any]
    fields: list[str]
    order: str
    value: str


def check(query: Query) -> None:
    """Raise ConfigError for what cannot be asked."""
    for name in query.match:
        if "." in name:
            raise ConfigError(
                f"{name!r} is a field of another record",
                code="lookup.match",
                todo="match fields of the model",
            )


async def search(client: OdooClient, query: Query, keys: list[Key]) -> dict[Key, Any]:
    """The records of these keys. Raises LookupDown, or IsthmusError for good."""
    names = list(query.match)
    fields = list(dict.fromkeys([*query.fields, *([query.value] if query.value else []), *names]))
    domain = [*_any_of(names, keys), *query.domain]
    try:
        rows = await client.search_read(query.model, domain, fields, order=query.order, limit=MOST)
    except OdooError as error:
        told = {"code": error.code, "where": error.where, "todo": error.todo}
        if error.result == Result.PERMANENT:
            raise IsthmusError(error.what, **told) from error
        down = LookupDown(error.what, **told)
        down.held = error.result == Result.CONFIG
        raise down from error
    texts = {tuple(str(part) for part in key): key for key in keys}
    found: dict[Key, Any] = {}
    for row in rows:
        key = texts.get(tuple(_text(row.get(name)) for name in names))
        if key is not None:
            found.setdefault(key, row)
    return found


def _any_of(names: list[str], keys: list[Key]) -> list[Any]:
    """The domain of all keys together."""
    if len(names) == 1:
        return [[names[0], "in", [key[0] for key in keys]]]
    terms: list[Any] = ["|"] * (len(keys) - 1)
    for key in keys:
        terms += ["&"] * (len(names) - 1)
        terms += [[name, "=", part] for name, part in zip(names, key, strict=True)]
    return terms


def _text(value: Any) -> str:
    """A field of an answer as it was asked for: of a many2one the id."""
    return str(value[0]) if isinstance(value, list) and value else str(value)
