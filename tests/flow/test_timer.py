"""The listener `timer`: every moment of a schedule once, over restarts, crashes, jumps of the clock and reloads."""

import json
from datetime import UTC, datetime

import pytest
from desk import Desk, scripted
from reloading import make_desk, reload  # noqa: F401

from engine.formats.json import Json
from engine.spec.component import BuildContext
from engine.store import messages
from listeners.timer import Schedule, Timer, ZoneInfo

CONFIG = """
channels:
  adt:
    format: json
    listener: {{timer: {{{settings}}}}}
    {more}
    destinations: {{out: {{scripted: {{name: out}}}}}}
"""
FIVE = CONFIG.format(settings="every: 5m", more="")  # the first moment is 22:15:00, 100 s after START
SECOND = 1_000_000


def fired(desk):
    return [row[0][-7:-1] for row in desk.rows("SELECT control_id FROM message ORDER BY id")]


def away(desk, seconds):
    """The engine is stopped for a while."""
    desk.stop()
    desk.elapsed = desk.reactor.seconds() + seconds
    desk.start()


def test_each_moment_of_the_schedule_is_a_message(make):
    desk, destinations = make(FIVE)
    desk.advance(99)
    assert fired(desk) == [], "nothing was missed before the first start"
    for _ in range(61):
        desk.advance(10)
    assert fired(desk) == ["221500", "222000", "222500"]
    assert desk.rows("SELECT DISTINCT peer, state FROM message") == [("timer", "TRANSFORMED")]
    told = json.loads(messages.raw(desk.engine.store.reader, 1))
    assert told == {"time": "2023-11-14T22:15:00Z", "local": "2023-11-14T22:15:00+00:00"}
    assert destinations["out"].effects[0] == "adt-20231114T221500Z"
    status = desk.engine.channels["adt"].listener.status()
    assert (status["firings"], status["next"], status["why"]) == (3, "2023-11-14T22:30:00+00:00", "")


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("once", ["221500", "222500", "223000"]), ("skip", ["221500", "223000"])],
)
def test_what_was_missed_is_fired_once_or_not(make, missed, expected):
    desk, _ = make(CONFIG.format(settings=f"every: 5m, missed: {missed}", more=""))
    desk.advance(110)
    away(desk, 700)
    desk.advance(1)
    away(desk, 1)  # twice: it is missed no more
    desk.advance(200)
    assert fired(desk) == expected


def test_a_short_absence_is_no_miss(make):
    desk, _ = make(CONFIG.format(settings="every: 5m, missed: skip", more=""))
    desk.advance(90)
    away(desk, 30)
    desk.advance(1)
    assert fired(desk) == ["221500"]


def test_a_stopped_channel_fires_nothing_and_a_paused_one_is_stored(make):
    desk, destinations = make(FIVE)
    desk.channel("stop")
    desk.advance(380)
    assert fired(desk) == []
    desk.channel("start")
    assert fired(desk) == ["221500"] and len(destinations["out"].effects) == 1
    desk.channel("pause")
    desk.advance(300)
    assert fired(desk) == ["221500", "222000"] and len(destinations["out"].effects) == 1
    desk.channel("resume")
    desk.advance(1)
    assert len(destinations["out"].effects) == 2


@pytest.mark.parametrize("turns", range(12))
def test_a_crash_at_any_turn_fires_no_moment_twice_and_leaves_none_out(tmp_path, turns):
    with scripted():
        desk = Desk(tmp_path, FIVE)
        desk.reactor.advance(100.5)  # due
        for _ in range(turns):
            if not desk.reactor.run_handed(wait=desk.engine.writer._committing is not None):
                desk.reactor.advance(0)
        desk.crash()
        desk.settle()
        desk.crash()
        desk.advance(300)
        assert fired(desk) == ["221500", "222000"]
        desk.stop()


def test_what_the_store_cannot_take_is_tried_again(make):
    desk, _ = make(FIVE.replace("    \n", "    backlog: {pause: 100000, refuse: 1}\n"))
    channel = desk.engine.channels["adt"]
    channel.finished(-1)  # too much unfinished work
    channel._weigh()
    desk.advance(110)
    assert fired(desk) == [] and "takes no messages" in channel.listener.status()["why"]
    channel.finished(1)
    desk.advance(6)
    assert fired(desk) == ["221500"] and channel.listener.why == ""


def test_held_back_it_fires_the_last_moment_when_it_may(make):
    desk, _ = make(FIVE)
    channel = desk.engine.channels["adt"]
    channel.hold("test", pause=True)
    desk.advance(900)
    assert fired(desk) == []
    channel.hold("test", pause=False)
    desk.settle()
    assert fired(desk) == ["222500"]


