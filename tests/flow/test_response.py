"""Response steps: what an answer counts as, what is passed on, exactly once, and that nothing is ever sent twice."""

import json

import pytest
from desk import Desk, scripted
from reloading import make_desk, reload  # noqa: F401

from engine.errors import StepTimeout
from engine.states import Result
from engine.store import deliveries, messages

ACK = "MSH|^~\\&|LAB|X|EHR|RGH|20261122||ACK|A1|P|2.5.1\rMSA|{code}|{id}|{text}\r"
CONFIG = """
channels:
  adt:
    listener: {{mllp: {{port: 2575}}}}
    {options}
    destinations:
      out:
        scripted: {{name: out, in_flight: 4}}
        on_error: {on_error}
        response:
          - verdict: {{state: sent, when: "'known already' in msg['MSA-3']"}}
          - verdict: {{state: error, code: lab.closed, text: the lab is closed, when: "'closed' in msg['MSA-3']"}}
          - condition: "msg['MSA-3'] != 'quiet'"
          - set: {{vars: {{half: "{{{{ 1 // (0 if msg['MSA-3'] == 'break' else 1) }}}}"}}}}
          - forward:
              channel: notes
              when: "verdict == 'sent'"
              body:
                mrn: "{{{{ original['PID-3.1'] }}}}"
                code: "{{{{ msg['MSA-1'] }}}}"
                of: "{{{{ message.control_id }}}}"
  notes:
    format: {{json: {{mrn: /mrn}}}}
    listener: {{http: {{port: 8080}}}}
    destinations: {{notes: {{scripted: {{name: notes}}}}}}
"""
PLAIN = CONFIG.format(options="", on_error="hold_key")


def answers(desk, destinations, **texts):
    """By control id: the text of MSA-3, with `!` in front the answer is AE and refuses for good."""
    out = destinations["out"]

    def reply(delivery):
        text = texts.get(delivery.payload.decode(), "")
        code = "AE" if text[:1] == "!" else "AA"
        return ACK.format(code=code, id=delivery.payload.decode(), text=text.lstrip("!")).encode()

    out.reply = reply
    out.auto = lambda delivery: (
        Result.PERMANENT if texts.get(delivery.payload.decode(), "")[:1] == "!" else Result.SENT
    )
    return out


def ended(desk):
    return {
        row[0]: row[1:]
        for row in desk.rows(
            "SELECT m.control_id, d.state, d.error_code, d.error_place, d.attempts FROM delivery d"
            " JOIN message m ON m.id = d.message_id WHERE m.channel = 'adt' ORDER BY m.id"
        )
    }


def passed_on(desk):
    """What the other channel got: (the message whose answer it is, its content)."""
    reader = desk.engine.store.reader
    rows = desk.rows(
        "SELECT id, parent_id, state, peer, flags FROM message WHERE channel = 'notes' ORDER BY id"
    )
    assert {row[2:] for row in rows} <= {("TRANSFORMED", "channel adt", 8)}
    return [(row[1], json.loads(messages.raw(reader, row[0]))) for row in rows]


def test_verdicts_and_what_is_passed_on(make):
    desk, destinations = make(PLAIN)
    out = answers(desk, destinations, c2="!known already", c3="!no such order", c4="closed today", c5="quiet")
    desk.send(*((f"c{n}", f"P{n}") for n in range(1, 6)))
    assert ended(desk) == {
        "c1": ("SENT", None, None, 1),
        "c2": ("SENT", None, None, 1),
        "c3": ("ERROR", "test.permanent", None, 1),
        "c4": ("ERROR", "lab.closed", "destinations.out.response[1] verdict", 1),
        "c5": ("SENT", None, None, 1),
    }
    assert passed_on(desk) == [
        (1, {"mrn": "P1", "code": "AA", "of": "c1"}),
        (2, {"mrn": "P2", "code": "AE", "of": "c2"}),
    ]
    assert destinations["notes"].effects == ["c1", "c2"]
    assert out.sent == ["c1", "c2", "c3", "c4", "c5"]
    assert b"known already" in deliveries.exchange(desk.engine.store.reader, 2, "out")[1]
    assert desk.rows("SELECT note FROM delivery WHERE message_id = 2")[0][0].startswith("response[0] verdict")
    assert desk.open() == {"adt": 0, "notes": 0}


