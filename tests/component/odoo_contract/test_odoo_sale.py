"""Quotations and their lines, as the charge template writes them. A real Odoo needs the Sales app for these."""

import pytest


@pytest.fixture
def order(odoo):
    fields = odoo.call("ir.model.fields", "search_count", domain=[["model", "=", "sale.order.line"]])
    if not fields:
        pytest.skip("this Odoo has no Sales app")
    return odoo.call("sale.order", "create", vals_list=[{"partner_id": odoo.partner()}])[0]


def product(odoo, **vals):
    return odoo.call("product.product", "create", vals_list=[{"name": "X-ray", "type": "service", **vals}])[0]


def line(odoo, order, **vals):
    vals = {"order_id": order, "product_id": product(odoo), **vals}
    return odoo.call("sale.order.line", "create", vals_list=[vals])[0]


def test_a_quotation_counts_up_and_is_a_draft(odoo, order):
    found = odoo.get("sale.order", order, "name", "state")
    assert found["name"] != "New" and found["state"] == "draft"


def test_a_line_has_its_products_name_and_its_own_price(odoo, order):
    made = line(odoo, order, price_unit=85.5, product_uom_qty=2)
    found = odoo.get("sale.order.line", made, "name", "price_subtotal", "product_uom_qty")
    assert (
        found["name"].endswith("X-ray") and found["price_subtotal"] == 171.0 and found["product_uom_qty"] == 2
    )


def test_a_line_may_have_a_negative_quantity(odoo, order):
    line(odoo, order, price_unit=10.0, product_uom_qty=1)
    line(odoo, order, price_unit=10.0, product_uom_qty=-1)
    lines = odoo.get("sale.order", order, "order_line")["order_line"]
    assert len(lines) == 2
    quantities = [odoo.get("sale.order.line", one, "product_uom_qty")["product_uom_qty"] for one in lines]
    assert sorted(quantities) == [-1.0, 1.0]


def test_an_order_needs_a_customer(odoo, order):
    assert odoo.refused("sale.order", "create", vals_list=[{"origin": "x"}])
