"""create, write, read, search, unlink and what they refuse."""

import pytest


def test_new_contact_has_defaults(odoo):
    record = odoo.partner()
    found = odoo.get(
        "res.partner",
        record,
        "active",
        "type",
        "company_type",
        "lang",
        "tz",
        "category_id",
        "parent_id",
        "ref",
    )
    assert found == {
        "id": record,
        "active": True,
        "type": "contact",
        "company_type": "person",
        "lang": "en_US",
        "tz": "UTC",
        "category_id": [],
        "parent_id": False,
        "ref": False,
    }


def test_create_one_and_several(odoo):
    several = odoo.call("res.partner", "create", vals_list=[{"name": odoo.name()}, {"name": odoo.name()}])
    assert len(several) == 2
    one = odoo.call("res.partner", "create", vals_list={"name": odoo.name()})
    assert isinstance(one, list if odoo.new else int)


def test_create_and_write_stamps(odoo):
    record = odoo.partner()
    found = odoo.get("res.partner", record, "create_date", "write_date", "create_uid", "write_uid")
    assert found["create_date"] == found["write_date"] and len(found["create_date"]) == 19
    assert found["create_uid"] == found["write_uid"] and isinstance(found["create_uid"][0], int)


def test_unknown_field_in_create_and_write(odoo):
    caught = odoo.refused("res.partner", "create", vals_list=[{"name": "A", "birthdate": "1980-01-01"}])
    where = "in 'res.partner'" if odoo.new else "on model 'res.partner'"
    assert (caught.name, caught.message) == ("builtins.ValueError", f"Invalid field 'birthdate' {where}")
    caught = odoo.refused("res.partner", "write", ids=[odoo.partner()], vals={"birthdate": "1980-01-01"})
    assert caught.name == ("builtins.KeyError" if odoo.new else "builtins.ValueError")
    assert "birthdate" in caught.message


def test_unknown_field_in_read(odoo):
    caught = odoo.refused("res.partner", "read", ids=[odoo.partner()], fields=["nope"])
    where = "on 'res.partner'" if odoo.new else "on model 'res.partner'"
    assert (caught.name, caught.message) == ("builtins.ValueError", f"Invalid field 'nope' {where}")


def test_bad_selection(odoo):
    caught = odoo.refused("res.partner", "create", vals_list=[{"name": "A", "type": "nonsense"}])
    assert (caught.name, caught.message) == (
        "builtins.ValueError",
        "Wrong value for res.partner.type: 'nonsense'",
    )


def test_name_is_required(odoo):
    record = odoo.partner()
    for named in (
        {"method": "create", "vals_list": [{}]},
        {"method": "write", "ids": [record], "vals": {"name": False}},
    ):
        caught = odoo.refused("res.partner", **named)
        if odoo.new:
            assert caught.name == "odoo.exceptions.ValidationError"
            assert caught.message == "The operation cannot be completed: Contacts require a name"
        else:
            assert (caught.name, caught.message) == ("builtins.KeyError", "lang")


def test_not_null(odoo):
    caught = odoo.refused("res.partner.category", "create", vals_list=[{"color": 1}])
    assert caught.name == "odoo.exceptions.ValidationError" and "(name)" in caught.message


def test_missing_record(odoo):
    for method, named in (("write", {"vals": {"name": "A"}}), ("unlink", {})):
        caught = odoo.refused("res.partner", method, ids=[99999999], **named)
        assert caught.name == "odoo.exceptions.MissingError"
        assert caught.message.startswith(
            "Record does not exist or has been deleted.\n(Record: res.partner(99999999,)"
        )
    assert odoo.call("res.partner", "read", ids=[99999999], fields=["name"]) == []


DANGLING = [
    ("res.partner", {"name": "x"}, "country_id", "w", "", ""),
    ("res.partner", {"name": "x"}, "parent_id", "c", "", "w"),
    ("res.partner", {"name": "x"}, "state_id", "", "", ""),
    ("res.partner", {"name": "x"}, "category_id", "c", "", ""),
    ("crm.lead", {"name": "x"}, "partner_id", "w", "", ""),
    ("crm.lead", {"name": "x"}, "country_id", "", "w", ""),
    ("calendar.event", {"name": "x"}, "categ_ids", "", "", ""),
    ("sale.order", {}, "partner_id", "cw", "", ""),
]


