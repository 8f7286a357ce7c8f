"""The listeners `http` and `file`, and formats beside HL7 v2, through a whole engine: stored before answered."""

import json

import pytest
from desk import Desk, scripted
from web import answer, open_connection, post, request

from engine.errors import HL7Error
from engine.states import Result
from listeners.rate import SENDERS, Rate

FULL = HL7Error("full", code="overload", ack="AR", condition="207")
HL7 = b"MSH|^~\\&|EHR|RGH|ISTHMUS|CLINIC|20261122080000||ADT^A08|%s|P|2.5.1\rPID|1||P1^^^RGH^MR\r"
HTTP = """
channels:
  feed:
    format: {format}
    listener:
      http: {{port: 8080, path: /in, max_size: 2000{more}}}
    destinations: {{out: {{scripted: {{name: out}}}}}}
"""
FILE = """
channels:
  files:
    format: {format}
    listener:
      file: {{path: inbox, pattern: "*.txt", every: 1, stable: 3{more}}}
    destinations: {{out: {{scripted: {{name: out}}}}}}
"""


@pytest.fixture
def destinations():
    with scripted() as found:
        yield found


def test_json_by_http(tmp_path, destinations):
    desk = Desk(tmp_path, HTTP.format(format="{json: {control_id: /id, type: /kind, mrn: /mrn}}", more=""))
    body = b'{"id": "C1", "kind": "visit.opened", "mrn": "M1"}'
    status, headers, told = post(desk, body)
    assert (status, headers["Content-Type"], json.loads(told)["code"]) == (200, "application/json", "AA")
    first = desk.rows("SELECT control_id, type, peer, ordering_key, mrn IS NULL FROM message")
    assert first[0][:3] == ("C1", "visit.opened", "127.0.0.1:4711") and first[0][3] and not first[0][4]
    assert destinations["out"].effects == ["C1"]
    assert post(desk, body)[2] == told  # the stored answer again, no second row
    status, _, told = post(desk, b'{"id": ')
    assert status == 400 and json.loads(told)["error"]["code"] == "format.unreadable"
    assert desk.rows("SELECT state, error_code FROM message ORDER BY id") == [
        ("TRANSFORMED", None), ("ERROR", "format.unreadable"),
    ]  # fmt: skip
    desk.stop()


def test_an_idempotency_key_names_a_message_without_control_id(tmp_path, destinations):
    desk = Desk(tmp_path, HTTP.format(format="json", more=", response: accepted"))
    for _ in range(2):
        assert post(desk, b'{"a": 1}', ["Idempotency-Key: k-1"])[::2] == (202, b"")
    post(desk, b'{"a": 1}', ["Idempotency-Key: a b"])  # no name: not kept in clear
    assert desk.rows("SELECT control_id FROM message") == [("k-1",), ("",)]
    desk.stop()


def test_fhir_by_http(tmp_path, destinations):
    desk = Desk(tmp_path, HTTP.format(format="{fhir: {bundles: entries}}", more=""))
    patient = {"resourceType": "Patient", "id": "1", "meta": {"versionId": "3"}}
    visit = {"resourceType": "Encounter", "id": "9", "subject": {"reference": "Patient/1"}}
    bundle = {"resourceType": "Bundle", "entry": [{"resource": patient}, {"resource": visit}]}
    status, headers, told = post(desk, json.dumps(bundle).encode())
    assert (status, headers["Content-Type"]) == (200, "application/fhir+json")
    assert json.loads(told)["resourceType"] == "OperationOutcome"
    rows = desk.rows("SELECT type, control_id, ordering_key FROM message")
    assert [row[:2] for row in rows] == [("Patient", "Patient/1/_history/3"), ("Encounter", "")]
    assert rows[0][2] == rows[1][2]  # both are of the patient, so they stay in order
    status, _, told = post(desk, b"{}")
    assert (status, json.loads(told)["issue"][0]["severity"]) == (400, "error")
    desk.stop()


