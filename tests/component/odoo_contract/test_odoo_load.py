"""load(): the only way in which Isthmus writes records."""

import pytest

PARTNER = ["id", "name", "ref", "street", "city", "zip", "country_id/id", "state_id/id", "phone", "email"]


def row(odoo, **other):
    cells = dict(
        zip(
            PARTNER,
            [
                odoo.xid("p"),
                odoo.name(),
                "R1",
                "1 Main St",
                "Town",
                "62701",
                "base.us",
                "base.state_us_14",
                "+1 217 555 0100",
                "a@example.com",
            ],
            strict=True,
        )
    )
    return list({**cells, **other}.values())


def only_message(answer):
    assert answer["ids"] is False
    assert len(answer["messages"]) == 1, answer["messages"]
    return answer["messages"][0]


def test_creates_and_updates_by_external_id(odoo):
    first, second = row(odoo), row(odoo)
    made = odoo.load("res.partner", PARTNER, first, second)
    assert made["messages"] == [] and made["nextrow"] == 0 and len(set(made["ids"])) == 2
    first[3] = "2 Main St"
    assert odoo.load("res.partner", PARTNER, first, second)["ids"] == made["ids"]
    assert odoo.get("res.partner", made["ids"][0], "street")["street"] == "2 Main St"


def test_values_are_stored(odoo):
    cells = row(odoo)
    record = odoo.load("res.partner", PARTNER, cells)["ids"][0]
    found = odoo.get("res.partner", record, "name", "country_id", "state_id", "zip", "active", "is_company")
    assert found["name"] == cells[1]
    assert found["country_id"][1] == "United States" and found["state_id"][1] == "Illinois (US)"
    assert (found["zip"], found["active"], found["is_company"]) == ("62701", True, False)


def test_one_bad_row_undoes_all(odoo):
    good, bad = row(odoo), row(odoo, **{"country_id/id": "base.zz"})
    message = only_message(odoo.load("res.partner", PARTNER, good, bad))
    assert (
        message["record"] == 1
        and message["rows"] == {"from": 1, "to": 1}
        and message["field"] == "country_id"
    )
    assert message["message"] == "No matching record found for external id 'base.zz' in field 'Country'"
    assert message["moreinfo"]["res_model"] == "ir.model.data" and message["field_name"] == "Country"
    assert odoo.call("res.partner", "search_count", domain=[["name", "=", good[1]]]) == 0


def test_name_is_required(odoo):
    message = only_message(odoo.load("res.partner", ["id", "name"], [odoo.xid(), ""]))
    assert message["message"] == ("Contacts require a name" if odoo.new else "'Contacts require a name'")
    assert "field" not in message and message["type"] == "error"


def test_required_field_of_a_tag(odoo):
    message = only_message(odoo.load("res.partner.category", ["id", "name"], [odoo.xid(), ""]))
    assert message["field"] == "name" and message["message"].startswith(
        "Missing required value for the field '"
    )


def test_unknown_column_is_an_exception(odoo):
    caught = odoo.refused(
        "res.partner", "load", fields=["id", "name", "birthdate"], data=[[odoo.xid(), "x", "1"]]
    )
    assert caught.name == ("builtins.ValueError" if odoo.new else "builtins.KeyError")
    assert caught.message == ("Invalid field name 'birthdate'" if odoo.new else "birthdate")


def test_unknown_relational_column_is_an_exception(odoo):
    caught = odoo.refused("res.partner", "load", fields=["id", "nosuch/id"], data=[[odoo.xid(), "x"]])
    assert "nosuch" in caught.message


def test_same_external_id_twice_last_wins(odoo):
    xid, last = odoo.xid(), odoo.name("last")
    made = odoo.load("res.partner", ["id", "name"], [xid, "first"], [xid, last])
    assert made["ids"][0] == made["ids"][1] and made["messages"] == []
    assert odoo.get("res.partner", made["ids"][0], "name")["name"] == last


def test_empty_cell_clears(odoo):
    cells = row(odoo)
    record = odoo.load("res.partner", PARTNER, cells)["ids"][0]
    odoo.load("res.partner", ["id", "phone", "country_id/id", "state_id/id"], [cells[0], "", "", ""])
    found = odoo.get("res.partner", record, "phone", "country_id", "state_id", "email")
    assert found == {
        "id": record,
        "phone": False,
        "country_id": False,
        "state_id": False,
        "email": "a@example.com",
    }


def test_archive_and_unarchive(odoo):
    xid, name = odoo.xid(), odoo.name()
    record = odoo.load("res.partner", ["id", "name"], [xid, name])["ids"][0]
    assert odoo.load("res.partner", ["id", "active"], [xid, "0"])["ids"] == [record]
    assert odoo.call("res.partner", "search", domain=[["name", "=", name]]) == []
    assert odoo.call(
        "res.partner", "search", domain=[["name", "=", name]], context={"active_test": False}
    ) == [record]
    assert odoo.load("res.partner", ["id", "active"], [xid, "1"])["ids"] == [record]
    assert odoo.call("res.partner", "search", domain=[["name", "=", name]]) == [record]


