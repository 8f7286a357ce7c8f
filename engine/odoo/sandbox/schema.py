"""How a model is declared: fields with their types, and what SQLite keeps of them.

Guarantees: one declaration gives the table, `fields_get`, the checks of values and what a read returns. A
field is stored in a column, kept in a relation table (many2many), the inverse of a many2one (one2many), or
computed by an SQL expression over the row `t`.

Refuses: computed fields that cannot be said in SQL, inheritance of models, properties.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Selection = tuple[tuple[str, str], ...]
DATES = ("date", "datetime")
NUMBERS = ("integer", "float")
MANY = ("many2many", "one2many")
SQL_TYPES = {
    "integer": "INTEGER",
    "boolean": "INTEGER",
    "many2one": "INTEGER",
    "many2one_reference": "INTEGER",
    "float": "REAL",
}


@dataclass(frozen=True)
class Field:
    """One field. `sql` makes it computed; `ondelete` says what deleting the target of a many2one does."""

    name: str
    type: str
    string: str
    relation: str = ""
    required: bool = False
    readonly: bool = False
    selection: Selection = ()
    dynamic: str = ""  # a selection that is read from the database or the system: "lang" or "tz"
    inverse: str = ""
    sql: str = ""
    default: Any = None
    ondelete: str = "set null"
    indexed: bool = False
    depends: tuple[str, ...] = ()  # fields whose change moves this one

    @property
    def stored(self) -> bool:
        """Has a column of its own."""
        return self.type not in MANY and not self.sql

    @property
    def column(self) -> str:
        """The column in SQL; names of fields are declared here and never come from a caller."""
        return f'"{self.name}"'

    @property
    def expression(self) -> str:
        """The value in SQL over the row `t`."""
        return f"({self.sql})" if self.sql else f"t.{self.column}"


@dataclass(frozen=True)
class Model:
    """One model. `display` is the display name in SQL over `t`; `rec_name` is what a name search looks at."""

    name: str
    description: str
    fields: dict[str, Field]
    display: str
    order: str
    rec_name: tuple[str, ...] = ("name",)
    unique: tuple[tuple[str, ...], ...] = ()
    groups: dict[str, str] = field(default_factory=dict)  # verb → groups that may, for who may not

    @property
    def table(self) -> str:
        """The table in SQL."""
        return '"' + self.name.replace(".", "_") + '"'

    def relation_table(self, name: str) -> str:
        """The table of a many2many field, with the columns `a` (this model) and `b`."""
        return f'"{self.name.replace(".", "_")}__{name}"'

    @property
    def archivable(self) -> bool:
        """Has an `active` field."""
        return "active" in self.fields


def char(name: str, string: str, **more: Any) -> Field:
    """A short text."""
    return Field(name, "char", string, **more)


def html(name: str, string: str) -> Field:
    """A text that is sanitized as Odoo does."""
    return Field(name, "html", string)


def flag(name: str, string: str, **more: Any) -> Field:
    """A boolean."""
    return Field(name, "boolean", string, **more)


def number(name: str, string: str, **more: Any) -> Field:
    """An integer."""
    return Field(name, "integer", string, **more)


def choice(name: str, string: str, selection: Selection = (), **more: Any) -> Field:
    """A selection."""
    return Field(name, "selection", string, selection=selection, **more)


def one(name: str, string: str, relation: str, **more: Any) -> Field:
    """A many2one; required ones restrict the deletion of their target."""
    if more.get("required"):
        more.setdefault("ondelete", "restrict")
    return Field(name, "many2one", string, relation, **more)


def many(name: str, string: str, relation: str, inverse: str = "") -> Field:
    """A many2many, or with `inverse` (the field of the other side) a one2many."""
    return Field(name, "one2many" if inverse else "many2many", string, relation, inverse=inverse)


def stamp(name: str, string: str, **more: Any) -> Field:
    """A datetime, UTC, without zone."""
    return Field(name, "datetime", string, **more)


def model(
    name: str,
    description: str,
    *fields: Field | None,
    display: str = "t.name",
    order: str = "id",
    rec_name: tuple[str, ...] = ("name",),
    unique: tuple[tuple[str, ...], ...] = (),
    groups: dict[str, str] | None = None,
) -> Model:
    """A model with the fields that every model has."""
    found: dict[str, Field] = {
        "id": Field("id", "integer", "ID", readonly=True),
        "display_name": char("display_name", "Display Name", readonly=True, sql=display),
    }
    found.update((item.name, item) for item in fields if item is not None)
    for item in (
        one("create_uid", "Created by", "res.users", readonly=True),
        stamp("create_date", "Created on", readonly=True),
        one("write_uid", "Last Updated by", "res.users", readonly=True),
        stamp("write_date", "Last Updated on", readonly=True),
    ):
        found[item.name] = item
    return Model(name, description, found, display, order, rec_name, unique, groups or {})


Declare = Callable[[int], dict[str, Model]]
"""Gives the models of a major version of Odoo."""
