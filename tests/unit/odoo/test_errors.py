"""The classifier against what real servers answered, and texts that hold no data."""

import json
from pathlib import Path

import pytest

from engine.odoo.errors import OdooError, classify, not_json, row_error, scrub
from engine.odoo.protocol import Call, Json2, JsonRpc
from engine.states import Result

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "facts" / "fixtures" / "odoo_exchanges.jsonl"
EXPECTED = {
    "load with unknown column": (Result.PERMANENT, "odoo.unknown_field"),
    "search_read of external ids": (Result.CONFIG, "odoo.access"),
    "create unknown field": (Result.PERMANENT, "odoo.unknown_field"),
    "create bad selection": (Result.PERMANENT, "odoo.value"),
    "write missing id": (Result.PERMANENT, "odoo.missing"),
    "unknown model": (Result.CONFIG, "odoo.unknown_model"),
    "unknown method": (Result.CONFIG, "odoo.unknown_method"),
    "private method": (Result.PERMANENT, "odoo.private_method"),
    "access denied": (Result.CONFIG, "odoo.access"),
    "unlink refused or done": (Result.PERMANENT, "odoo.missing"),
    "bad key": (Result.CONFIG, "odoo.login"),
    "bad keyword argument": (Result.CONFIG, "odoo.access"),  # the server met a missing right first
    "malformed JSON": (Result.PERMANENT, "odoo.arguments"),
    "wrong content type": (Result.PERMANENT, "odoo.arguments"),
}
ROWS = {
    "load with one bad row (unknown external id)": (Result.PERMANENT, "odoo.value", "res.partner.country_id"),
    "load with empty required name": (Result.PERMANENT, "odoo.validation", "res.partner"),
    "load external id with a space": (Result.PERMANENT, "odoo.validation", "res.partner"),
    "load bad datetime": (Result.PERMANENT, "odoo.value", "calendar.event.start"),
}


def recorded():
    if not RECORDED.is_file():
        return []
    return [json.loads(line) for line in RECORDED.read_text("utf-8").splitlines()]


def replay(exchange):
    """The value or the error that the client makes of a recorded answer."""
    answer, request = exchange["response"], exchange["request"]
    text = answer["non_json"] if isinstance(answer, dict) and "non_json" in answer else json.dumps(answer)
    if exchange["protocol"].startswith("json2"):
        _, _, _, model, method = request["path"].split("/")
        body = request["body"] if isinstance(request.get("body"), dict) else {}
        call = Call(model, method, kwargs={"fields": body.get("fields")} if method == "load" else {})
        wire = Json2("db", "key")
    else:
        args = request["body"]["params"]["args"]
        call = Call(args[3], args[4], kwargs={"fields": args[5][0]} if args[4] == "load" else {})
        wire = JsonRpc("db", "key")
    try:
        return call, wire.answer(call, exchange["status"], text.encode())
    except OdooError as error:
        return call, error


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded exchanges are not beside the repository")
def test_every_recorded_answer_has_its_class():
    seen = set()
    for exchange in recorded():
        case, (call, got) = exchange["case"], replay(exchange)
        seen.add(case)
        if case == "wrong database":
            want = Result.RETRY if exchange["protocol"].startswith("json2") else Result.CONFIG
            assert got.result == want, exchange
        elif case in EXPECTED:
            assert isinstance(got, OdooError), (case, got)
            assert (got.result, got.code) == EXPECTED[case], (exchange["protocol"], case, got)
        elif case in ROWS:
            values = [cell for row in _rows(exchange) for cell in row]
            found = row_error(got["messages"][0], call.model, values)
            assert (found.result, found.code, found.where) == ROWS[case]
            for secret in ("base.zz", "pat ient", "2024-04-02T10:00:00Z"):
                assert secret not in str(found)
        else:
            assert not isinstance(got, OdooError), (case, got)
    assert seen >= EXPECTED.keys() | ROWS.keys() | {"wrong database"}


def _rows(exchange):
    body = exchange["request"]["body"]
    return body["data"] if "data" in body else body["params"]["args"][5][1]


@pytest.mark.skipif(not RECORDED.is_file(), reason="the recorded exchanges are not beside the repository")
def test_unknown_column_names_its_place_on_every_version():
    places = {
        replay(exchange)[1].where for exchange in recorded() if exchange["case"] == "load with unknown column"
    }
    assert places == {"res.partner.birthdate"}


