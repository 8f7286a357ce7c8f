"""Events of a topic that never came are seen by their numbers: `$events` tells them, else the server is searched."""

import json

import pytest
from registering import TOPIC, config, make_clinic  # noqa: F401
from web import post

GAPS = config(TOPIC, more="catch_up: 'Patient?'")


def patient(desk, id_="1", **more):
    return desk.server.put({"resourceType": "Patient", "id": id_, **more})[0]


def effects(desk):
    return [name.split("/")[1] for name in desk.destinations["out"].effects]


def asked(desk, what):
    return [line for line in desk.server.log if what in line]


def lost(desk, *ids):
    """Changes that it tells nobody of."""
    for id_ in ids:
        desk.subscriptions.lost = 1
        patient(desk, id_)


@pytest.fixture
def desk(make):
    made = make(GAPS, "topic")
    made.subscriptions.keep_events()
    made.active()
    patient(made, "1")
    made.until(lambda: effects(made) == ["1"])
    made.advance(15)
    made.searches = len(asked(made, "Patient?"))
    return made


def test_events_that_never_came_are_asked_for_by_their_numbers(desk):
    lost(desk, "2", "3")
    patient(desk, "4")
    desk.advance(5)
    assert effects(desk) == ["1", "4"] and not asked(desk, "$events")
    desk.until(lambda: len(effects(desk)) == 4, 30)
    assert effects(desk) == ["1", "4", "2", "3"]
    (line,) = asked(desk, "$events")
    assert line.endswith("$events?eventsSinceNumber=2&eventsUntilNumber=3")
    assert len(asked(desk, "Patient?")) == desk.searches, "what $events tells needs no search"
    assert desk.status()["listener"]["events"] == {"missing": 0, "found": 2}


def test_a_heartbeat_that_counts_further_tells_that_events_are_missing(desk):
    lost(desk, "2")
    desk.subscriptions.beat()
    desk.until(lambda: effects(desk) == ["1", "2"], 30)
    assert len(asked(desk, "$events")) == 1 and len(asked(desk, "Patient?")) == desk.searches


def test_what_comes_late_or_again_is_not_missing(desk):
    """2 and 3 overtake each other, and everything is told three times."""
    sent, send = [], desk.subscriptions.send
    desk.subscriptions.send = lambda *given, **more: sent.append((given, more))
    patient(desk, "2")
    patient(desk, "3")
    desk.subscriptions.send = send
    for given, more in [*reversed(sent), *sent, *sent]:
        send(*given, **more)
        desk.advance(1)
    desk.advance(60)
    assert sorted(effects(desk)) == ["1", "2", "3"]
    assert not asked(desk, "$events") and len(asked(desk, "Patient?")) == desk.searches


@pytest.mark.parametrize("status", [400, 404, 405, 501])
def test_a_server_without_events_is_searched_and_not_asked_again(desk, status):
    refusal = json.dumps({"resourceType": "OperationOutcome", "issue": []}).encode()
    desk.server.faults = lambda method, path: (status, {}, refusal) if "$events" in path else None
    reached = []
    handle = desk.server.faults
    desk.server.faults = lambda method, path: (
        reached.append(path) if "$events" in path else None,
        handle(method, path),
    )[1]
    lost(desk, "2")
    patient(desk, "3")
    desk.until(lambda: sorted(effects(desk)) == ["1", "2", "3"], 60)
    lost(desk, "4")
    patient(desk, "5")
    desk.until(lambda: sorted(effects(desk)) == list("12345"), 60)
    assert len(reached) == 1