def test_killed_at_any_turn_it_is_sent_once_and_passed_on_once(tmp_path):
    found = set()
    for turns in range(30):
        with scripted() as destinations:
            (tmp_path / str(turns)).mkdir()
            desk = Desk(tmp_path / str(turns), PLAIN)
            answers(desk, destinations, c2="!no such order")
            desk.receive("c1", "P1")
            desk.receive("c2", "P2")
            for _ in range(turns):
                if not desk.reactor.run_handed(wait=desk.engine.writer._committing is not None):
                    desk.reactor.advance(0)
            state = "SELECT m.control_id, d.state FROM delivery d JOIN message m ON m.id = message_id"
            before = dict(desk.rows(f"{state} WHERE d.channel = 'adt'"))
            found |= set(before.values())
            asked = len(destinations["out"].sent)
            desk.crash()
            desk.settle()
            again = destinations["out"].sent[asked:]
            assert not {one for one, state in before.items() if state != "QUEUED"} & set(again)
            if ended(desk):
                assert ended(desk)["c1"][:2] == ("SENT", None) and ended(desk)["c2"][0] == "ERROR"
                assert passed_on(desk) == [(1, {"mrn": "P1", "code": "AA", "of": "c1"})]
            assert set(desk.open().values()) == {0}
            desk.stop()
    assert found == {"QUEUED", "PENDING", "SENT", "ERROR"}, "every state was met by a kill"


def test_pending_holds_its_place_and_the_next_of_the_key_waits(make):
    desk, destinations = make(PLAIN)
    out = answers(desk, destinations)
    responder = desk.engine.channels["adt"].senders[0].responder
    blocked, responder.guard = responder.guard, None
    read, responder.read = responder.read, lambda *which: pytest.fail("not yet")
    pump, responder._pump = responder._pump, lambda: None
    desk.receive("c1", "P1")
    desk.receive("c2", "P1")
    desk.receive("c3", "P2")
    desk.settle()
    assert ended(desk)["c1"][0] == ended(desk)["c3"][0] == "PENDING" and ended(desk)["c2"][0] == "QUEUED"
    assert out.sent == ["c1", "c3"] and desk.open() == {"adt": 3, "notes": 0}
    responder.guard, responder.read, responder._pump = blocked, read, pump
    responder._pump()
    desk.settle()
    assert {row[0] for row in ended(desk).values()} == {"SENT"} and out.sent == ["c1", "c3", "c2"]


def test_a_refusal_by_the_steps_holds_its_key_and_a_resend_sends_again(make):
    desk, destinations = make(PLAIN)
    texts = {"c1": "closed"}
    out = answers(desk, destinations, **texts)
    desk.receive("c1", "P1")
    desk.receive("c2", "P1")
    desk.settle()
    assert ended(desk)["c1"][:2] == ("ERROR", "lab.closed") and ended(desk)["c2"][0] == "QUEUED"
    answers(desk, destinations)
    desk.act("resend", "c1")
    assert {row[0] for row in ended(desk).values()} == {"SENT"}
    assert out.sent == ["c1", "c1", "c2"]
    assert [one["of"] for _, one in passed_on(desk)] == ["c1", "c2"]


def test_a_broken_step_is_mended_and_nothing_is_sent_again(make):
    desk, destinations = make(PLAIN)
    out = answers(desk, destinations, c1="break", c2="!break")
    desk.receive("c1", "P1")
    desk.receive("c2", "P2")
    desk.receive("c3", "P1")
    desk.settle()
    state, code, place, _ = ended(desk)["c1"]
    assert (state, code) == ("ERROR", "expression.type") or state == "ERROR"
    assert place.startswith("response[3] set")
    assert ended(desk)["c2"][:2] == ("ERROR", "test.permanent"), "what was refused stays refused"
    assert "response[3] set" in desk.rows("SELECT error_text FROM delivery WHERE message_id = 2")[0][0]
    assert ended(desk)["c3"][0] == "QUEUED" and passed_on(desk) == []
    assert reload(desk, PLAIN.replace("1 // (0", "1 // (2"))["changes"] == {"adt": ["steps"]}
    desk.act("resend", "c1")
    assert ended(desk)["c1"] == ("SENT", None, None, 1) and ended(desk)["c3"][0] == "SENT"
    assert out.sent == ["c1", "c2", "c3"], "the resend sent nothing"
    assert [one["of"] for _, one in passed_on(desk)] == ["c1", "c3"]
    desk.act("resend", "c2")  # it was refused: this one is sent again
    assert out.sent == ["c1", "c2", "c3", "c2"]


def test_discarded_while_pending_nothing_is_passed_on(make):
    desk, destinations = make(PLAIN)
    answers(desk, destinations)
    desk.engine.channels["adt"].senders[0].responder._pump = lambda: None
    desk.receive("c1", "P1")
    desk.settle()
    desk.act("discard", "c1")
    assert ended(desk)["c1"][0] == "DISCARDED" and desk.open() == {"adt": 0, "notes": 0}
    desk.crash()
    assert ended(desk)["c1"][0] == "DISCARDED" and passed_on(desk) == []


def test_a_replay_is_a_new_message_with_an_answer_of_its_own(make):
    desk, destinations = make(PLAIN)
    out = answers(desk, destinations)
    desk.send(("c1", "P1"))
    desk.act("replay", "c1")
    assert out.sent == ["c1", "c1"] and len(passed_on(desk)) == 2


