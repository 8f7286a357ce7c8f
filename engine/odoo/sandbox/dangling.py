"""References to records that are not there: which error an Odoo with Sales and Accounting gives.

Odoo stores a reference without looking; PostgreSQL refuses it at the end (ValidationError). But where a computed
field or a method reads the target before that, the same mistake is a MissingError. Which is which was asked of
real servers, field by field (16.0 and 19.0 with sale_management and crm).
"""

from __future__ import annotations

from engine.odoo.sandbox.faults import DatabaseFault
from engine.odoo.sandbox.schema import Field, Model

READ: dict[str, tuple[str, str]] = {
    "res.partner.parent_id": ("c", "cw"),
    "res.partner.country_id": ("w", "w"),
    "res.partner.category_id": ("c", "c"),
    "crm.lead.partner_id": ("w", "w"),
    "crm.lead.user_id": ("w", "w"),
    "crm.lead.country_id": ("w", ""),
    "sale.order.partner_id": ("cw", "cw"),
    "sale.order.line.order_id": ("cw", "cw"),
    "sale.order.line.product_id": ("cw", "cw"),
    "account.move.partner_id": ("cw", "cw"),
    "account.move.journal_id": ("cw", "cw"),
    "account.move.line.move_id": ("cw", "cw"),
    "account.move.line.product_id": ("cw", "cw"),
    "calendar.event.user_id": ("", "c"),
    "calendar.event.res_model_id": ("w", "w"),
    "calendar.event.partner_ids": ("", "cw"),
    "calendar.attendee.event_id": ("", "w"),
    "calendar.attendee.partner_id": ("w", "w"),
}
"""model.field → when its target is read before it is stored, on 16 to 18 and on 19: c(reate), w(rite)."""

LINKS = {
    "res.partner.category_id": "res_partner_res_partner_category_rel_category_id_fkey",
    "calendar.event.partner_ids": "calendar_event_res_partner_rel_res_partner_id_fkey",
    "calendar.event.categ_ids": "meeting_category_rel_type_id_fkey",
}
"""The constraint that PostgreSQL names for a many2many."""

_IN_USE = (
    "Another model is using the record you are trying to delete.\n\nThe troublemaker is: {}\n"
    "Thanks to the following constraint: {}\nHow about archiving the record instead?"
)
_IN_USE_16 = (
    " another model requires the record being deleted. If possible, archive it instead.\n\nModel: {} ({})\n"
    "Constraint: {}\n"
)


def read_early(model: Model, field: Field, major: int, creating: bool) -> bool:
    """Whether Odoo meets the missing target before PostgreSQL does."""
    verbs = READ.get(f"{model.name}.{field.name}", ("", ""))
    return ("c" if creating else "w") in verbs[major >= 19]


def refused(model: Model, field: Field) -> DatabaseFault:
    """What PostgreSQL's foreign key says, of a reference to nothing and of deleting what is referred to."""
    if field.type == "many2many":
        name = LINKS.get(f"{model.name}.{field.name}", field.name)
        return DatabaseFault(
            _IN_USE.format("Unknown", name), api16=_IN_USE_16.format("Unknown", "unknown", name)
        )
    name = f"{model.name.replace('.', '_')}_{field.name}_fkey"
    return DatabaseFault(
        _IN_USE.format(f"'{model.description}' ({model.name})", f"'{field.string}' ({field.name})"),
        api16=_IN_USE_16.format(model.description, model.name, name),
    )
