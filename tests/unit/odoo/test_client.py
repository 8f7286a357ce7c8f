"""The client: protocol by version, one login, quiet context."""

import json

import pytest
from twisted.internet.defer import Deferred, succeed

from engine.odoo.client import QUIET, OdooClient
from engine.odoo.errors import OdooError
from engine.odoo.index import TTL, Found, XidIndex
from engine.states import Result


class Script:
    """Answers by path, and keeps what was asked."""

    def __init__(self, version, answer):
        self.version = version
        self.answer = answer
        self.asked = []

    def request(self, method, path, headers, body):
        asked = json.loads(body) if body else {}
        self.asked.append((method, path, asked))
        if path == "/web/version":
            found = {"version_info": self.version} if self.version[0] in range(17, 99) else None
            return succeed((200, {}, json.dumps(found).encode()) if found else (404, {}, b"<html>"))
        if path == "/jsonrpc":
            params = asked["params"]
            if params["method"] == "version":
                result = {"server_version_info": self.version}
            elif params["method"] == "authenticate":
                result = 6 if params["args"][2] == "key" else False
            else:
                result = self.answer
            return succeed((200, {}, json.dumps({"jsonrpc": "2.0", "id": 1, "result": result}).encode()))
        return succeed((200, {}, json.dumps(self.answer).encode()))


def wait(coroutine):
    got = []
    Deferred.fromCoroutine(coroutine).addBoth(got.append)
    if hasattr(got[0], "raiseException"):
        got[0].raiseException()
    return got[0]


def test_json2_from_19_on_with_a_quiet_context():
    wire = Script([19, 0], [])
    client = OdooClient(wire, "db", "key", context={"lang": "de_DE"})
    wait(client.search_read("res.partner", [], ["name"], limit=1))
    wait(client.read("res.partner", [1], ["name"]))
    assert [path for _, path, _ in wire.asked] == [
        "/web/version",
        "/json/2/res.partner/search_read",
        "/json/2/res.partner/read",
    ]
    assert wire.asked[1][2] == {
        "domain": [],
        "fields": ["name"],
        "limit": 1,
        "context": {**QUIET, "lang": "de_DE"},
    }
    assert wire.asked[2][2]["context"]["active_test"] is False


@pytest.mark.parametrize("version", [[16, 0], [18, 0], ["saas~18", 2]])
def test_jsonrpc_before_with_one_login(version):
    wire = Script(version, [])
    client = OdooClient(wire, "db", "key", login="hl7")
    wait(client.read("m", [1], ["f"]))
    wait(client.using({"lang": "fr_FR"}).read("m", [1], ["f"]))
    methods = [asked["params"]["method"] for _, path, asked in wire.asked if path == "/jsonrpc"]
    assert methods.count("authenticate") == 1
    assert methods[-2:] == ["execute_kw", "execute_kw"]
    assert wire.asked[-1][2]["params"]["args"][:5] == ["db", 6, "key", "m", "read"]
    assert wire.asked[-1][2]["params"]["args"][6]["context"]["lang"] == "fr_FR"


@pytest.mark.parametrize(
    ("version", "key", "login", "code"),
    [
        ([16, 0], "key", "", "odoo.login"),
        ([16, 0], "bad", "hl7", "odoo.login"),
        ([15, 0], "key", "hl7", "odoo.version"),
    ],
)
def test_refused(version, key, login, code):
    with pytest.raises(OdooError) as caught:
        wait(OdooClient(Script(version, []), "db", key, login=login).call("m", "f"))
    assert (caught.value.result, caught.value.code) == (Result.CONFIG, code)


def test_mail_only_when_asked_for():
    client = OdooClient(Script([19, 0], []), "db", "key")
    assert client.using({}).context["no_mail_to_attendees"] is True
    loud = client.using({}, mail=True).context
    assert not {"no_mail_to_attendees", "dont_notify"} & loud.keys()
    assert client.context["dont_notify"] is True


def test_an_answer_of_another_shape_is_an_error():
    with pytest.raises(OdooError) as caught:
        wait(OdooClient(Script([19, 0], "hello"), "db", "key").load("m", ["id"], [["x"]]))
    assert caught.value.code == "odoo.answer"


def test_the_key_is_never_shown():
    assert "key" not in repr(OdooClient(Script([19, 0], []), "db", "secretkey"))


def test_external_ids_are_kept_for_a_while():
    now = [0.0]
    wire = Script([19, 0], [{"name": "n", "model": "res.partner", "res_id": 5}])
    client = OdooClient(wire, "db", "key")
    index = XidIndex(lambda: now[0])
    assert wait(index.resolve(client, ["isthmus.n"])) == {"isthmus.n": Found("res.partner", 5)}
    asked = len(wire.asked)
    wait(index.resolve(client, ["isthmus.n"]))
    assert len(wire.asked) == asked
    for again in (lambda: index.forget(["isthmus.n"]), lambda: now.__setitem__(0, now[0] + TTL + 1)):
        again()
        wait(index.resolve(client, ["isthmus.n"]))
        asked += 1
        assert len(wire.asked) == asked


def test_external_ids_that_may_not_be_read():
    class Forbidden(Script):
        def request(self, method, path, headers, body):
            if "ir.model.data" in path:
                error = {"name": "odoo.exceptions.AccessError", "message": "no"}
                return succeed((403, {}, json.dumps(error).encode()))
            return super().request(method, path, headers, body)

    now = [0.0]
    index = XidIndex(lambda: now[0])
    assert index.readable
    assert wait(index.resolve(OdooClient(Forbidden([19, 0], []), "db", "key"), ["isthmus.n"])) == {}
    assert not index.readable
    now[0] += TTL
    assert index.readable


def test_fields_are_asked_again_in_time():
    now = [0.0]
    wire = Script([19, 0], {"name": {"type": "char"}})
    client = OdooClient(wire, "db", "key", seconds=lambda: now[0])
    for at, age, asked in ((0, 60, 2), (59, 60, 2), (61, 60, 3), (100, 3600, 3)):
        now[0] = float(at)
        assert wait(client.fields_get("m", age)) == {"name": {"type": "char"}}
        assert len(wire.asked) == asked  # the version is the first