def test_a_paused_channel_ends_nothing_and_a_reload_without_steps_keeps_the_verdict(make):
    desk, destinations = make(PLAIN)
    answers(desk, destinations, c2="!no")
    responder = desk.engine.channels["adt"].senders[0].responder
    responder._pump = lambda: None
    desk.receive("c1", "P1")
    desk.receive("c2", "P2")
    desk.settle()
    desk.channel("pause")
    del responder._pump
    responder._scheduled = None
    desk.advance(5)
    assert {row[0] for row in ended(desk).values()} == {"PENDING"}
    head, _, rest = PLAIN.partition("        response:\n")
    assert reload(desk, head + rest[rest.index("  notes:") :])["taken"]
    desk.channel("resume")
    desk.advance(1)
    assert [row[:2] for row in ended(desk).values()] == [("SENT", None), ("ERROR", "test.permanent")]


def test_lanes_made_anew_while_pending(make):
    desk, destinations = make(PLAIN)
    out = answers(desk, destinations)
    desk.engine.channels["adt"].senders[0].responder._pump = lambda: None
    desk.receive("c1", "P1")
    desk.receive("c2", "P1")
    desk.settle()
    assert reload(desk, CONFIG.format(options="", on_error="skip"))["taken"]
    desk.settle()
    assert {row[0] for row in ended(desk).values()} == {"SENT"}
    assert out.sent == ["c1", "c2"] and len(passed_on(desk)) == 2


def test_a_channel_that_does_not_run_is_told_and_a_resend_passes_on(make):
    off = PLAIN.replace("  notes:\n", "  notes:\n    enabled: false\n")
    desk, destinations = make(off)
    out = answers(desk, destinations)
    desk.receive("c1", "P1")
    desk.settle()
    assert ended(desk)["c1"][:2] == ("ERROR", "forward.channel")
    assert reload(desk, PLAIN)["taken"]
    desk.act("resend", "c1")
    assert ended(desk)["c1"][0] == "SENT" and len(passed_on(desk)) == 1 and out.sent == ["c1"]


def test_ack_delivered_waits_for_the_steps(make):
    desk, destinations = make(CONFIG.format(options="ack: delivered", on_error="skip"))
    answers(desk, destinations, c1="!known already", c2="closed")
    one, two = desk.receive("c1", "P1"), desk.receive("c2", "P2")
    desk.settle()
    assert b"MSA|AA|c1" in one.answers[0] and b"MSA|AE|c2" in two.answers[0]
    assert b"the lab is closed" in two.answers[0]


@pytest.mark.parametrize("storage", ["no-content", "metadata"])
def test_bodies_stay_until_the_steps_ran(make, storage):
    desk, destinations = make(CONFIG.format(options=f"storage: {storage}", on_error="hold_key"))
    answers(desk, destinations)
    desk.receive("c1", "P1")
    desk.settle()
    assert ended(desk)["c1"][0] == "SENT" and len(passed_on(desk)) == 1
    assert deliveries.exchange(desk.engine.store.reader, 1, "out") == (None, None)


def test_what_steps_made_and_cannot_be_stored_is_an_error_and_a_resend_runs_the_steps_again(make):
    desk, destinations = make(PLAIN)
    out = answers(desk, destinations)
    refuse = "BEFORE INSERT ON message WHEN NEW.parent_id = 1 BEGIN SELECT RAISE(ABORT, 'no'); END"
    desk.engine.writer.run(lambda tx: tx.execute(f"CREATE TRIGGER refuse {refuse}"))
    desk.send(("c1", "P1"), ("c2", "P2"), ("c3", "P1"))
    assert ended(desk) == {
        "c1": ("ERROR", "deliver.refused", "response", 1),
        "c2": ("SENT", None, None, 1),
        "c3": ("QUEUED", None, None, 0),
    }
    assert [one["of"] for _, one in passed_on(desk)] == ["c2"]
    desk.engine.writer.run(lambda tx: tx.execute("DROP TRIGGER refuse"))
    desk.act("resend", "c1")
    assert ended(desk)["c1"] == ("SENT", None, None, 1) and out.sent == ["c1", "c2", "c3"]
    assert [one["of"] for _, one in passed_on(desk)] == ["c2", "c1", "c3"]
    assert desk.open() == {"adt": 0, "notes": 0}


def test_what_is_passed_on_and_cannot_be_read_in_time_is_an_error(make):
    desk, destinations = make(PLAIN)
    out = answers(desk, destinations)
    (sender,) = desk.engine.channels["adt"].senders

    def endless(*_):
        raise StepTimeout

    sender.responder.row = endless
    desk.receive("c1", "P1")
    desk.settle()
    assert ended(desk)["c1"][:2] == ("ERROR", "step.timeout") and out.sent == ["c1"]
