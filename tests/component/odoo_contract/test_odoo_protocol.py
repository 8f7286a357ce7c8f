"""The two protocols: what goes over the wire, and what is refused before a model is asked."""

import json

import pytest

HTML = "text/html; charset=utf-8"
JSON = "application/json; charset=utf-8"


def only_new(odoo):
    if not odoo.new:
        status, _, _ = odoo.raw("/json/2/res.partner/search", b'{"domain": []}')
        assert status == 404
    return odoo.new


def rpc(odoo, model, method, args, **named):
    where = [odoo.database, odoo.uid(), odoo.key, model, method, args, named]
    return odoo.rpc("object", "execute_kw", where)[1]


def test_version(odoo):
    status, value = odoo.rpc("common", "version", [])
    assert status == 200 and value["jsonrpc"] == "2.0" and value["id"] == 7
    assert value["result"]["server_version_info"][:2] == odoo.version[:2]
    status, _, body = odoo.handle("GET", "/web/version", {"Accept": "application/json"}, b"")
    if odoo.new:
        assert status == 200 and json.loads(body)["version_info"][:2] == odoo.version[:2]
    else:
        assert status == 404


def test_authenticate(odoo):
    assert isinstance(odoo.uid(), int)
    for method in ("authenticate", "login"):
        args = [odoo.database, odoo.login, "wrong", *([{}] if method == "authenticate" else [])]
        assert odoo.rpc("common", method, args)[1]["result"] is False
    assert odoo.rpc("common", "authenticate", [odoo.database, "nobody", odoo.key, {}])[1]["result"] is False


def test_wrong_key_over_json_rpc(odoo):
    where = [odoo.database, odoo.uid(), "wrong", "res.partner", "search", [[]], {}]
    status, value = odoo.rpc("object", "execute_kw", where)
    assert status == 200 and value["error"]["data"]["name"] == "odoo.exceptions.AccessDenied"
    assert value["error"]["message"] == "Odoo Server Error"
    assert value["error"]["code"] == (0 if odoo.new else 200)


def test_unknown_model_and_method_over_json_rpc(odoo):
    data = rpc(odoo, "hms.patient", "search", [[]])["error"]["data"]
    assert (data["name"], data["message"]) == (
        "odoo.exceptions.UserError",
        "Object hms.patient doesn't exist",
    )
    assert rpc(odoo, "res.partner", "frobnicate", [])["error"]["data"]["name"] == "builtins.AttributeError"
    assert rpc(odoo, "res.partner", "_search", [[]])["error"]["data"]["name"] == "odoo.exceptions.AccessError"


def test_wrong_arguments_over_json_rpc(odoo):
    assert (
        rpc(odoo, "res.partner", "search", [[]], nonsense=1)["error"]["data"]["name"] == "builtins.TypeError"
    )
    assert rpc(odoo, "res.partner", "search", [])["error"]["data"]["name"] == "builtins.TypeError"


def test_json_rpc_reads_and_writes(odoo):
    name = odoo.name()
    record = rpc(odoo, "res.partner", "create", [{"name": name}])["result"]
    assert isinstance(record, int)
    assert rpc(odoo, "res.partner", "read", [[record], ["name"]])["result"] == [{"id": record, "name": name}]
    assert rpc(odoo, "res.partner", "write", [[record], {"name": "B"}])["result"] is True


def test_malformed_json_over_json_rpc(odoo):
    status, _, body = odoo.handle("POST", "/jsonrpc", {"Content-Type": "application/json"}, b"{")
    if odoo.new:
        assert status == 400 and body == b"Invalid JSON data"
    else:
        data = json.loads(body)["error"]["data"]
        assert status == 200 and data["name"] == "werkzeug.exceptions.BadRequest"


def test_body_that_is_no_object_over_json_rpc(odoo):
    status, headers, _ = odoo.handle("POST", "/jsonrpc", {"Content-Type": "application/json"}, b"[]")
    assert (status, headers["Content-Type"]) == (400 if odoo.new else 500, HTML)


def test_wrong_content_type_over_json_rpc(odoo):
    status, headers, _ = odoo.handle("POST", "/jsonrpc", {"Content-Type": "text/plain"}, b"{}")
    assert (status, headers["Content-Type"]) == (415 if odoo.new else 400, HTML)