def test_external_id_with_a_space(odoo):
    message = only_message(odoo.load("res.partner", ["id", "name"], [odoo.xid() + " x", "A"]))
    assert "ir_model_data_name_nospaces" in message["message"]


@pytest.mark.parametrize("odd", ["a^b", "a/b", "a:b", "ä", "a.b.c", "a%20b", "a~b"])
def test_odd_external_ids_are_taken(odoo, odd):
    xid = f"{odoo.xid()}{odd}"
    record = odoo.load("res.partner", ["id", "name"], [xid, "A"])["ids"][0]
    assert odoo.load("res.partner", ["id", "name"], [xid, "B"])["ids"] == [record]


def test_external_id_without_a_module(odoo):
    name = odoo.name()
    record = odoo.load("res.partner", ["id", "name"], [name, "A"])["ids"][0]
    domain = [["module", "=", "__import__"], ["name", "=", name]]
    assert odoo.call("ir.model.data", "search_read", domain=domain, fields=["res_id"])[0]["res_id"] == record


def test_external_id_of_another_model(odoo):
    xid = odoo.xid()
    odoo.load("res.partner", ["id", "name"], [xid, "A"])
    message = only_message(odoo.load("res.partner.category", ["id", "name"], [xid, "A"]))
    assert f"For external id {xid} when trying to create/update a record of model" in message["message"]
    assert ("moreinfo" in message) is not odoo.new


def test_deleted_record_is_made_again(odoo):
    xid = odoo.xid()
    first = odoo.load("res.partner", ["id", "name"], [xid, "A"])["ids"][0]
    odoo.call("res.partner", "unlink", ids=[first])
    second = odoo.load("res.partner", ["id", "name"], [xid, "B"])["ids"][0]
    assert second > first


def test_reference_within_the_batch(odoo):
    company, person = odoo.xid("company"), odoo.xid("person")
    made = odoo.load(
        "res.partner", ["id", "name", "parent_id/id"], [company, "Clinic", ""], [person, "P", company]
    )
    assert made["messages"] == []
    assert odoo.get("res.partner", made["ids"][1], "parent_id")["parent_id"][0] == made["ids"][0]


def test_reference_of_the_wrong_model(odoo):
    message = only_message(
        odoo.load("res.partner", ["id", "name", "parent_id/id"], [odoo.xid(), "A", odoo.xid("none")])
    )
    assert message["field"] == "parent_id" and message["message"].startswith(
        "No matching record found for external id"
    )


def test_many2one_by_name_code_and_database_id(odoo):
    country = odoo.call("res.country", "search", domain=[["code", "=", "DE"]])[0]
    fields = ["id", "name", "country_id"]
    for cell in ("Germany", "DE"):
        record = odoo.load("res.partner", fields, [odoo.xid(), "A", cell])["ids"][0]
        assert odoo.get("res.partner", record, "country_id")["country_id"] == [country, "Germany"]
    record = odoo.load("res.partner", ["id", "name", "country_id/.id"], [odoo.xid(), "A", str(country)])[
        "ids"
    ][0]
    assert odoo.get("res.partner", record, "country_id")["country_id"][0] == country


def test_many2one_by_unknown_name_and_id(odoo):
    message = only_message(
        odoo.load("res.partner", ["id", "name", "country_id"], [odoo.xid(), "A", "Nowhere"])
    )
    assert message["message"] == "No matching record found for name 'Nowhere' in field 'Country'"
    assert message["moreinfo"]["res_model"] == "res.country"
    message = only_message(
        odoo.load("res.partner", ["id", "name", "country_id/.id"], [odoo.xid(), "A", "999999"])
    )
    assert message["message"] == "No matching record found for database id '999999' in field 'Country'"
    message = only_message(odoo.load("res.partner", ["id", "name", "country_id/.id"], [odoo.xid(), "A", "x"]))
    assert message["message"] == "Invalid database id 'x' for the field 'Country'"


def test_many2many_by_external_ids_sets(odoo):
    tags = [odoo.xid("t"), odoo.xid("t")]
    ids = odoo.load("res.partner.category", ["id", "name"], *[[tag, odoo.name()] for tag in tags])["ids"]
    xid = odoo.xid()
    record = odoo.load("res.partner", ["id", "name", "category_id/id"], [xid, "A", ",".join(tags)])["ids"][0]
    assert sorted(odoo.get("res.partner", record, "category_id")["category_id"]) == sorted(ids)
    odoo.load("res.partner", ["id", "category_id/id"], [xid, tags[0]])
    assert odoo.get("res.partner", record, "category_id")["category_id"] == [ids[0]]


