"""The invoice template, from message to draft invoice: once, twice, changed, credited, and never after posting.

On the sandbox, and on a real Odoo where ODOO_URL names one with Invoicing and a chart of accounts.
"""

from __future__ import annotations

import pytest

from engine.model import Operation
from engine.odoo.documents import INVOICE
from engine.odoo.errors import OdooError
from engine.states import Result
from tests.unit.odoo.test_business_templates import IN1, LINES, PID, rendered, sent

LINES = tuple(line.replace("&USD", "") for line in LINES)


def invoiced(odoo, *lines):
    return rendered(odoo, "invoice", "DFT^P03", PID, *lines, IN1)


def moves(odoo):
    (partner,) = odoo.find("res.partner", [["ref", "=", odoo.run_id]], "ref")
    return odoo.find(
        "account.move", [["partner_id", "=", partner["id"]]], "ref", "state", "move_type", "name"
    )


def lines_of(odoo, move):
    domain = [["move_id", "=", move["id"]], ["display_type", "=", "product"]]
    found = odoo.find("account.move.line", domain, "name", "quantity", "price_unit")
    return sorted((line["name"], line["quantity"], line["price_unit"]) for line in found)


def one(odoo):
    (move,) = moves(odoo)
    return move


def test_charges_are_lines_of_one_draft(odoo):
    made = invoiced(odoo, *LINES)
    for operation, result in zip(made, sent(odoo, made), strict=True):
        assert result == "created" or operation["model"] == "product.product"  # others may have made these
    move = one(odoo)
    assert (move["state"], move["move_type"], move["ref"]) == ("draft", "out_invoice", f"AC{odoo.run_id}")
    assert lines_of(odoo, move) == [("Office visit", 1.0, 125.0), ("X-ray", 2.0, 85.5)]


def test_sent_again_nothing_changes_and_nothing_is_doubled(odoo):
    sent(odoo, invoiced(odoo, *LINES))
    assert set(sent(odoo, invoiced(odoo, *LINES))) == {"unchanged"}
    changed = LINES[1].replace("|2|171.00", "|1|85.50")
    assert sent(odoo, invoiced(odoo, changed)).count("updated") == 1
    assert lines_of(odoo, one(odoo)) == [("Office visit", 1.0, 125.0), ("X-ray", 1.0, 85.5)]


def test_an_answer_that_is_lost_doubles_nothing(odoo):
    made = invoiced(odoo, *LINES)
    lost = []

    def lose(path, body):
        hit = b"invoice_line_ids/id" in body and not lost
        lost.extend([1] * hit)
        return hit

    odoo.wire.lose = lose
    outcome = odoo.deliver([*made])[0]
    odoo.wire.lose = lambda path, body: False
    assert lost
    if outcome.result != Result.SENT:
        assert outcome.result == Result.UNKNOWN
        sent(odoo, made)
    assert lines_of(odoo, one(odoo)) == [("Office visit", 1.0, 125.0), ("X-ray", 2.0, 85.5)]


def test_a_credit_is_a_line_of_its_own(odoo):
    sent(odoo, invoiced(odoo, LINES[1]))
    for _ in range(2):
        sent(odoo, invoiced(odoo, LINES[1].replace("|CG|", "|CD|")))
    assert lines_of(odoo, one(odoo)) == [("X-ray", -2.0, 85.5), ("X-ray", 2.0, 85.5)]


def test_a_price_that_is_not_sent_is_odoos(odoo):
    bare = "FT1|1|T9{n}^B||20260228||CG|P{n}^Plaster^C4|||3"
    sent(odoo, invoiced(odoo, bare))
    ((name, quantity, price),) = lines_of(odoo, one(odoo))
    assert (name, quantity) == ("Plaster", 3.0)
    assert price == 1.0  # what a new product costs in Odoo until somebody says otherwise


@pytest.mark.parametrize("act", ["action_post", "button_cancel"])
def test_what_is_no_draft_is_never_changed(odoo, act):
    sent(odoo, invoiced(odoo, LINES[0]))
    move = one(odoo)
    odoo.wait(odoo.client.call("account.move", act, [move["id"]]))
    before = lines_of(odoo, move)
    assert set(sent(odoo, invoiced(odoo, LINES[0]))) == {"unchanged"}  # the same is no error
    for late in (LINES[1], LINES[0].replace("125.00", "130.00")):
        (outcome,) = odoo.deliver([*invoiced(odoo, late)])
        assert (outcome.result, outcome.code) == (Result.PERMANENT, "odoo.closed")
        with pytest.raises(OdooError, match="no draft any more"):
            odoo.wait(odoo.writer().plan([Operation(**item) for item in invoiced(odoo, late)]))
    assert lines_of(odoo, move) == before and len(moves(odoo)) == 1