@pytest.mark.parametrize(("model", "vals", "field", "both", "old", "new"), DANGLING, ids=str)
def test_reference_to_nothing(odoo, model, vals, field, both, old, new):
    """A real server gives these answers when it has Sales (and so Accounting), CRM and Calendar."""
    nothing = [[6, 0, [99999]]] if field in ("category_id", "categ_ids") else 99999
    first = vals or {"partner_id": odoo.partner()}
    made = odoo.call(model, "create", vals_list=[first])
    for verb, caught in (
        ("c", odoo.refused(model, "create", vals_list=[{**first, field: nothing}])),
        ("w", odoo.refused(model, "write", ids=made, vals={field: nothing})),
    ):
        early = verb in both + (new if odoo.new else old)
        assert caught.name == f"odoo.exceptions.{'MissingError' if early else 'ValidationError'}", verb
        assert ("does not exist" if early else "the record") in str(caught)


def test_delete_what_is_referred_to(odoo):
    partner = odoo.partner()
    odoo.call("sale.order", "create", vals_list=[{"partner_id": partner}])
    caught = odoo.refused("res.partner", "unlink", ids=[partner])
    assert caught.name == "odoo.exceptions.ValidationError"
    assert ("'Sales Order'" if odoo.new else "sale_order_partner_id_fkey") in str(caught)


def test_unlink(odoo):
    record = odoo.partner()
    assert odoo.call("res.partner", "unlink", ids=[record]) is True
    assert odoo.call("res.partner", "read", ids=[record], fields=["name"]) == []


def test_archive_methods(odoo):
    record = odoo.partner()
    odoo.call("res.partner", "action_archive", ids=[record])
    assert odoo.get("res.partner", record, "active")["active"] is False
    odoo.call("res.partner", "action_unarchive", ids=[record])
    assert odoo.get("res.partner", record, "active")["active"] is True


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a", "<p>a</p>"),
        ("a\nb", "<p>a\nb</p>"),
        ("<b>x</b> & y", "<span><b>x</b> &amp; y</span>"),
        ("<script>alert(1)</script>x", "<p>x</p>"),
        ("", ""),
        ("a < b", "<p>a &lt; b</p>"),
        ("<p>one</p><p>two</p>", "<p>one</p><p>two</p>"),
        ("a<br>b", "<p>a<br>b</p>"),
        ("x<p>y</p>", "<p>x</p><p>y</p>"),
        ('<a href="javascript:alert(1)">z</a>', '<a href="">z</a>'),
        ("&lt;b&gt;", "<p>&lt;b&gt;</p>"),
        ("  ", ""),
    ],
)
def test_html_is_sanitized(odoo, text, stored):
    assert odoo.get("res.partner", odoo.partner(comment=text), "comment")["comment"] == stored


def test_many2many_commands(odoo):
    tags = odoo.call("res.partner.category", "create", vals_list=[{"name": odoo.name()} for _ in range(3)])
    record = odoo.partner(category_id=[[6, 0, tags[:2]]])

    def now():
        return sorted(odoo.get("res.partner", record, "category_id")["category_id"])

    assert now() == tags[:2]
    for command, expected in (
        ([4, tags[2], 0], tags),
        ([3, tags[0], 0], tags[1:]),
        ([5, 0, 0], []),
        ([6, 0, [tags[0]]], [tags[0]]),
    ):
        odoo.call("res.partner", "write", ids=[record], vals={"category_id": [command]})
        assert now() == expected