def test_the_clock_on_the_wall_jumps(make):
    desk, _ = make(FIVE)
    desk.advance(110)
    real, shift = desk.engine.channels["adt"].intake.now, [0]
    desk.engine.channels["adt"].intake.now = lambda: real() + shift[0] * SECOND
    shift[0] = -400
    desk.advance(300)
    assert fired(desk) == ["221500"], "the moment comes again, and is done with"
    shift[0] = 2000
    for _ in range(4):
        desk.advance(30)
    assert fired(desk) == ["221500", "225000", "225500"], "of those that it jumped over, the last"


def test_a_reload_fires_nothing_twice_and_leaves_nothing_out(make):
    desk, _ = make(FIVE)
    desk.advance(101)
    edited = FIVE.replace("every: 5m", 'every: 5m, body: {x: "{{ time }}"}')
    assert reload(desk, edited)["changes"] == {"adt": ["listener"]}
    assert fired(desk) == ["221500"], "another body does not fire the moment again"
    desk.advance(300)
    assert fired(desk) == ["221500", "222000"]
    assert json.loads(messages.raw(desk.engine.store.reader, 2)) == {"x": "2023-11-14T22:20:00Z"}
    assert reload(desk, FIVE.replace("every: 5m", 'at: "22:10"'))["taken"]  # another schedule
    desk.advance(1)
    assert fired(desk) == ["221500", "222000"], "what came before it was declared is not missed"
    bad = reload(desk, FIVE.replace("every: 5m", 'at: "25:10"'))
    assert not bad["taken"] and desk.engine.channels["adt"].listener.schedule.text == "at 22:10"


def test_hl7_by_a_template(make):
    body = "MSH|^~\\\\&|T|X|I|Y|{{ local | hl7_date }}||ZZT^Z01|{{ control_id }}|P|2.5.1\\nZZT|1"
    text = FIVE.replace("format: json", "timezone: Europe/Madrid").replace("5m", f'5m, body: "{body}"')
    desk, _ = make(text)
    desk.advance(110)
    assert messages.raw(desk.engine.store.reader, 1) == (
        b"MSH|^~\\&|T|X|I|Y|20231114231500+0100||ZZT^Z01|adt-20231114T221500Z|P|2.5.1\rZZT|1\r"
    )
    assert desk.rows("SELECT control_id, type, state FROM message") == [
        ("adt-20231114T221500Z", "ZZT^Z01", "TRANSFORMED")
    ]


def moments(settings, start, count, zone="Europe/Berlin"):
    """Moments forwards from `start`; each is also the last one at its time and just before the next."""
    schedule = Schedule(Timer.model_validate(settings), ZoneInfo(zone))
    at, found = int(datetime.fromisoformat(start).timestamp() * SECOND), []
    for _ in range(count):
        after = schedule.after(at)
        assert at < after and schedule.last(after) == after and schedule.last(after + SECOND // 2) == after
        if found:
            assert schedule.last(after - 1) == at
        at = after
        found.append(datetime.fromtimestamp(at / SECOND, UTC).strftime("%d %H:%M"))
    return found


def test_schedules():
    assert moments({"every": "90m"}, "2026-01-01T00:00:00+00:00", 3) == ["01 01:30", "01 03:00", "01 04:30"]
    assert moments({"at": ["06:30", "18:00"]}, "2026-07-01T12:00:00+00:00", 3) == [
        "01 16:00",
        "02 04:30",
        "02 16:00",
    ]
    assert moments({"at": "0 8 * * mon"}, "2026-01-01T00:00:00+00:00", 2) == ["05 07:00", "12 07:00"]
    # 2026-03-29 has no 02:30 in Berlin, 2026-10-25 has it twice
    assert moments({"at": "02:30"}, "2026-03-28T00:00:00+00:00", 3) == ["28 01:30", "29 01:00", "30 00:30"]
    assert moments({"at": "02:30"}, "2026-10-24T00:00:00+00:00", 3) == ["24 00:30", "25 00:30", "26 01:30"]


def test_a_body_that_is_no_message_is_refused():
    from engine.errors import ConfigError

    context = BuildContext(channel="t", format=Json())
    Timer(every=60).build(context)
    with pytest.raises(ConfigError, match="format"):
        Timer(every=60, body="{{ time }}").build(context)
    with pytest.raises(ConfigError, match="same control id"):
        Timer(every=60, body="MSH|^~\\&|T|X|I|Y|||ZZT^Z01|1|P|2.5.1").build(BuildContext(channel="t"))
