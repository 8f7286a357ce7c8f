"""The methods of models that can be called remotely, with their Python signatures.

Guarantees: JSON-2 binds arguments by name and JSON-RPC by position as the real methods take them; a missing
or unexpected one is refused with Python's own words. Refuses: every other method, as not existing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from engine.odoo.sandbox.accounting import post
from engine.odoo.sandbox.faults import AccessFault, Fault, UserFault
from engine.odoo.sandbox.hooks import Merge
from engine.odoo.sandbox.loading import Loader
from engine.odoo.sandbox.operations import Operations
from engine.odoo.sandbox.schema import Model

WIZARD = "base.partner.merge.automatic.wizard"
READ_ONLY = {"read", "search", "search_read", "search_count", "fields_get", "name_search", "default_get"}
READ_ONLY |= {"context_get", "exists", "has_access", "check_access_rights"}
_RTC = (
    "Failed to read field res.partner.rtc_session_ids\nYou are not allowed to access 'Mail RTC session' "
    "(discuss.channel.rtc.session) records.\n\nThis operation is allowed for the following groups:\n"
    "\t- Role / Administrator\n\nContact your administrator to request access if necessary."
)


class Undo(Exception):
    """The answer stands, but nothing of the call may stay (`load()` with errors)."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer


class Methods:
    """The methods of one model. Those with `ids` first work on records, the others on the model."""

    def __init__(self, env: Operations, model: Model) -> None:
        self.env = env
        self.model = model

    def create(self, vals_list: Any) -> list[int]:
        """New records."""
        self.env.allow(self.model, "create")
        return self.env.create(self.model, [vals_list] if isinstance(vals_list, dict) else vals_list)

    def write(self, ids: list[int], vals: dict[str, Any]) -> bool:
        """Change records."""
        self.env.allow(self.model, "write")
        return self.env.write(self.model, ids, vals)

    def unlink(self, ids: list[int]) -> bool:
        """Delete records."""
        self.env.allow(self.model, "unlink")
        return self.env.unlink(self.model, ids)

    def read(self, ids: list[int], fields: Any = None, load: str = "_classic_read") -> list[dict[str, Any]]:
        """Records; those that do not exist are left out."""
        self.env.allow(self.model, "read")
        self._may_read_all(fields)
        found = self.env.read(self.model, ids, fields)
        if load == "_classic_read":
            return found
        return [
            {
                name: value[0]
                if isinstance(value, list) and self.model.fields[name].type == "many2one"
                else value
                for name, value in record.items()
            }
            for record in found
        ]

    def _may_read_all(self, fields: Any) -> None:
        """All fields of a contact hold some of 19 that an ordinary user may not read."""
        if not fields and self.model.name == "res.partner" and not self.env.admin and self.env.major >= 19:
            raise AccessFault(_RTC)

    def exists(self, ids: list[int]) -> list[int]:
        """The ids that exist."""
        return self.env.existing(self.model, ids)

    def search(
        self, domain: Any, offset: int = 0, limit: int | None = None, order: str | None = None
    ) -> list[int]:
        """Ids that a domain finds."""
        self.env.allow(self.model, "read")
        return self.env.search(self.model, domain, offset, limit, order)

    def search_count(self, domain: Any, limit: int | None = None) -> int:
        """How many records a domain finds."""
        self.env.allow(self.model, "read")
        return self.env.count(self.model, domain, limit)

    def search_read(
        self,
        domain: Any = None,
        fields: Any = None,
        offset: int = 0,
        limit: int | None = None,
        order: str | None = None,
        **read_kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Records that a domain finds."""
        for name in fields or ():
            if self.env.major >= 17:
                self.env.field(self.model, name)
        ids = self.search(domain or [], offset, limit, order)
        self._may_read_all(fields)
        return self.read(ids, fields, **read_kwargs) if ids else []

    def fields_get(self, allfields: Any = None, attributes: Any = None) -> dict[str, Any]:
        """The declarations of fields."""
        found: dict[str, Any] = self.env.fields_get(self.model, allfields, attributes)
        return found

    def load(self, fields: list[str], data: list[list[Any]]) -> dict[str, Any]:
        """Import rows: all of them or none."""
        loader = Loader(self.env, self.model)
        answer = loader.run(fields, data)
        if loader.failed:
            raise Undo(answer)
        return answer

    def default_get(self, fields: list[str]) -> dict[str, Any]:
        """The values that `create` would fill in."""
        return self.env.defaults(self.model, fields)

    def action_archive(self, ids: list[int]) -> None:
        """Make records inactive."""
        self._activate(ids, False)

    def action_unarchive(self, ids: list[int]) -> None:
        """Make records active."""
        self._activate(ids, True)

    def toggle_active(self, ids: list[int]) -> None:
        """Turn `active` over."""
        for record in self.env.read(self.model, ids, ["active"]):
            self._activate([record["id"]], not record["active"])

    def _activate(self, ids: list[int], active: bool) -> None:
        self.env.allow(self.model, "write")
        self.env.write(self.model, ids, {"active": active})

    def has_access(self, ids: list[int], operation: str) -> bool:
        """May the user (17 and later)."""
        return self.env.admin or operation not in self.model.groups

    def check_access_rights(self, operation: str, raise_exception: bool = True) -> bool:
        """May the user (16 and 17)."""
        try:
            self.env.allow(self.model, operation)
        except Fault:
            if raise_exception:
                raise
            return False
        return True


class UserMethods(Methods):
    """res.users."""

    def context_get(self) -> dict[str, Any]:
        """Language, zone and id of the user."""
        user = self.env.read(self.model, [self.env.uid], ["lang", "tz"])[0]
        return {"lang": user["lang"], "tz": user["tz"], "uid": self.env.uid}


class WizardMethods(Methods):
    """The merge of contacts."""

    def action_merge(self, ids: list[int]) -> dict[str, Any]:
        """Merge the contacts of the wizard."""
        if len(ids) != 1:
            raise UserFault(f"Expected singleton: {WIZARD}{tuple(ids)}")
        return Merge(self.env).run(ids[0])


class MoveMethods(Methods):
    """account.move."""

    def action_post(self, ids: list[int]) -> bool:
        """Post drafts."""
        self.env.allow(self.model, "write")
        post(self.env, ids)
        return False

    def button_draft(self, ids: list[int]) -> None:
        """Back to draft."""
        self.env.allow(self.model, "write")
        self.env.update(self.model, ids, {"state": "draft"})

    def button_cancel(self, ids: list[int]) -> None:
        """Cancel drafts."""
        self.env.allow(self.model, "write")
        self.env.update(self.model, ids, {"state": "cancel"})


def _search_named(self: Methods, name: str, domain: Any, operator: str, limit: int | None) -> Any:
    self.env.allow(self.model, "read")
    return self.env.name_search(self.model, name, domain, operator, limit)


def _name_search(
    self: Methods, name: str = "", domain: Any = None, operator: str = "ilike", limit: int | None = 100
) -> Any:
    return _search_named(self, name, domain, operator, limit)


def _name_search_16(
    self: Methods, name: str = "", args: Any = None, operator: str = "ilike", limit: int | None = 100
) -> Any:
    return _search_named(self, name, args, operator, limit)


def method(env: Operations, model: Model, name: str) -> Callable[..., Any] | None:
    """The method of that name, bound; None when the model has none."""
    kinds = {"res.users": UserMethods, WIZARD: WizardMethods, "account.move": MoveMethods}
    kind = kinds.get(model.name, Methods)
    target = kind(env, model)
    if name == "name_search":
        search = _name_search if env.major >= 18 else _name_search_16
        return search.__get__(target)
    gone = {"check_access_rights"} if env.major >= 18 else {"has_access"}
    if name in gone or (
        name in ("action_archive", "action_unarchive", "toggle_active") and not model.archivable
    ):
        return None
    found = getattr(target, name, None) if not name.startswith("_") else None
    return found if inspect.ismethod(found) else None