def test_domains(odoo):
    mark = odoo.name("ref")
    a = odoo.partner(ref=mark, city="Ulm", name=f"{mark} Anna")
    b = odoo.partner(ref=mark, city="Bonn", name=f"{mark} Bea", is_company=True)
    c = odoo.partner(ref=mark, name=f"{mark} Carl")
    base = [["ref", "=", mark]]

    def found(*domain):
        return odoo.call("res.partner", "search", domain=[*base, *domain], order="id")

    assert found() == [a, b, c]
    assert found(["city", "=", "Ulm"]) == [a]
    assert found(["city", "!=", "Ulm"]) == [b, c]
    assert found(["city", "=", False]) == [c]
    assert found(["city", "!=", False]) == [a, b]
    assert found(["city", "in", ["Ulm", "Bonn"]]) == [a, b]
    assert found(["city", "in", ["Ulm", False]]) == [a, c]
    assert found(["city", "not in", ["Ulm"]]) == [b, c]
    assert found(["name", "ilike", "ANNA"]) == [a]
    assert found(["name", "like", "ANNA"]) == []
    assert found(["name", "not ilike", "anna"]) == [b, c]
    assert found(["name", "=ilike", f"{mark} b%"]) == [b]
    assert found(["is_company", "=", True]) == [b]
    assert found(["is_company", "=", False]) == [a, c]
    assert found("|", ["city", "=", "Ulm"], ["city", "=", "Bonn"]) == [a, b]
    assert found("!", ["city", "=", "Ulm"]) == [b, c]
    assert found(["id", ">", a]) == [b, c]
    assert found(["id", "in", []]) == []


def test_relational_domains(odoo):
    tag = odoo.call("res.partner.category", "create", vals_list=[{"name": odoo.name("tag")}])[0]
    parent = odoo.partner(is_company=True)
    germany = odoo.call("res.country", "search", domain=[["code", "=", "DE"]])[0]
    child = odoo.partner(parent_id=parent, category_id=[[6, 0, [tag]]], country_id=germany)

    def found(*domain):
        return odoo.call("res.partner", "search", domain=list(domain), order="id")

    assert found(["category_id", "in", [tag]]) == [child]
    assert found(["parent_id", "=", parent]) == [child]
    assert found(["parent_id", "=", parent], ["country_id.code", "=", "DE"]) == [child]
    assert found(["parent_id", "=", parent], ["country_id", "=", "Germany"]) == [child]
    assert found(["parent_id", "=", parent], ["country_id", "!=", False]) == [child]
    assert found(["id", "child_of", parent]) == [parent, child]
    assert odoo.get("res.partner", parent, "child_ids")["child_ids"] == [child]


def test_order_limit_offset_count(odoo):
    mark = odoo.name("ref")
    ids = [
        odoo.partner(ref=mark, name=f"{mark}{letter}", city=city)
        for letter, city in (("b", "Z"), ("a", False), ("c", "A"))
    ]
    domain = [["ref", "=", mark]]

    def found(**more):
        return odoo.call("res.partner", "search", domain=domain, **more)

    assert found(order="name") == [ids[1], ids[0], ids[2]]
    assert found(order="name desc, id") == [ids[2], ids[0], ids[1]]
    assert found(order="city") == [ids[2], ids[0], ids[1]]
    assert found(order="city desc") == [ids[1], ids[0], ids[2]]
    assert found(order="name", limit=1, offset=1) == [ids[0]]
    assert found() == [ids[1], ids[0], ids[2]]
    assert odoo.call("res.partner", "search_count", domain=domain) == 3


def test_bad_domains(odoo):
    caught = odoo.refused("res.partner", "search", domain=[["nope", "=", 1]])
    kind = "condition" if odoo.new else "leaf"
    assert caught.message == f"Invalid field res.partner.nope in {kind} ('nope', '=', 1)"
    caught = odoo.refused("res.partner", "search", domain=[["name", "~~", 1]])
    assert caught.name == "builtins.ValueError" and "('name', '~~', 1)" in caught.message
    assert odoo.refused("res.partner", "search", domain=[], order="nope").name == "builtins.ValueError"


def test_search_read(odoo):
    record = odoo.partner(ref=odoo.name("r"))
    ref = odoo.get("res.partner", record, "ref")["ref"]
    found = odoo.call("res.partner", "search_read", domain=[["ref", "=", ref]], fields=["ref"], limit=2)
    assert found == [{"id": record, "ref": ref}]