def test_empty_many2many_cell(odoo):
    tag = odoo.xid("t")
    odoo.load("res.partner.category", ["id", "name"], [tag, odoo.name()])
    xid = odoo.xid()
    record = odoo.load("res.partner", ["id", "name", "category_id/id"], [xid, "A", tag])["ids"][0]
    odoo.load("res.partner", ["id", "category_id/id"], [xid, ""])
    assert odoo.get("res.partner", record, "category_id")["category_id"] == []


def test_selection_by_value_and_label(odoo):
    for cell in ("invoice", "Invoice" if odoo.new else "Invoice Address"):
        record = odoo.load("res.partner", ["id", "name", "type"], [odoo.xid(), "A", cell])["ids"][0]
        assert odoo.get("res.partner", record, "type")["type"] == "invoice"


def test_every_conversion_error_is_listed(odoo):
    fields = ["id", "name", "country_id", "lang", "active", "type"]
    answer = odoo.load("res.partner", fields, [odoo.xid(), "A", "Nowhere", "xx_XX", "maybe", "nonsense"])
    assert [message["field"] for message in answer["messages"]] == ["lang", "active", "type", "country_id"]
    texts = [message["message"] for message in answer["messages"]]
    assert texts[0] == "Value 'xx_XX' not found in selection field 'Language'"
    assert texts[1] == "Unknown value 'maybe' for boolean field 'Active'"
    assert answer["messages"][1]["moreinfo"] == "Use '1' for yes and '0' for no"


@pytest.mark.parametrize(
    ("cell", "active"), [("1", True), ("true", True), ("Yes", True), ("0", False), ("no", False)]
)
def test_booleans(odoo, cell, active):
    record = odoo.load("res.partner", ["id", "name", "is_company"], [odoo.xid(), "A", cell])["ids"][0]
    assert odoo.get("res.partner", record, "is_company")["is_company"] is active


def test_native_boolean_is_a_crash(odoo):
    caught = odoo.refused(
        "res.partner", "load", fields=["id", "name", "active"], data=[[odoo.xid(), "A", True]]
    )
    assert (caught.name, caught.message) == (
        "builtins.AttributeError",
        "'bool' object has no attribute 'lower'",
    )


def test_stops_after_ten_errors(odoo):
    rows = [[odoo.xid(), ""] for _ in range(15)]
    answer = odoo.load("res.partner", ["id", "name"], *rows)
    assert len(answer["messages"]) == 11 and answer["messages"][-1]["type"] == "warning"
    assert [message.get("record") for message in answer["messages"][:10]] == list(range(10))


def test_nothing_to_load(odoo):
    assert odoo.load("res.partner", ["id", "name"]) == {"ids": [], "messages": [], "nextrow": 0}


def test_row_by_database_id(odoo):
    record, name = odoo.partner(), odoo.name()
    assert odoo.load("res.partner", [".id", "name"], [str(record), name])["ids"] == [record]
    assert odoo.get("res.partner", record, "name")["name"] == name
    message = only_message(odoo.load("res.partner", [".id", "name"], ["99999999", "A"]))
    assert (message["field"], message["message"]) == (".id", "Unknown database identifier '99999999'")


def test_python_constraint_blames_the_first_row_too(odoo):
    fields = ["id", "name", "start", "stop"]
    good = [odoo.xid("e"), "good", "2024-04-02 10:00:00", "2024-04-02 11:00:00"]
    bad = [odoo.xid("e"), "bad", "2024-04-02 10:00:00", "2024-04-02 09:00:00"]
    answer = odoo.load("calendar.event", fields, good, bad)
    assert answer["ids"] is False
    assert [message["record"] for message in answer["messages"]] == ([0, 1] if odoo.new else [1])
    assert all("cannot be earlier than" in message["message"] for message in answer["messages"])


def test_datetimes_are_converted_from_the_zone_of_the_context(odoo):
    fields = ["id", "name", "start", "stop"]
    cells = [odoo.xid("e"), "A", "2024-04-02 15:00:00", "2024-04-02 15:30:00"]
    record = odoo.load("calendar.event", fields, cells, tz="America/Chicago")["ids"][0]
    found = odoo.get("calendar.event", record, "start", "stop", "duration")
    assert found == {
        "id": record,
        "start": "2024-04-02 20:00:00",
        "stop": "2024-04-02 20:30:00",
        "duration": 0.5,
    }


def test_bad_datetime(odoo):
    fields = ["id", "name", "start", "stop"]
    answer = odoo.load(
        "calendar.event", fields, [odoo.xid("e"), "A", "20240402100000", "2099-04-02 10:30:00"]
    )
    message = only_message(answer)
    assert message["message"] == "'20240402100000' does not seem to be a valid datetime for field 'Start'"
    assert message["moreinfo"] == "Use the format '2012-12-31 23:59:59'"
