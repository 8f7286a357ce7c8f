"""The engine's own client against the same Odoo."""

from twisted.internet.defer import Deferred, ensureDeferred, fail, succeed
from twisted.python.failure import Failure

from engine.odoo.client import OdooClient
from engine.odoo.errors import OdooError


class Direct:
    """A transport that asks at once."""

    def __init__(self, handle):
        self.handle = handle

    def request(self, method, path, headers, body) -> Deferred:
        try:
            status, found, data = self.handle(method, path, headers, body)
        except Exception:
            return fail(Failure())
        return succeed((status, {name.lower(): value for name, value in found.items()}, data))


def run(coroutine):
    results = []
    ensureDeferred(coroutine).addBoth(results.append)
    assert results, "the client waits for something"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def client(odoo, key=None):
    return OdooClient(Direct(odoo.handle), odoo.database, key or odoo.key, login=odoo.login)


def test_version_and_login(odoo):
    assert run(client(odoo).version())[0] == odoo.major
    run(client(odoo).authenticate())


def test_wrong_key(odoo):
    try:
        run(client(odoo, "wrong").authenticate())
    except OdooError as error:
        assert error.code == "odoo.login"
    else:
        raise AssertionError("a wrong key was accepted")


def test_load_read_search(odoo):
    asked = client(odoo)
    xid, name = odoo.xid(), odoo.name()
    record = run(asked.load("res.partner", ["id", "name"], [[xid, name]]))["ids"][0]
    assert run(asked.read("res.partner", [record], ["name"])) == [{"id": record, "name": name}]
    assert run(asked.search_read("res.partner", [["name", "=", name]], ["name"], limit=1))[0]["id"] == record


def test_fields(odoo):
    fields = run(client(odoo).fields_get("res.partner"))
    assert fields["country_id"]["relation"] == "res.country" and fields["name"]["type"] == "char"


def test_errors_are_classified(odoo):
    codes = {}
    for model, columns in (("hms.patient", ["id"]), ("res.partner", ["id", "birthdate"])):
        try:
            run(client(odoo).load(model, columns, [["isthmus.x"] + ["1"] * (len(columns) - 1)]))
        except OdooError as error:
            codes[model] = error.code
    assert set(codes) == {"hms.patient", "res.partner"} and "odoo.unknown" not in codes.values()