@pytest.mark.parametrize(
    ("name", "message", "result", "code"),
    [
        ("psycopg2.errors.SerializationFailure", "could not serialize", "retry", "odoo.serialization"),
        ("psycopg2.errors.DeadlockDetected", "deadlock detected", "retry", "odoo.serialization"),
        ("psycopg2.errors.LockNotAvailable", "", "retry", "odoo.serialization"),
        ("psycopg2.errors.ReadOnlySqlTransaction", "", "retry", "odoo.database"),
        ("psycopg2.OperationalError", "Connection refused", "retry", "odoo.database"),
        ("psycopg2.OperationalError", 'database "x" does not exist', "config", "odoo.unknown_database"),
        ("psycopg2.InterfaceError", "connection already closed", "retry", "odoo.database"),
        ("psycopg2.errors.InvalidTextRepresentation", "", "permanent", "odoo.value"),
        ("odoo.exceptions.ValidationError", "no", "permanent", "odoo.validation"),
        ("odoo.exceptions.UserError", "no journal", "permanent", "odoo.user"),
        ("odoo.exceptions.LockError", "", "retry", "odoo.serialization"),
        ("builtins.KeyError", "lang", "permanent", "odoo.validation"),
        ("builtins.KeyError", "other", "permanent", "odoo.error"),
        ("builtins.Exception", "CPU time limit exceeded.", "retry", "odoo.limit"),
        ("werkzeug.exceptions.UnprocessableEntity", "missing 'domain'", "permanent", "odoo.arguments"),
    ],
)
def test_matrix(name, message, result, code):
    error = classify(name, message, "res.partner")
    assert (error.result, error.code) == (result, code)


@pytest.mark.parametrize("status", [404, 429, 500, 502, 503, 504])
def test_an_answer_that_is_not_json_may_have_been_applied(status):
    assert not_json(status, b"<html>").result == Result.UNKNOWN


def test_status_of_a_json_error_does_not_matter():
    body = json.dumps({"name": "builtins.ValueError", "message": "bad"}).encode()
    for status in (400, 404, 500, 503):
        with pytest.raises(OdooError) as caught:
            Json2("db", "key").answer(Call("m", "f"), status, body)
        assert caught.value.result == Result.PERMANENT


def test_texts_hold_no_data():
    text = (
        'duplicate key value violates unique constraint "x"\n'
        "DETAIL:  Key (ref)=(SECRET) already exists. Failing row contains (SECRET, 1980)"
    )
    assert "SECRET" not in scrub(text)
    assert "Jane Roe" not in scrub("Partner Jane Roe exists", values=["Jane Roe"])
    assert scrub("call 5551234567 or j@x.org") == "call … or …"
    assert scrub("no 'ref' in 'res.partner' for 'Jane'", ("res.partner", "ref")) == (
        "no 'ref' in 'res.partner' for '…'"
    )


def test_load_message_of_two_writers_is_retried():
    error = row_error({"message": "could not serialize access due to concurrent update"}, "res.partner")
    assert error.result == Result.RETRY
    start = "Unknown error during import: <class "
    busy = row_error({"message": f"{start}'psycopg2.errors.SerializationFailure'>: belegt"}, "res.partner")
    assert busy.result == Result.RETRY
    text = f"{start}'odoo.exceptions.AccessError'>: You are not allowed to create 'Lead' (crm.lead) records."
    assert row_error({"message": text}, "crm.lead").code == "odoo.access"
    text = f"{start}'odoo.exceptions.ValidationError'>: Jane Roe is recursive"
    loop = row_error({"message": text}, "res.partner", ["Jane Roe"])
    assert (loop.code, "Jane" in str(loop)) == ("odoo.validation", False)
    right = row_error({"message": "You are not allowed to create 'Lead' (crm.lead) records."}, "crm.lead")
    assert (right.result, right.code) == (Result.CONFIG, "odoo.access")


def test_a_missing_right_tells_only_what_odoo_itself_says():
    """It holds a destination, so it is logged and shown in `status`: what a module wrote may name a patient."""
    own = "You are not allowed to access 'Contact' (res.partner) records."
    error = classify(
        "odoo.exceptions.AccessError", f"{own}\n\nRecords: Jane Doe (res.partner: 45)", "res.partner"
    )
    assert own[:-1] in str(error) and "Jane" not in str(error)
    error = classify("odoo.exceptions.AccessError", "Only a doctor may change Jane Doe", "res.partner")
    assert (error.code, error.detail) == ("odoo.access", "Only a doctor may change Jane Doe")
    assert "Jane" not in str(error)