def test_hl7_by_http(tmp_path, destinations):
    desk = Desk(tmp_path, HTTP.format(format="hl7v2", more=""))
    status, headers, told = post(desk, HL7 % b"C1")
    assert (
        status == 200 and b"\rMSA|AA|C1" in told and headers["Content-Type"].startswith("application/hl7-v2")
    )
    assert post(desk, b"MSH|^~\\&|A")[0] == 400
    assert post(desk, b"FHS|^~\\&\r" + HL7 % b"C2" + b"FTS\r")[0] == 200
    desk.stop()


def test_what_http_refuses(tmp_path, destinations):
    desk = Desk(
        tmp_path,
        HTTP.format(format="json", more=", token: 0123456789abcdef, allow: [127.0.0.0/8]"),
    )
    good = ["Authorization: Bearer 0123456789abcdef"]
    assert post(desk, b"{}", good)[0] == 200
    assert post(desk, b"{}")[0] == 401
    assert post(desk, b"{}", ["Authorization: Bearer 0123456789abcdeg"])[0] == 401
    assert post(desk, b"{}", good, host="10.0.0.1")[0] == 403
    assert post(desk, b"{}", good, path="/other")[0] == 404
    assert post(desk, b"", good, method="GET")[0] == 405
    assert post(desk, b"x" * 2001, good)[0] == 413
    transport = open_connection(desk)
    head = f"POST /in HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{good[0]}\r\n\r\n"
    transport.protocol.dataReceived(head.encode() + (b"3e8\r\n" + b"x" * 1000 + b"\r\n") * 3 + b"0\r\n\r\n")
    assert answer(transport)[0] == 413
    endless = open_connection(desk)
    endless.protocol.dataReceived(head.encode())
    for _ in range(20):
        if endless.connected:
            endless.protocol.dataReceived(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
    assert not endless.connected
    desk.engine.channels["feed"].hold("backlog", pause=True)
    assert post(desk, b"{}", good)[:2][0] == 503
    desk.engine.channels["feed"].hold("backlog", pause=False)
    desk.engine.channels["feed"].intake.refusing = HL7Error(
        "full", code="overload", ack="AR", condition="207"
    )
    status, headers, _ = post(desk, b"{}", good)
    assert (status, headers["Retry-After"]) == (503, "5")
    assert desk.rows("SELECT count(*) FROM message") == [(1,)]
    status = desk.engine.channels["feed"].listener.status()
    assert status["refused"] == 9 and status["in_flight"] == 0
    desk.stop()


def test_who_sends_too_fast_is_told_when_to_come_again_and_nothing_is_lost(tmp_path, destinations):
    desk = Desk(tmp_path, HTTP.format(format="json", more=", max_rate: 5"))
    taken = later = 0
    for number in range(8):  # a second's worth at once
        status, headers, _ = post(desk, b'{"n": %d}' % number)
        taken += status == 200
        later += status == 429 and headers["Retry-After"] == "1" and headers["Connection"] == "close"
    assert (taken, later) == (5, 3)
    assert post(desk, b"{}", host="127.0.0.2")[0] == 200, "another sender"
    early = open_connection(desk)
    early.protocol.dataReceived(request(b"{}" * 900)[:-1800])
    early.protocol.dataReceived(b"{}" * 900)
    assert answer(early)[0] == 429
    desk.advance(1)
    assert [post(desk, b'{"n": %d}' % number)[0] for number in range(5, 8)] == [200] * 3
    for _ in range(20):  # at its rate for ever
        desk.advance(0.2)
        assert post(desk, b"{}")[0] == 200
    assert desk.rows("SELECT count(*) FROM message") == [(29,)]
    assert desk.engine.channels["feed"].listener.status()["refused"] == 4
    desk.stop()


@pytest.mark.parametrize(("rate", "burst", "seconds"), [(0.5, 1, 2), (1, 1, 1), (100, 100, 1)])
def test_what_a_rate_allows(rate, burst, seconds):
    found = Rate(rate)
    assert [found.wait("a", 10.0) for _ in range(burst + 1)] == [0] * burst + [seconds]
    assert found.wait("a", 10.0 + seconds) == 0
    assert Rate(None).wait("a", 0) == 0


def test_a_rate_remembers_so_many_senders_and_no_more():
    found = Rate(1)
    for number in range(SENDERS + 1):
        assert found.wait(str(number), 0.0) == 0
    assert found.wait(str(SENDERS), 0.0) == 1 and found.wait("0", 0.0) == 0


def test_no_answer_before_the_commit(tmp_path, destinations):
    desk = Desk(tmp_path, HTTP.format(format="json", more=""))
    transport = open_connection(desk)
    transport.protocol.dataReceived(request(b"{}"))
    assert transport.value() == b"" and desk.rows("SELECT count(*) FROM message") == [(0,)]
    desk.settle()
    assert answer(transport)[0] == 200 and desk.rows("SELECT count(*) FROM message") == [(1,)]
    gone = open_connection(desk)
    gone.protocol.dataReceived(request(b"{}"))
    gone.loseConnection()
    desk.settle()
    assert desk.rows("SELECT count(*) FROM message") == [(2,)]  # stored all the same
    assert desk.engine.channels["feed"].listener.status()["dropped_answers"] == 1
    desk.stop()


def test_a_stop_tells_no_success_that_is_not_known(tmp_path, destinations):
    """Of three rows that came together one is not delivered: nothing is known of them all."""
    config = HTTP.format(format="{delimited: {header: true, control_id: id}}", more="")
    desk = Desk(tmp_path, config.replace("feed:\n", "feed:\n    ack: delivered\n"))
    out = destinations["out"]
    out.auto = lambda delivery: Result.RETRY if delivery.payload == b"C2" else Result.SENT
    body = b"id,name\nC1,Jo\nC2,Al\nC3,Di\n"
    transport = open_connection(desk)
    transport.protocol.dataReceived(request(body))
    desk.settle()
    assert out.effects == ["C1", "C3"] and transport.value() == b""
    desk.stop()
    assert answer(transport)[0] == 503
    desk.start()
    out.auto = lambda delivery: Result.SENT
    desk.advance(60)
    assert post(desk, body)[0] == 200 and out.effects == ["C1", "C3", "C2"]
    desk.stop()


def names(folder):
    return sorted(item.name for item in folder.iterdir() if item.is_file())


def test_files(tmp_path, destinations):
    inbox = tmp_path / "inbox"
    desk = Desk(tmp_path, FILE.format(format="{delimited: {mrn: mrn}}", more=""))
    (inbox / "a.txt").write_text("mrn,name\n1,A\n2,B\n")
    (inbox / "b.txt").write_text("mrn,na")
    (inbox / "c.txt").write_text("mrn,name\n3,C\n")
    (inbox / "other.csv").write_text("x")
    (inbox / ".hidden.txt").write_text("x")
    (inbox / "link.txt").symlink_to(inbox / "other.csv")
    for _ in range(4):
        desk.advance(1)
        with (inbox / "b.txt").open("a") as growing:
            growing.write("x")
    assert names(inbox / "done") == ["a.txt"]
    assert desk.rows("SELECT count(*), count(DISTINCT control_id), max(peer) FROM message") == [
        (2, 2, "file")
    ]
    (inbox / "b.txt").write_text('mrn,name\n9,"X\n')
    for _ in range(5):
        desk.advance(1)
    assert names(inbox / "done") == ["a.txt", "c.txt"]
    assert names(inbox / "error") == ["b.txt", "b.txt.answer"]
    assert json.loads((inbox / "error" / "b.txt.answer").read_bytes())["error"]["code"] == "format.unreadable"
    assert names(inbox) == [".hidden.txt", "link.txt", "other.csv"]
    assert desk.rows("SELECT state, count(*) FROM message GROUP BY state") == [
        ("ERROR", 1),
        ("TRANSFORMED", 3),
    ]
    (inbox / "a.txt").write_text("mrn,name\n4,D\n")
    for _ in range(5):
        desk.advance(1)
    assert names(inbox / "done") == ["a-1.txt", "a.txt", "c.txt"]
    desk.stop()


def test_a_file_is_read_again_after_a_crash_and_makes_no_second_message(tmp_path, destinations):
    inbox = tmp_path / "inbox"
    desk = Desk(tmp_path, FILE.format(format="json", more=""))
    (inbox / "a.txt").write_text("{}")
    listener = desk.engine.channels["files"].listener
    moves = []
    listener._move = lambda *args: moves.append(args)  # the engine dies between C1 and the move
    for _ in range(4):
        desk.advance(1)
    assert moves and names(inbox) == ["a.txt"]
    desk.crash()
    for _ in range(4):
        desk.advance(1)
    assert names(inbox / "done") == ["a.txt"]
    assert desk.rows("SELECT count(*) FROM message") == [(1,)]
    desk.stop()


@pytest.mark.parametrize("more", ["", ", delete: true"])
def test_a_file_that_takes_the_name_of_one_at_work_is_read_too(tmp_path, destinations, more):
    inbox = tmp_path / "inbox"
    desk = Desk(tmp_path, FILE.format(format="hl7v2", more=more).replace("format: hl7v2", "ack: delivered"))
    destinations["out"].auto = None
    (inbox / "a.txt").write_bytes(HL7 % b"C1")
    for _ in range(4):
        desk.advance(1)
    (tmp_path / "next").write_bytes(HL7 % b"C2")
    (tmp_path / "next").rename(inbox / "a.txt")  # while the first waits for its answer
    destinations["out"].answer(Result.SENT)
    destinations["out"].auto = lambda delivery: Result.SENT
    for _ in range(5):
        desk.advance(1)
    assert desk.rows("SELECT control_id, state FROM message") == [
        ("C1", "TRANSFORMED"),
        ("C2", "TRANSFORMED"),
    ]
    assert names(inbox) == []
    desk.stop()


def test_a_file_that_grows_while_it_is_at_work_is_read_again(tmp_path, destinations):
    inbox = tmp_path / "inbox"
    desk = Desk(tmp_path, FILE.format(format="hl7v2", more="").replace("format: hl7v2", "ack: delivered"))
    destinations["out"].auto = None
    (inbox / "a.txt").write_bytes(HL7 % b"C1")
    for _ in range(4):
        desk.advance(1)
    with (inbox / "a.txt").open("ab") as late:
        late.write(HL7 % b"C2")
    destinations["out"].answer(Result.SENT)
    destinations["out"].auto = lambda delivery: Result.SENT
    for _ in range(5):
        desk.advance(1)
    assert desk.rows("SELECT control_id, state FROM message") == [
        ("C1", "TRANSFORMED"),
        ("C2", "TRANSFORMED"),
    ]
    assert (names(inbox), names(inbox / "done")) == ([], ["a.txt"])
    desk.stop()


def test_a_link_in_the_place_of_a_file_is_not_followed(tmp_path, destinations):
    inbox = tmp_path / "inbox"
    desk = Desk(tmp_path, FILE.format(format="hl7v2", more=""))
    (tmp_path / "secret").write_bytes(HL7 % b"C1")
    (inbox / "a.txt").write_bytes(HL7 % b"C1")
    listener = desk.engine.channels["files"].listener
    listed = listener._list

    def swapped():
        found = listed()
        (inbox / "a.txt").unlink(missing_ok=True)
        (inbox / "a.txt").symlink_to(tmp_path / "secret")
        return found

    listener._list = swapped
    listener._seen = dict.fromkeys(listed(), -10.0)
    desk.advance(1)
    assert desk.rows("SELECT count(*) FROM message") == [(0,)]
    desk.stop()


def test_a_file_waits_while_the_engine_takes_nothing(tmp_path, destinations):
    inbox = tmp_path / "inbox"
    desk = Desk(tmp_path, FILE.format(format="hl7v2", more=", max_size: 1024"))
    (inbox / "a.txt").write_bytes((HL7 % b"C1").replace(b"\r", b"\n"))
    (inbox / "b.txt").write_bytes(b"x" * 2000)
    channel = desk.engine.channels["files"]
    channel.hold("test", pause=False, refuse=FULL)
    for _ in range(5):
        desk.advance(1)
    assert names(inbox) == ["a.txt", "b.txt"] and "takes no messages" in channel.listener.status()["why"]
    channel.hold("test", pause=False)
    desk.advance(1)
    assert (names(inbox / "done"), names(inbox / "error")) == (["a.txt"], ["b.txt", "b.txt.answer"])
    assert channel.listener.status()["why"] == ""
    desk.stop()
