"""Products and quotations, as Odoo 16 and 19 declare them (product, sale): what the charge templates write.

Guarantees: names, labels, types and required flags of the real ones; a line without a name has its product's, a
quotation counts up (`S00001`). Refuses: confirming, invoicing, taxes and price lists: those are the real Odoo's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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
    stamp,
)

if TYPE_CHECKING:
    from engine.odoo.sandbox.operations import Operations

_TOTAL = "COALESCE((SELECT SUM(l.product_uom_qty * l.price_unit) FROM sale_order_line l WHERE l.order_id = t.id), 0)"
_PRODUCT = "CASE WHEN t.default_code IS NOT NULL THEN '[' || t.default_code || '] ' ELSE '' END || t.name"


def models(new: bool) -> tuple[Model, ...]:
    """The models; `new` is Odoo 19."""
    kinds: Selection = (("consu", "Goods" if new else "Consumable"), ("service", "Service"))
    states: Selection = (
        ("draft", "Quotation"),
        ("sent", "Quotation Sent"),
        ("sale", "Sales Order"),
        ("cancel", "Cancelled"),
    )
    return (
        model(
            "product.product",
            "Product Variant" if new else "Product",
            char("name", "Name", required=True),
            char("default_code", "Internal Reference", indexed=True),
            choice("type", "Product Type", kinds, required=True, default="consu"),
            Field("list_price", "float", "Sales Price", default=1.0),
            flag("sale_ok", "Sales" if new else "Can be Sold", default=True),
            flag("active", "Active", default=True),
            display=_PRODUCT,
            order="default_code, name, id",
            rec_name=("name", "default_code"),
        ),
        model(
            "sale.order",
            "Sales Order",
            char("name", "Order Reference", required=True, readonly=True, default="New"),
            one("partner_id", "Customer", "res.partner", required=True, indexed=True),
            char("client_order_ref", "Customer Reference"),
            char("origin", "Source Document"),
            choice("state", "Status", states, readonly=True, default="draft"),
            stamp("date_order", "Order Date"),
            html("note", "Terms and conditions"),
            many("order_line", "Order Lines", "sale.order.line", "order_id"),
            Field("amount_total", "float", "Total", readonly=True, sql=_TOTAL),
            order="date_order desc, id desc",
        ),
        model(
            "sale.order.line",
            "Sales Order Line",
            one("order_id", "Order Reference", "sale.order", required=True, ondelete="cascade", indexed=True),
            one("product_id", "Product", "product.product", ondelete="restrict"),
            char("name", "Description", required=True, depends=("product_id",)),
            Field("product_uom_qty", "float", "Quantity", required=True, default=1.0),
            Field("price_unit", "float", "Unit Price", required=True, default=0.0),
            Field(
                "price_subtotal", "float", "Subtotal", readonly=True, sql="t.product_uom_qty * t.price_unit"
            ),
            order="order_id, id",
        ),
    )


class Order(Hooks):
    """sale.order: the number that it gets."""

    def done(self, env: Operations, ids: Sequence[int], vals: dict[str, Any], created: bool) -> None:
        """After the records were stored."""
        for record in ids if created else ():
            env.db.run(
                "UPDATE sale_order SET name = ? WHERE id = ? AND name = 'New'", (f"S{record:05}", record)
            )


class Line(Hooks):
    """sale.order.line: the name and the price of its product."""

    def creating(self, env: Operations, vals: dict[str, Any]) -> dict[str, Any]:
        """Before a new record is stored."""
        if vals.get("product_id") and not vals.get("name"):
            (product,) = env.read(env.model("product.product"), [vals["product_id"]], ["display_name"])
            vals = {**vals, "name": product["display_name"]}
        return vals


HOOKS |= {"sale.order": Order(), "sale.order.line": Line()}
