"""Invoices and their lines, as Odoo 16 and 19 declare them (account): what the invoice template writes.

Guarantees: names, labels, types, required and read-only flags of the real ones; drafts, posting, and what the
versions let be done to a posted invoice (19 refuses its lines and partner, 16 takes everything but the deletion);
a line beside others that is changed alone, not through its invoice, is "not balanced" on 16.
Refuses: taxes, payment terms, receivable lines, accounts and payments: those are the real Odoo's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.odoo.sandbox.faults import UserFault
from engine.odoo.sandbox.hooks import HOOKS, Hooks
from engine.odoo.sandbox.schema import (
    Field,
    Model,
    Selection,
    char,
    choice,
    flag,
    html,
    many,
    model,
    one,
)

if TYPE_CHECKING:
    from engine.odoo.sandbox.operations import Operations

_TYPES: Selection = (
    ("entry", "Journal Entry"),
    ("out_invoice", "Customer Invoice"),
    ("out_refund", "Customer Credit Note"),
    ("in_invoice", "Vendor Bill"),
    ("in_refund", "Vendor Credit Note"),
    ("out_receipt", "Sales Receipt"),
    ("in_receipt", "Purchase Receipt"),
)
_STATES: Selection = (("draft", "Draft"), ("posted", "Posted"), ("cancel", "Cancelled"))
_UNTAXED = (
    "COALESCE((SELECT SUM(ROUND(l.quantity * l.price_unit, 2)) "
    "FROM account_move_line l WHERE l.move_id = t.id), 0)"
)
_UNBALANCED = (
    "An error has occurred.\n\nThe move ({}) is not balanced.\nYou might want to specify a default account on "
    'journal "{}" to automatically balance each move.'
)
FROZEN = ("invoice_line_ids", "line_ids", "partner_id")
THROUGH = "check_move_validity"  # False in the context of a line that is written through its invoice


def models(new: bool) -> tuple[Model, ...]:
    """The models; `new` is Odoo 19."""
    title = (
        "CASE WHEN t.state = 'draft' THEN CASE t.move_type WHEN 'out_invoice' THEN 'Draft Invoice' "
        "WHEN 'entry' THEN 'Draft Entry' ELSE 'Draft' END"
        + ("" if new else " || ' (* ' || t.id || ')'")
        + " ELSE COALESCE(t.name, '') END || CASE WHEN t.ref IS NOT NULL THEN ' (' || t.ref || ')' ELSE '' END"
    )
    return (
        model(
            "res.currency",
            "Currency",
            char("name", "Currency", required=True),
            char("symbol", "Symbol", required=True),
            flag("active", "Active", default=True),
            order="active desc, name",
        ),
        model(
            "account.journal",
            "Journal",
            char("name", "Journal Name", required=True),
            char("code", "Sequence Prefix" if new else "Short Code", required=True),
            choice("type", "Type", (("sale", "Sales"), ("general", "Miscellaneous")), required=True),
            flag("active", "Active", default=True),
            order="type, name",
        ),
        model(
            "account.move",
            "Journal Entry",
            char("name", "Number"),
            choice("move_type", "Type", _TYPES, required=True, readonly=True, default="entry"),
            choice("state", "Status", _STATES, required=True, readonly=True, default="draft"),
            one("partner_id", "Partner", "res.partner", readonly=not new, ondelete="restrict", indexed=True),
            char("ref", "Reference"),
            char("invoice_origin", "Origin", readonly=True),
            Field("invoice_date", "date", "Invoice/Bill Date", readonly=not new),
            Field("date", "date", "Date", required=True),
            one("journal_id", "Journal", "account.journal", required=True),
            one("currency_id", "Currency", "res.currency", required=True),
            html("narration", "Terms and Conditions"),
            many("invoice_line_ids", "Invoice lines", "account.move.line", "move_id"),
            many("line_ids", "Journal Items", "account.move.line", "move_id"),
            Field("amount_untaxed", "float", "Untaxed Amount", readonly=True, sql=_UNTAXED),
            Field("amount_total", "float", "Total", readonly=True, sql=_UNTAXED),
            display=title,
            order="date desc, name desc, invoice_date desc, id desc",
            rec_name=("name", "ref"),
        ),
        model(
            "account.move.line",
            "Journal Item",
            one(
                "move_id",
                "Journal Entry",
                "account.move",
                required=True,
                readonly=True,
                ondelete="cascade",
                indexed=True,
            ),
            one("product_id", "Product", "product.product", ondelete="restrict"),
            char("name", "Label", depends=("product_id",)),
            Field("quantity", "float", "Quantity", default=1.0),
            Field("price_unit", "float", "Unit Price", depends=("product_id",)),
            Field(
                "price_subtotal",
                "float",
                "Subtotal",
                readonly=True,
                sql="ROUND(t.quantity * t.price_unit, 2)",
            ),
            choice(
                "display_type", "Display Type", (("product", "Product"),), required=True, default="product"
            ),
            choice(
                "parent_state",
                "Status",
                _STATES,
                readonly=True,
                sql="SELECT m.state FROM account_move m WHERE m.id = t.move_id",
            ),
            order="id",
        ),
    )


class Move(Hooks):
    """account.move: journal and currency of the company, its number, what is frozen when it is posted."""

    def creating(self, env: Operations, vals: dict[str, Any]) -> dict[str, Any]:
        """Before a new record is stored."""
        kind = "general" if vals.get("move_type", "entry") == "entry" else "sale"
        (journal,) = env.search(env.model("account.journal"), [["type", "=", kind]], limit=1)
        (currency,) = env.search(env.model("res.currency"), [["name", "=", "USD"]], limit=1)
        given = {name: value for name, value in vals.items() if value is not False}
        start = {"journal_id": journal, "currency_id": currency, "date": env.now[:10], "state": "draft"}
        return start | ({} if env.major >= 17 else {"name": "/"}) | given

    def writing(self, env: Operations, ids: Sequence[int], vals: dict[str, Any]) -> dict[str, Any]:
        """Before changes are stored."""
        frozen = [name for name in FROZEN if name in vals]
        if env.major >= 17 and frozen and _states(env, ids) & {"posted"}:
            names = ", ".join(frozen)
            raise UserFault(f"You cannot modify the following readonly fields on a posted move: {names}")
        return vals

    def deleting(self, env: Operations, ids: Sequence[int]) -> None:
        """Before records are deleted."""
        if "posted" in _states(env, ids):
            raise UserFault(
                "You can't delete a posted journal item. Don’t play games with your accounting records; reset the "
                "journal entry to draft before deleting it."
                if env.major >= 17
                else "You cannot delete an item linked to a posted entry."
            )


class Line(Hooks):
    """account.move.line: name and price of its product; on 16 it is only changed through its invoice."""

    def creating(self, env: Operations, vals: dict[str, Any]) -> dict[str, Any]:
        """Before a new record is stored."""
        if vals.get("product_id"):
            (product,) = env.read(
                env.model("product.product"), [vals["product_id"]], ["display_name", "list_price"]
            )
            vals = {"name": product["display_name"], "price_unit": product["list_price"]} | {
                name: value for name, value in vals.items() if name not in ("name", "price_unit") or value
            }
        return vals

    def writing(self, env: Operations, ids: Sequence[int], vals: dict[str, Any]) -> dict[str, Any]:
        """Before changes are stored."""
        if env.major < 17 and {"quantity", "price_unit"} & set(vals) and env.context.get(THROUGH, True):
            line = env.read(env.model("account.move.line"), ids[:1], ["move_id"])[0]
            if env.count(env.model("account.move.line"), [["move_id", "=", line["move_id"][0]]]) < 2:
                return vals
            raise UserFault(_UNBALANCED.format(line["move_id"][1], "Customer Invoices"))
        return vals


def _states(env: Operations, ids: Sequence[int]) -> set[str]:
    return {record["state"] for record in env.read(env.model("account.move"), ids, ["state"])}


def post(env: Operations, ids: Sequence[int]) -> None:
    """`action_post`."""
    move = env.model("account.move")
    for record in env.read(move, ids, ["state", "name", "invoice_line_ids", "date"]):
        if record["state"] != "draft":
            text = (
                f"The entry {record['name']} (id {record['id']}) must be in draft."
                if env.major >= 17
                else f"The entry {record['name']} (id {record['id']}) is already posted."
            )
            raise UserFault(text)
        if env.major >= 17 and not record["invoice_line_ids"]:
            raise UserFault("Even magicians can't post nothing!")
        count = env.count(move, [["name", "=like", "INV/%"]]) + 1
        number = record["name"] if str(record["name"] or "/") != "/" else f"INV/{env.now[:4]}/{count:05}"
        env.update(move, [record["id"]], {"state": "posted", "name": number, "invoice_date": env.now[:10]})


HOOKS |= {"account.move": Move(), "account.move.line": Line()}