def test_the_header_of_a_posted_invoice_is_never_changed(odoo):
    sent(odoo, invoiced(odoo, LINES[0]))
    move = one(odoo)
    odoo.wait(odoo.client.call("account.move", "action_post", [move["id"]]))
    made = invoiced(odoo, LINES[0])
    header = next(item for item in made if item["model"] == INVOICE.model)
    (outcome,) = odoo.deliver([{**header, "values": {**header["values"], "ref": "other"}}])
    assert (outcome.result, outcome.code) == (Result.PERMANENT, "odoo.closed")
    assert one(odoo)["ref"] == f"AC{odoo.run_id}"


def test_many_invoices_in_one_batch_and_one_that_is_closed(odoo):
    def message(number, *lines):
        text = [line.replace("{n}", f"{odoo.run_id}n{number}") for line in (PID, *lines, IN1)]
        return rendered(odoo, "invoice", "DFT^P03", *text)

    first = odoo.deliver(*[message(number, LINES[0]) for number in range(5)])
    assert {outcome.result for outcome in first} == {Result.SENT}
    closed = odoo.find("account.move", [["ref", "=", f"AC{odoo.run_id}n3"]], "ref")[0]["id"]
    odoo.wait(odoo.client.call("account.move", "action_post", [closed]))
    late = odoo.deliver(*[message(number, LINES[1]) for number in range(5)])
    assert [outcome.code for outcome in late] == ["", "", "", "odoo.closed", ""]
    made = odoo.find("account.move", [["ref", "like", f"AC{odoo.run_id}n%"]], "ref")
    assert sorted(len(lines_of(odoo, move)) for move in made) == [1, 2, 2, 2, 2]


def test_each_currency_has_its_own_invoice(odoo):
    named = LINES[0].replace("125.00", "125.00&USD").replace("|T1", "|T7")
    sent(odoo, invoiced(odoo, LINES[0], named))
    assert len(moves(odoo)) == 2
    assert set(sent(odoo, invoiced(odoo, LINES[0], named))) == {"unchanged"}


def test_a_line_cannot_go_to_another_invoice(odoo):
    sent(odoo, invoiced(odoo, LINES[0]))
    moved = LINES[0].replace("125.00", "125.00&USD")
    (outcome,) = odoo.deliver([*invoiced(odoo, moved)])
    assert (outcome.result, outcome.code) == (Result.PERMANENT, "odoo.closed")
    assert outcome.place == "account.move.line.move_id"


def test_a_currency_that_odoo_does_not_have_is_an_error(odoo):
    foreign = LINES[0].replace("125.00", "125.00&XTS")
    (outcome,) = odoo.deliver([*invoiced(odoo, foreign)])
    assert (outcome.result, outcome.code) == (Result.PERMANENT, "odoo.reference")
    assert moves(odoo) == []


def test_a_bad_line_costs_the_others_nothing(odoo):
    sent(odoo, invoiced(odoo, LINES[0]))
    line = next(item for item in invoiced(odoo, LINES[0]) if item["model"] == INVOICE.lines)
    good = {**line, "key": odoo.key("good"), "values": {**line["values"], "quantity": 4}}
    bad = {**line, "key": odoo.key("bad"), "values": {**line["values"], "display_type": "nonsense"}}
    plain = {**good, "values": {**good["values"], "display_type": "product"}}
    outcomes = odoo.deliver([plain], [bad])
    assert [outcome.result for outcome in outcomes] == [Result.SENT, Result.PERMANENT]
    assert sorted(line[1] for line in lines_of(odoo, one(odoo))) == [1.0, 4.0]


@pytest.mark.parametrize("kind", ["PY", "CO"])
def test_payments_are_not_written(odoo, kind):
    assert invoiced(odoo, LINES[0].replace("|CG|", f"|{kind}|")) == []


def test_an_account_alone_makes_no_empty_invoice(odoo):
    assert rendered(odoo, "invoice", "BAR^P01", PID, IN1) == []
