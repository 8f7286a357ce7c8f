"""Merging contacts (HL7 A40): the survivor keeps everything."""

QUIET = {"tz": "UTC", "lang": "en_US"}
WIZARD = "base.partner.merge.automatic.wizard"


def merge(odoo, ids, target, **context):
    vals = {"state": "selection", "partner_ids": [[6, 0, ids]], "dst_partner_id": target}
    context = {**QUIET, **context}
    wizard = odoo.call(WIZARD, "create", vals_list=[vals], context=context)[0]
    return odoo.call(WIZARD, "action_merge", ids=[wizard], context=context)


def existing(odoo, ids):
    found = odoo.call("res.partner", "read", ids=ids, fields=["name"])
    return [record["id"] for record in found]


def test_references_and_external_ids_move(odoo):
    kept_id, gone_id = odoo.xid("p"), odoo.xid("p")
    kept, gone = odoo.load("res.partner", ["id", "name"], [kept_id, "Kept"], [gone_id, "Gone"])["ids"]
    vals = {
        "name": "A",
        "start": "2024-04-02 10:00:00",
        "stop": "2024-04-02 11:00:00",
        "partner_ids": [[6, 0, [gone]]],
    }
    event = odoo.call("calendar.event", "create", vals_list=[vals])[0]
    child = odoo.partner(parent_id=gone)
    answer = merge(odoo, [kept, gone], kept)
    assert answer["type"] == "ir.actions.act_window" and answer["res_model"] == WIZARD
    assert existing(odoo, [kept, gone]) == [kept]
    assert odoo.get("calendar.event", event, "partner_ids")["partner_ids"] == [kept]
    assert odoo.get("res.partner", child, "parent_id")["parent_id"][0] == kept
    name = odoo.name("both")
    assert odoo.load("res.partner", ["id", "name"], [gone_id, name])["ids"] == [kept]
    assert odoo.get("res.partner", kept, "name")["name"] == name


def test_survivor_takes_what_it_lacks(odoo):
    kept = odoo.partner(name="Kept", phone="1")
    gone = odoo.partner(name="Gone", phone="2", city="Ulm")
    merge(odoo, [kept, gone], kept)
    found = odoo.get("res.partner", kept, "name", "phone", "city")
    assert (found["name"], found["phone"], found["city"]) == ("Kept", "1", "Ulm")


def test_an_archived_contact_is_merged_when_it_is_looked_for(odoo):
    """19 always looks for it; 16 says that all is well and merges nothing."""
    kept, gone = odoo.partner(), odoo.partner(active=False)
    merge(odoo, [kept, gone], kept)
    assert existing(odoo, [kept, gone]) == ([kept] if odoo.new else [kept, gone])
    kept, gone = odoo.partner(), odoo.partner(active=False)
    merge(odoo, [kept, gone], kept, active_test=False)
    assert existing(odoo, [kept, gone]) == [kept]
    assert odoo.get("res.partner", kept, "active")["active"] is True


def test_no_more_than_three(odoo):
    ids = [odoo.partner() for _ in range(4)]
    vals = {"state": "selection", "partner_ids": [[6, 0, ids]], "dst_partner_id": ids[0]}
    wizard = odoo.call(WIZARD, "create", vals_list=[vals])[0]
    caught = odoo.refused(WIZARD, "action_merge", ids=[wizard])
    assert caught.name == "odoo.exceptions.UserError" and "more than 3 contacts" in caught.message
    assert existing(odoo, ids) == ids


def test_not_with_a_parent(odoo):
    parent = odoo.partner()
    child = odoo.partner(parent_id=parent)
    vals = {"state": "selection", "partner_ids": [[6, 0, [parent, child]]], "dst_partner_id": parent}
    wizard = odoo.call(WIZARD, "create", vals_list=[vals])[0]
    caught = odoo.refused(WIZARD, "action_merge", ids=[wizard])
    assert caught.message == "You cannot merge a contact with one of his parent."
