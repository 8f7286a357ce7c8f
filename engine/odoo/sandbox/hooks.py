"""What single models do beyond the generic engine: defaults, computed dates, attendees, mail, merge.

Guarantees: the start/stop/duration rules and the check of Odoo's calendar, one attendee for each partner, the
contact details that 19 adds to a description, and a `mail.message` for every mail that Odoo would have queued
(future events, attendees with an address other than the caller, unless the context holds `no_mail_to_attendees`).
Merging contacts re-points every reference and external id. Refuses: what the real wizard refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape
from typing import TYPE_CHECKING, Any

from engine.odoo.sandbox.faults import DatabaseFault, UserFault, ValidationFault
from engine.odoo.sandbox.values import DATETIME, parse_datetime, sanitize

if TYPE_CHECKING:
    from engine.odoo.sandbox.operations import Operations

_TOO_MANY = (
    "For safety reasons, you cannot merge more than 3 contacts together. You can re-open the wizard several"
    " times if needed."
)
_OTHER_MAIL = (
    "All contacts must have the same email. Only the Administrator can merge contacts with different emails."
)
_MANY_USERS = "You cannot merge contacts linked to more than one user even if only one is active."
_ENDS = "The ending date and time cannot be earlier than the starting date and time.\n"


class Hooks:
    """The generic model: static defaults only."""

    def defaults(self, env: Operations) -> dict[str, Any]:
        """Values for fields that `create` is not given."""
        return {}

    def creating(self, env: Operations, vals: dict[str, Any]) -> dict[str, Any]:
        """The values to store for a new record; defaults are in them."""
        return vals

    def writing(self, env: Operations, ids: Sequence[int], vals: dict[str, Any]) -> dict[str, Any]:
        """The values to store for changed records."""
        return vals

    def done(self, env: Operations, ids: Sequence[int], vals: dict[str, Any], created: bool) -> None:
        """After the records were stored."""

    def deleting(self, env: Operations, ids: Sequence[int]) -> None:
        """Before records are deleted."""


class Partner(Hooks):
    """res.partner: language and time zone of the caller, company_type, the CHECK on the name."""

    def defaults(self, env: Operations) -> dict[str, Any]:
        """What a new record starts with."""
        return {"lang": env.context.get("lang") or "en_US", "tz": env.context.get("tz") or None}

    def creating(self, env: Operations, vals: dict[str, Any]) -> dict[str, Any]:
        """Before a new record is stored."""
        vals = self.writing(env, (), vals)
        if vals.get("type") == "contact" and vals.get("name") in (None, False):
            raise self._nameless()
        return vals

    def writing(self, env: Operations, ids: Sequence[int], vals: dict[str, Any]) -> dict[str, Any]:
        """Before changes are stored."""
        if "company_type" in vals:
            vals = {**vals, "is_company": vals["company_type"] == "company"}
        if ids and "name" in vals and vals["name"] in (None, False):
            kinds = env.read(env.model("res.partner"), ids, ["type"])
            if any((vals.get("type") or kind["type"] or "contact") == "contact" for kind in kinds):
                raise self._nameless()
        parent = vals.get("parent_id")
        if (
            ids
            and parent
            and set(env.search(env.model("res.partner"), [["id", "parent_of", parent]])) & set(ids)
        ):
            raise ValidationFault("You cannot create recursive Partner hierarchies.")
        return vals

    @staticmethod
    def _nameless() -> DatabaseFault:
        return DatabaseFault("Contacts require a name", load16="'Contacts require a name'")


class Event(Hooks):
    """calendar.event."""

    def defaults(self, env: Operations) -> dict[str, Any]:
        """What a new record starts with."""
        now = datetime.strptime(env.now[:19], DATETIME)  # noqa: DTZ007  naive UTC
        if env.major >= 17:
            start = now + (datetime(1, 1, 1) - now) % timedelta(minutes=30)  # noqa: DTZ001  naive UTC
        else:
            start = now.replace(hour=0, minute=0, second=0)
        return {
            "start": start.strftime(DATETIME),
            "stop": (start + timedelta(hours=1)).strftime(DATETIME),
            "user_id": env.uid,
            "partner_ids": [[6, 0, [env.partner()]]],
        }

    def creating(self, env: Operations, vals: dict[str, Any]) -> dict[str, Any]:
        """Before a new record is stored."""
        vals = dict(vals)
        if "duration" not in vals and vals.get("start") and vals.get("stop"):
            vals["duration"] = _hours(vals["start"], vals["stop"])
        if env.major >= 19 and not env.context.get("skip_contact_description"):
            vals["description"] = self._described(env, vals)
        return vals

    def writing(self, env: Operations, ids: Sequence[int], vals: dict[str, Any]) -> dict[str, Any]:
        """Before changes are stored."""
        moved = {name for name in ("start", "stop", "duration") if vals.get(name)}
        if not moved or len(ids) != 1:
            return vals
        vals = dict(vals)
        old = env.read(env.model("calendar.event"), ids, ["start", "stop", "duration"])[0]
        start = vals.get("start") or old["start"]
        if "stop" not in moved:
            length = timedelta(hours=float(vals.get("duration") or old["duration"] or 1))
            vals["stop"] = (_moment(start) + length).strftime(DATETIME)
        if "duration" not in moved:
            vals["duration"] = _hours(start, vals["stop"])
        return vals

    def done(self, env: Operations, ids: Sequence[int], vals: dict[str, Any], created: bool) -> None:
        """After records were stored."""
        model = env.model("calendar.event")
        before: dict[int, set[int]] = {record: set() for record in ids}
        if created or "partner_ids" in vals:
            for event, partner in env.db.rows(
                f"SELECT event_id, partner_id FROM calendar_attendee WHERE event_id IN ({_marks(ids)})", ids
            ):
                before[event].add(partner)
            self._invite(env, ids, before)
        if not created and not {"start", "stop", "duration", "partner_ids", "allday"} & set(vals):
            return
        fields = ["name", "start", "stop", "allday"]
        for event in env.read(model, ids, fields):
            if not event["allday"] and event["stop"] < event["start"]:
                raise ValidationFault(_ENDS + self._shown(env, event))
            if event["start"] > env.now[:19]:
                new = created or "partner_ids" in vals
                if new:
                    self._mail(env, event, before[event["id"]], "Invitation to ", fresh=True)
                if not created and vals.get("start"):
                    self._mail(env, event, before[event["id"]], "Date updated: ", fresh=False)

    @staticmethod
    def _shown(env: Operations, event: dict[str, Any]) -> str:
        name, start, stop = event["name"], event["start"], event["stop"]
        if env.major >= 17:
            return f"Meeting “{name}” starts at {start} and ends at {stop}"
        return f"Meeting '{name}' starts '{start}' and ends '{stop}'"

    @staticmethod
    def _invite(env: Operations, ids: Sequence[int], before: dict[int, set[int]]) -> None:
        table = env.model("calendar.event").relation_table("partner_ids")
        for event in ids:
            wanted = [row[0] for row in env.db.rows(f"SELECT b FROM {table} WHERE a = ?", (event,))]
            for partner in wanted:
                if partner not in before[event]:
                    state = "accepted" if partner == env.partner() else "needsAction"
                    env.insert(
                        env.model("calendar.attendee"),
                        {"event_id": event, "partner_id": partner, "state": state},
                    )
            gone = before[event] - set(wanted)
            env.db.many(
                "DELETE FROM calendar_attendee WHERE event_id = ? AND partner_id = ?",
                ((event, partner) for partner in gone),
            )

    @staticmethod
    def _mail(env: Operations, event: dict[str, Any], before: set[int], subject: str, fresh: bool) -> None:
        if env.context.get("no_mail_to_attendees"):
            return
        for partner, email in env.db.rows(
            "SELECT p.id, p.email FROM calendar_attendee a JOIN res_partner p ON p.id = a.partner_id "
            "WHERE a.event_id = ? ORDER BY p.id",
            (event["id"],),
        ):
            if email and partner != env.partner() and (partner not in before if fresh else True):
                env.create(
                    env.model("mail.message"),
                    [
                        {
                            "subject": f"{subject}{event['name']}",
                            "model": "calendar.event",
                            "res_id": event["id"],
                            "message_type": "user_notification",
                            "partner_ids": [[6, 0, [partner]]],
                        }
                    ],
                )

    @staticmethod
    def _described(env: Operations, vals: dict[str, Any]) -> Any:
        def details(title: str, partner: int) -> list[str]:
            found = env.db.rows("SELECT name, email, phone FROM res_partner WHERE id = ?", (partner,))
            name, email, phone = found[0] if found else (None, None, None)
            lines = [escape(name)] if name else []
            lines += [f'<a href="mailto:{escape(email)}">{escape(email)}</a>'] if email else []
            lines += [f'<a href="tel:{escape(phone)}">{escape(phone)}</a>'] if phone else []
            return [f"<strong>{title}</strong>", *lines] if lines else []

        organizer = 0
        if vals.get("user_id"):
            rows = env.db.rows("SELECT partner_id FROM res_users WHERE id = ?", (vals["user_id"],))
            organizer = rows[0][0] if rows else 0
        text = details("Organized by", organizer) if organizer else []
        others = [partner for partner in _targets(vals.get("partner_ids")) if partner != organizer]
        if others:
            text += [""] * bool(text) + details("Contact Details", others[0])
        if not text:
            return vals.get("description")
        base = f"{sanitize(str(vals['description']), True)}<br>" if vals.get("description") else ""
        bare = str(vals.get("description") or "")
        if base and "<" not in bare:
            base = f"{escape(bare, quote=False)}<br>"
        return f"<div>{base}{'<br>'.join(text)}</div>"


class Merge:
    """base.partner.merge.automatic.wizard."""

    def __init__(self, env: Operations) -> None:
        self.env = env

    def run(self, wizard: int) -> dict[str, Any]:
        """`action_merge` of one wizard record."""
        env = self.env
        model = env.model("base.partner.merge.automatic.wizard")
        self.env = env.using(active_test=False)
        seen = self.env if env.major >= 19 else env  # before, archived contacts are only seen when asked for
        record = seen.read(model, [wizard], ["partner_ids", "dst_partner_id"])[0]
        if record["partner_ids"]:
            target = record["dst_partner_id"][0] if record["dst_partner_id"] else 0
            self._merge(sorted(record["partner_ids"]), target)
        env.update(model, [wizard], {"state": "finished"})
        return {
            "type": "ir.actions.act_window",
            "res_model": model.name,
            "res_id": wizard,
            "view_mode": "form",
            "target": "new",
        }

    def _merge(self, ids: list[int], target: int) -> None:
        env = self.env
        partner = env.model("res.partner")
        if len(ids) < 2:
            return
        if len(ids) > 3:
            raise UserFault(_TOO_MANY)
        family = set(env.using(active_test=False).search(partner, [["id", "child_of", ids]]))
        for record in ids:
            children = set(env.search(partner, [["id", "child_of", record]])) - {record}
            if children & set(ids) & family:
                raise UserFault("You cannot merge a contact with one of his parent.")
        users = env.db.rows(f"SELECT id FROM res_users WHERE partner_id IN ({_marks(ids)})", ids)
        if env.major >= 17 and len(users) > 1:
            raise UserFault(_MANY_USERS)
        rows = env.db.rows(f"SELECT email FROM res_partner WHERE id IN ({_marks(ids)})", ids)
        if not env.admin and len(set(rows)) > 1:
            raise UserFault(_OTHER_MAIL)
        target = target if target in ids else ids[0]
        gone = [record for record in ids if record != target]
        values = self._values(gone, target)
        self._repoint(gone, target)
        if values:
            env.update(partner, [target], values)
        env.unlink(partner, gone)

    def _values(self, gone: list[int], target: int) -> dict[str, Any]:
        """What the survivor takes over: every stored value that it lacks, of the last contact that has it."""
        env = self.env
        partner = env.model("res.partner")
        trace = {"id", "create_uid", "create_date", "write_uid", "write_date"}
        names = [item.name for item in partner.fields.values() if item.stored and item.name not in trace]
        columns = ", ".join(f'"{name}"' for name in names)
        found: dict[str, Any] = {}
        for record in (*gone, target):
            row = env.db.rows(f"SELECT {columns} FROM {partner.table} WHERE id = ?", (record,))[0]
            found.update((name, value) for name, value in zip(names, row, strict=True) if value)
        if found.get("parent_id") in (*gone, target):
            found.pop("parent_id")
        return found

    def _repoint(self, gone: list[int], target: int) -> None:
        db = self.env.db
        for model in db.models.values():
            for item in model.fields.values():
                if item.relation == "res.partner" and item.type == "many2one" and item.stored:
                    db.many(
                        f"UPDATE {model.table} SET {item.column} = ? WHERE {item.column} = ?",
                        ((target, record) for record in gone),
                    )
                elif item.relation == "res.partner" and item.type == "many2many":
                    table = model.relation_table(item.name)
                    db.many(
                        f"UPDATE OR IGNORE {table} SET b = ? WHERE b = ?",
                        ((target, record) for record in gone),
                    )
        db.many(
            "UPDATE ir_model_data SET res_id = ? WHERE model = 'res.partner' AND res_id = ?",
            ((target, record) for record in gone),
        )


def _targets(commands: Any) -> list[int]:
    """The ids that many2many commands leave on a new record."""
    found: list[int] = []
    for command in commands or ():
        code, *rest = command if isinstance(command, (list, tuple)) else (4, command)
        if code == 6:
            found = list(rest[-1])
        elif code == 4:
            found.append(rest[0])
        elif code == 5:
            found = []
    return found


def _moment(text: str) -> datetime:
    return datetime.strptime(parse_datetime(text), DATETIME)  # noqa: DTZ007  naive UTC


def _hours(start: str, stop: str) -> float:
    return round((_moment(stop) - _moment(start)).total_seconds() / 3600, 2)


def _marks(ids: Sequence[int]) -> str:
    return ",".join("?" * len(ids))


HOOKS: dict[str, Hooks] = {"res.partner": Partner(), "calendar.event": Event()}
GENERIC = Hooks()