def test_context_get(odoo):
    found = odoo.call("res.users", "context_get")
    mine = odoo.get("res.users", odoo.uid(), "lang", "tz")  # whatever the user of a real server has
    assert found["lang"] == mine["lang"] and found["tz"] == mine["tz"]


def test_json2_keys(odoo):
    if not only_new(odoo):
        return
    path, body = "/json/2/res.partner/search", b'{"domain": []}'
    for header, text in (
        ("bearer wrong", "Invalid apikey"),
        ("", "User not authenticated, use an API Key with a Bearer Authorization header."),
    ):
        status, headers, answer = odoo.raw(path, body, Authorization=header)
        value = json.loads(answer)
        assert (
            status == 401 and value["name"] == "werkzeug.exceptions.Unauthorized" and value["message"] == text
        )
        assert headers["WWW-Authenticate"].strip() == "Bearer"
    assert odoo.raw(path, body, Authorization=f"Bearer {odoo.key}")[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "status", "name", "message"),
    [
        ("hms.patient/search", {}, 404, "NotFound", "the model 'hms.patient' does not exist"),
        ("res.partner/frobnicate", {}, 404, "NotFound", "The method 'res.partner.frobnicate' does not exist"),
        ("res.partner", {}, 404, "NotFound", "Did you mean POST /json/2/<model>/<method>?"),
        ("res.partner/search", {}, 422, "UnprocessableEntity", "missing a required argument: 'domain'"),
        (
            "res.partner/search",
            {"domain": [], "nonsense": 1},
            422,
            "UnprocessableEntity",
            "got an unexpected keyword argument 'nonsense'",
        ),
        (
            "res.partner/search",
            {"ids": [1], "domain": []},
            422,
            "UnprocessableEntity",
            "cannot call res.partner.search with ids",
        ),
    ],
)
def test_json2_refuses(odoo, path, body, status, name, message):
    if not only_new(odoo):
        return
    found, headers, answer = odoo.raw(f"/json/2/{path}", json.dumps(body).encode())
    value = json.loads(answer)
    assert (found, value["name"], value["message"]) == (status, f"werkzeug.exceptions.{name}", message)
    assert value["arguments"] == [message, status] and headers["Content-Type"] == JSON


def test_json2_private_method(odoo):
    if not only_new(odoo):
        return
    status, _, body = odoo.raw("/json/2/res.partner/_search", b"{}")
    text = "Private methods (such as 'res.partner._search') cannot be called remotely."
    assert status == 403 and json.loads(body)["message"] == text


def test_json2_malformed_body(odoo):
    if not only_new(odoo):
        return
    for body in (b'{"domain": [', b"{", b"nonsense", b'{"a" 1}'):
        status, _, answer = odoo.raw("/json/2/res.partner/search", body)
        value = json.loads(answer)
        assert status == 400 and value["name"] == "werkzeug.exceptions.BadRequest"
        try:
            json.loads(body)
        except ValueError as error:
            assert value["message"] == f"could not parse the body as json: {error}"


def test_json2_wrong_content_type(odoo):
    if not only_new(odoo):
        return
    status, headers, _ = odoo.raw("/json/2/res.partner/search", b'{"domain": []}', Content_Type="text/plain")
    assert (status, headers["Content-Type"]) == (415, HTML)


def test_json2_wrong_database(odoo):
    if not only_new(odoo):
        return
    status, headers, body = odoo.raw(
        "/json/2/res.partner/search", b'{"domain": []}', X_Odoo_Database="nowhere"
    )
    assert (status, headers["Content-Type"]) == (404, HTML) and b"No database is selected" in body


def test_json2_get_is_not_a_call(odoo):
    if not only_new(odoo):
        return
    headers = {"Authorization": f"bearer {odoo.key}", "X-Odoo-Database": odoo.database}
    status, _, body = odoo.handle("GET", "/json/2/res.partner/search", headers, b"")
    assert status in (404, 405), body


def test_both_protocols_see_the_same(odoo):
    record = odoo.partner()
    for protocol in ("json2", "jsonrpc") if odoo.new else ("jsonrpc",):
        found = odoo.call("res.partner", "read", ids=[record], fields=["id"], protocol=protocol)
        assert found == [{"id": record}]