@pytest.mark.parametrize("kept", [[], [2]], ids=["none", "some"])
def test_events_that_the_server_has_no_more_are_searched_for(desk, kept):
    lost(desk, "2", "3")
    (sent,) = desk.subscriptions.sent.values()
    for number in {2, 3} - set(kept):
        del sent[number]
    patient(desk, "4")
    desk.until(lambda: sorted(effects(desk)) == ["1", "2", "3", "4"], 60)
    assert len(asked(desk, "Patient?")) > desk.searches


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_at_events_is_searched_and_asked_the_next_time(desk, status):
    faults = [status] * 4
    desk.server.faults = lambda method, path: (
        (faults.pop(), {}, b"") if faults and "$events" in path else None
    )
    lost(desk, "2")
    patient(desk, "3")
    desk.until(lambda: sorted(effects(desk)) == ["1", "2", "3"], 200)
    assert not faults
    lost(desk, "4")
    patient(desk, "5")
    desk.until(lambda: sorted(effects(desk)) == list("12345"), 60)
    assert len(asked(desk, "$events")) == 1


def test_a_server_that_counts_anew_is_searched(desk):
    """It was restarted: its next event is number 1 again, and what it lost before has no number."""
    for number in "23":
        patient(desk, number)
    desk.until(lambda: len(effects(desk)) == 3)
    lost(desk, "4")
    desk.subscriptions.counts.clear()
    desk.subscriptions.sent.clear()
    patient(desk, "5")
    desk.until(lambda: sorted(effects(desk)) == list("12345"), 30)
    lost(desk, "6")
    patient(desk, "7")
    desk.until(lambda: sorted(effects(desk)) == list("1234567"), 30)
    assert asked(desk, "$events")[-1].endswith("eventsSinceNumber=2&eventsUntilNumber=2")


def test_a_heartbeat_that_counts_less_is_a_server_that_counts_anew(desk):
    lost(desk, "2")
    desk.subscriptions.counts.clear()
    desk.subscriptions.beat()
    desk.until(lambda: effects(desk) == ["1", "2"], 30)
    assert not asked(desk, "$events")


def test_a_counter_that_leaps_is_searched_and_not_asked_for_each_number(desk):
    lost(desk, "2")
    (id_,) = desk.subscriptions.counts
    desk.subscriptions.counts[id_] = 10**17
    patient(desk, "3")
    desk.until(lambda: sorted(effects(desk)) == ["1", "2", "3"], 30)
    assert not asked(desk, "$events")


def test_the_engine_restarts_and_what_was_lost_meanwhile_is_found(desk):
    desk.stop()
    lost(desk, "2", "3")
    desk.elapsed = desk.reactor.seconds() + 1
    desk.start()
    desk.until(lambda: sorted(effects(desk)) == ["1", "2", "3"], 60)
    patient(desk, "4")  # the first number that the new engine hears
    lost(desk, "5")
    patient(desk, "6")
    desk.until(lambda: sorted(effects(desk)) == list("123456"), 30)
    assert asked(desk, "$events")[-1].endswith("eventsSinceNumber=5&eventsUntilNumber=5")


def test_what_the_channel_cannot_take_is_searched_for_later(desk):
    from channels.receive import OVERLOADED

    channel = desk.engine.channels["hook"]
    lost(desk, "2")
    patient(desk, "3")
    desk.advance(1)
    channel.hold("test", pause=False, refuse=OVERLOADED)
    desk.advance(15)
    assert asked(desk, "$events") and "2" not in effects(desk)
    channel.hold("test", pause=False)
    desk.until(lambda: sorted(effects(desk)) == ["1", "2", "3"], 60)


def test_a_subscription_that_is_no_reference_is_never_asked(desk):
    for number in ("5", "9"):
        status = {
            "resourceType": "SubscriptionStatus", "type": "event-notification", "status": "active",
            "subscription": {"reference": "https://elsewhere.example/x?y=z"},
            "notificationEvent": [{"eventNumber": number, "focus": {"reference": "Patient/1"}}],
        }  # fmt: skip
        bundle = {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}]}
        assert post(desk, json.dumps(bundle).encode(), path="/fhir/hook")[0] == 200
    desk.advance(30)
    assert not asked(desk, "$events") and len(asked(desk, "Patient?")) > desk.searches
