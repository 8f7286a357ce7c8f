"""What a FHIR server told in vain, or without saying what: the channel searches it for what changed."""

import json
import sqlite3
from datetime import timedelta

import pytest
from registering import TOPIC, config, make_clinic  # noqa: F401
from web import post

from engine.store.noted import noted

EMPTY = config("criteria: Patient?, payload: empty")


def patient(desk, id_="1", **more):
    return desk.server.put({"resourceType": "Patient", "id": id_, **more})[0]


def effects(desk):
    return [name.split("/")[1] for name in desk.destinations["out"].effects]


def rows(desk):
    return desk.rows("SELECT type, state, reason, error_code FROM message")


def away(desk, seconds, what):
    desk.stop()
    desk.elapsed = desk.reactor.seconds() + seconds
    desk.reactor.rightNow = desk.elapsed
    what()
    desk.start()


def test_a_ping_makes_the_channel_search(make):
    """R4 without payload: an empty POST, and the subscriber searches for itself."""
    desk = make(EMPTY)
    desk.active()
    patient(desk)
    desk.until(lambda: effects(desk))
    ping, found = rows(desk)
    why = "it does not say what changed: the server is searched for what did"
    assert ping == ("Resource.unread", "FILTERED", why, None)
    assert found[:2] == ("Patient", "TRANSFORMED")
    for number in range(2, 6):
        patient(desk, str(number))
    desk.until(lambda: len(effects(desk)) == 5)
    desk.advance(100)
    assert effects(desk) == ["1", "2", "3", "4", "5"], "what was read is not done twice"
    asked = [line for line in desk.server.log if line.startswith("GET Patient?")]
    assert len(asked) <= 2 + 2 + 4 and all("_sort=_lastUpdated" in line for line in asked[1:])


@pytest.mark.parametrize(
    "notification", [b"", "focus", "none"], ids=["ping", "event without focus", "no event at all"]
)
@pytest.mark.parametrize("more", ["connection: ehr", "connection: ehr, catch_up: 'Patient?'"])
def test_what_does_not_say_what_changed(make, notification, more):
    """Where nobody knows what to search for, it is a clear error."""
    desk = make(config().replace('subscribe: {url: "http://127.0.0.1:8080/fhir/hook", criteria: Patient?}', "")
                .replace("connection: ehr", more.replace(", ", "\n        ")))  # fmt: skip
    patient(desk)
    body = notification
    if notification:
        status = {
            "resourceType": "SubscriptionStatus", "type": "event-notification", "status": "active",
            "subscription": {"reference": "Subscription/7"},
            "notificationEvent": [{"eventNumber": "2"}] if notification == "focus" else [],
        }  # fmt: skip
        body = json.dumps(
            {"resourceType": "Bundle", "type": "history", "entry": [{"resource": status}]}
        ).encode()
    assert post(desk, body, path="/fhir/hook")[0] == 200
    desk.advance(1)
    known = "catch_up" in more
    found = [row for row in rows(desk) if row[0] == "Resource.unread"]
    assert [(row[1], row[3]) for row in found] == [("FILTERED", None) if known else ("ERROR", "fhir.unread")]
    assert effects(desk) == (["1"] if known else [])
    if not known:
        assert desk.server.log == []


def test_changes_while_the_engine_was_away_are_read_when_it_is_back(make):
    desk = make()
    desk.active()
    patient(desk, "0")
    desk.until(lambda: effects(desk))
    desk.subscriptions.lost = 250  # the server gives up
    away(desk, 7200, lambda: [patient(desk, str(number)) for number in range(1, 251)])
    desk.until(lambda: len(set(effects(desk))) == 251)
    assert sorted(effects(desk)[-250:], key=int) == [str(number) for number in range(1, 251)]
    desk.quiet(60)


def test_deletions_while_the_engine_was_away_are_found_when_it_is_back(make):
    desk = make()
    desk.active()
    for number in "1234":
        patient(desk, number)
    desk.until(lambda: len(effects(desk)) == 4)
    before = len(rows(desk))
    desk.subscriptions.lost = 10_000

    def deleted():
        for number in "123":
            desk.server.remove("Patient", number)
        patient(desk, "3", active=True)  # made anew
        desk.server.put({"resourceType": "Patient", "id": "9"})
        desk.server.remove("Patient", "9")  # nobody ever heard of it

    away(desk, 7200, deleted)
    desk.until(lambda: len(rows(desk)) >= before + 3)
    desk.advance(1000)
    found = [row[:2] for row in rows(desk)[before:]]
    assert sorted(found) == [("Patient", "TRANSFORMED")] + [("Patient.deleted", "TRANSFORMED")] * 2