def test_name_search(odoo):
    name = odoo.name("Search")
    record = odoo.partner(name=name)
    assert odoo.call("res.partner", "name_search", name=name) == [[record, name]]
    assert odoo.call("res.country", "name_search", name="germ")[0][1] == "Germany"
    assert odoo.call("res.country", "name_search", name="US")[0][1] == "United States"


def test_display_names(odoo):
    company = odoo.partner(name=odoo.name("Clinic"), is_company=True)
    person = odoo.partner(name="Doe", parent_id=company)
    shown = odoo.get("res.partner", company, "display_name")["display_name"]
    assert odoo.get("res.partner", person, "display_name")["display_name"] == f"{shown}, Doe"


def test_external_id_can_be_adopted_once(odoo):
    record, name = odoo.partner(), odoo.name()
    vals = {"module": "isthmus", "name": name, "model": "res.partner", "res_id": record}
    odoo.call("ir.model.data", "create", vals_list=[vals])
    caught = odoo.refused("ir.model.data", "create", vals_list=[vals])
    assert (
        caught.name == "odoo.exceptions.ValidationError"
        and "ir_model_data_module_name_uniq_index" in caught.message
    )
    assert odoo.load("res.partner", ["id", "name"], [f"isthmus.{name}", "Adopted"])["ids"] == [record]


def test_fields_get(odoo):
    attributes = ["type", "string", "required", "readonly", "relation"]
    found = odoo.call(
        "res.partner", "fields_get", allfields=["name", "country_id", "write_date"], attributes=attributes
    )
    assert found == {
        "name": {"type": "char", "string": "Name", "required": False, "readonly": False},
        "country_id": {
            "type": "many2one",
            "string": "Country",
            "required": False,
            "readonly": False,
            "relation": "res.country",
        },
        "write_date": {"type": "datetime", "string": "Last Updated on", "required": False, "readonly": True},
    }


def test_fields_of_the_version(odoo):
    names = set(odoo.call("res.partner", "fields_get", attributes=["type"]))
    assert ("mobile" in names, "title" in names) == ((False, False) if odoo.new else (True, True))
    assert {"name", "ref", "phone", "email", "comment", "category_id"} <= names


def test_countries_states_languages(odoo):
    found = odoo.call(
        "res.country", "search_read", domain=[["code", "in", ["US", "DE"]]], fields=["code", "name"]
    )
    assert [(one["code"], one["name"]) for one in found] == [("DE", "Germany"), ("US", "United States")]
    assert odoo.call("res.country", "search_count", domain=[]) >= 250
    domain = [["code", "=", "IL"], ["country_id.code", "=", "US"]]
    assert (
        odoo.call("res.country.state", "search_read", domain=domain, fields=["name"])[0]["name"] == "Illinois"
    )
    assert [one["code"] for one in odoo.call("res.lang", "search_read", domain=[], fields=["code"])] == [
        "en_US"
    ]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("base.us", "US"),
        ("base.uk", "GB"),
        ("base.de", "DE"),
        ("base.br", "BR"),
        ("base.in", "IN"),
        ("base.xk", "XK"),
    ],
)
def test_external_ids_of_countries(odoo, name, code):
    record = odoo.load("res.partner", ["id", "name", "country_id/id"], [odoo.xid(), "A", name])["ids"][0]
    country = odoo.get("res.partner", record, "country_id")["country_id"][0]
    assert odoo.get("res.country", country, "code")["code"] == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("state_us_5", "CA"),
        ("state_us_51", "WY"),
        ("state_us_pr", "PR"),
        ("state_ca_on", "ON"),
        ("state_au_2", "NSW"),
    ],
)
def test_external_ids_of_states(odoo, name, code):
    record = odoo.load("res.partner", ["id", "name", "state_id/id"], [odoo.xid(), "A", f"base.{name}"])[
        "ids"
    ][0]
    state = odoo.get("res.partner", record, "state_id")["state_id"][0]
    assert odoo.get("res.country.state", state, "code")["code"] == code
