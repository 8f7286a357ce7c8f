"""`load()` with bad rows, lost connections and two writers: every row gets its verdict."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from engine.odoo.errors import OdooError
from engine.odoo.loading import LARGEST, Loader
from engine.states import Result


class Server:
    """`load()` as Odoo has it: all rows or none; what a row does is written in its second cell."""

    def __init__(self, named=True):
        self.named = named  # whether messages name rows
        self.calls = []
        self.records = {}
        self.once = set()  # rows that fail the first time only

    async def load(self, model, columns, rows):
        self.calls.append(len(rows))
        assert len(rows) <= LARGEST
        assert len({row[0] for row in rows}) == len(rows), "no row twice in a call"
        if any(row[1] == "kill" for row in rows):
            raise OdooError("gone", result=Result.UNKNOWN, code="odoo.disconnected")
        if any(row[1] == "crash" for row in rows):
            raise OdooError("500", result=Result.PERMANENT, code="odoo.error")
        messages = []
        for number, row in enumerate(rows):
            message = {"type": "error", "message": "Bad value"}
            if row[1] == "field":
                message["field"] = "f"
            elif row[1] == "busy":
                message["message"] = "could not serialize access"
            elif row[1] == "again" and row[0] not in self.once:
                self.once.add(row[0])
                message["message"] = "konnte Zugriff nicht serialisieren"
            elif row[1] != "bad":
                continue
            if self.named or message["message"] == "konnte Zugriff nicht serialisieren":
                message["record"] = number
            messages.append(message)
        if messages:
            return {"ids": False, "messages": messages}
        for row in rows:
            self.records.setdefault(row[0], len(self.records) + 1)
        return {"ids": [self.records[row[0]] for row in rows], "messages": []}


def run(server, kinds, limit=LARGEST):
    rows = [(f"x.{number}", kind) for number, kind in enumerate(kinds)]
    got = []
    Deferred.fromCoroutine(Loader(server, "m", ("id", "f"), limit).load(rows)).addCallback(got.append)
    return rows, got[0]


kinds = st.lists(st.sampled_from(["ok"] * 6 + ["bad", "field", "busy", "again"]), min_size=1, max_size=40)


@given(kinds)
def test_named_rows_are_taken_out(found):
    server = Server()
    rows, verdicts = run(server, found)
    for (xid, kind), verdict in zip(rows, verdicts, strict=True):
        if kind in {"ok", "again"}:
            assert verdict == server.records[xid]
        else:
            assert verdict.result == (Result.RETRY if kind == "busy" else Result.PERMANENT)
            assert xid not in server.records


@given(st.lists(st.sampled_from(["ok"] * 8 + ["bad", "crash"]), min_size=1, max_size=40))
def test_a_bad_row_that_is_not_named_is_cornered(found):
    server = Server(named=False)
    rows, verdicts = run(server, found)
    for (xid, kind), verdict in zip(rows, verdicts, strict=True):
        assert (verdict == server.records.get(xid)) if kind == "ok" else isinstance(verdict, OdooError)


@settings(max_examples=30)
@given(st.integers(1, LARGEST), st.data())
def test_a_row_that_kills_the_worker_stands_alone_in_the_end(size, data):
    bad = data.draw(st.integers(0, size - 1))
    server = Server()
    _, verdicts = run(server, ["kill" if number == bad else "ok" for number in range(size)])
    assert [number for number, verdict in enumerate(verdicts) if isinstance(verdict, OdooError)] == [bad]
    assert verdicts[bad].result == Result.UNKNOWN


def test_a_server_that_kills_everything_is_not_hammered():
    server = Server()
    _, verdicts = run(server, ["kill"] * LARGEST)
    assert {verdict.result for verdict in verdicts} == {Result.UNKNOWN}
    assert len(server.calls) < 40


def test_large_batches_go_in_parts():
    server = Server()
    run(server, ["ok"] * 450)
    assert server.calls == [200, 200, 50]
    server = Server()
    run(server, ["ok"] * 10, limit=4)
    assert server.calls == [4, 4, 2]