@pytest.mark.parametrize("wrong", [{}, {"Patient?": "no time"}])
def test_a_watermark_of_an_engine_before_this_one_counts(make, wrong):
    desk = make()
    desk.active()
    patient(desk, "1")
    desk.until(lambda: effects(desk))
    desk.subscriptions.lost = 10_000
    since = (desk.time() - timedelta(minutes=5)).isoformat()
    desk.stop()
    with sqlite3.connect(next(desk.folder.glob("**/*.db"))) as db:
        text = json.dumps({"Patient?": since, **wrong})
        assert db.execute("UPDATE setting SET value = ? WHERE name = 'listener:hook'", (text,)).rowcount == 1
    desk.reactor.rightNow += 3600
    patient(desk, "2")  # longer ago than the overlap when the engine is back
    desk.elapsed = desk.reactor.rightNow = desk.reactor.seconds() + 3600
    desk.start()
    desk.until(lambda: effects(desk) == ["1", "2"])


def test_what_is_told_in_vain_is_found_soon_without_any_occasion(make):
    desk = make()
    desk.active()
    for number in "12":
        desk.subscriptions.lost = 1
        patient(desk, number)
        desk.until(lambda number=number: number in effects(desk), 310)
    assert effects(desk) == ["1", "2"]


def test_an_error_of_the_subscription_is_repaired_and_what_was_missed_is_read(make):
    desk = make()
    desk.active()
    desk.subscriptions.set(desk.one()["id"], status="error")
    patient(desk)
    assert effects(desk) == []
    desk.advance(301)
    desk.active()
    desk.until(lambda: effects(desk) == ["1"])


def test_a_missed_heartbeat_with_events_that_nobody_saw_is_caught_up(make):
    desk = make(config(TOPIC, more="catch_up: 'Patient?'"), "topic")
    desk.active()
    patient(desk, "1")
    desk.until(lambda: effects(desk) == ["1"])
    desk.subscriptions.lost = 1
    patient(desk, "2")
    desk.advance(30)
    assert effects(desk) == ["1"]
    desk.until(lambda: set(effects(desk)) == {"1", "2"}, 200)
    assert any("$status" in line for line in desk.server.log)


def test_an_outage_in_the_middle_of_the_pages_reads_again(make):
    desk = make()
    desk.active()
    desk.subscriptions.lost = 10_000
    for number in range(250):
        patient(desk, str(number))
    faults = [(400, {}, b"{}"), None, None]
    desk.server.faults = lambda method, path: (
        faults.pop() if faults and method == "GET" and "/Patient?" in path else None
    )
    desk.server.page = 100
    before = noted(desk.engine.store.reader, "hook")
    post(desk, b"", path="/fhir/hook")
    desk.until(lambda: desk.status()["why"])
    assert "refuses" in desk.status()["why"] and noted(desk.engine.store.reader, "hook") == before
    desk.until(lambda: len(effects(desk)) == 250)
    desk.until(lambda: not desk.status()["why"])
    assert noted(desk.engine.store.reader, "hook") > before
    assert len(effects(desk)) == 250


def test_a_crash_before_the_end_reads_again(make):
    desk = make()
    desk.active()
    desk.subscriptions.lost = 10_000
    patient(desk, "1")
    patient(desk, "2")
    desk.server.faults = lambda method, path: 5.0 if "/Patient?" in path else None
    post(desk, b"", path="/fhir/hook")
    desk.advance(1)
    desk.crash()
    desk.server.faults = lambda method, path: None
    desk.until(lambda: len(effects(desk)) == 2)


def test_what_the_channel_cannot_take_is_read_again(make):
    desk = make()
    desk.active()
    channel = desk.engine.channels["hook"]
    desk.subscriptions.lost = 10_000
    patient(desk, "1")
    from channels.receive import OVERLOADED

    before = noted(desk.engine.store.reader, "hook")
    channel.hold("test", pause=False, refuse=OVERLOADED)
    channel.listener._missed("a test")
    desk.advance(1)
    assert effects(desk) == [] and noted(desk.engine.store.reader, "hook") == before
    assert "takes no messages" in desk.status()["why"]
    channel.hold("test", pause=False)
    desk.until(lambda: effects(desk) == ["1"])
    assert desk.status()["why"] == ""
