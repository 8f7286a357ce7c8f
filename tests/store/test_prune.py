import pytest
from store_bench import START

from engine.spec.options import ChannelOptions
from engine.store import maintenance, retention
from engine.store.retention import Sizes, content_rule, errors_before, give_up, prune, rules, walk
from engine.store.search import show

SECOND = 1_000_000
DAY = 86_400 * SECOND
NOW = START + 400 * DAY


def options(storage="full", **kept):
    return ChannelOptions(retention=kept, storage=storage)


def run(bench, chosen, now=NOW, channel="adt", rows=retention.ROWS):
    """What the engine does: every rule to its end. Gives (kind, ids) and the largest batch."""
    done, most = [], 0
    for rule in rules(channel, chosen, now):
        for _, _, ids in walk(bench.reader, rule):
            done.append((rule.what, ids))
            left = ids
            while left:
                before = bench.store._writing.db.total_changes
                one = bench.call(prune, rule, left, rows)
                changed = bench.store._writing.db.total_changes - before
                most = max(most, changed)
                assert one.rows <= rows
                left = left[one.done :]
    return done, most


def fill(bench, days, channel="adt", **fields):
    """A message a day, sent."""
    ids = []
    for day in days:
        one = bench.receive(
            b"raw %d" % day, at=START + day * DAY, control_id=f"{channel}{day}", channel=channel, ack=b"ack",
            ack_code="AA", **fields,
        ).id  # fmt: skip
        bench.route(one, "odoo")
        bench.deliver(one, request=b"q", response=b"a")
        ids.append(one)
    return ids


def bodies(bench):
    return {row[0] for row in bench.reader.rows("SELECT DISTINCT id >> 12 FROM body")}


def rows(bench):
    return [row[0] for row in bench.reader.rows("SELECT id FROM message ORDER BY id")]


def test_without_retention_nothing_goes(bench):
    ids = fill(bench, range(5))
    assert run(bench, options())[0] == []
    assert bodies(bench) == set(ids)


def test_bodies_go_first_then_rows(bench):
    ids = fill(bench, range(400))
    run(bench, options(content="30d", messages="365d"))
    assert rows(bench) == ids[35:]
    assert bodies(bench) == set(ids[370:]), "received 30 days ago, to the microsecond, stays"
    assert show(bench.reader, ids[100])["deliveries"][0]["state"] == "SENT"
    assert bench.reader.rows("SELECT count(*) FROM delivery") == [(365,)]
    assert maintenance.check(bench.reader) == []
    counted = dict(bench.reader.rows("SELECT name, value FROM counter WHERE name LIKE '%pruned'"))
    assert counted == {"content_pruned": 370, "pruned": 35}


def test_one_channel_does_not_touch_another(bench):
    ids, others = fill(bench, range(3)), fill(bench, range(3), channel="siu")
    run(bench, options(messages="8d"))
    assert rows(bench) == others
    assert not set(ids) & bodies(bench)


@pytest.mark.parametrize("kept", [{"content": 0}, {"content": 0, "messages": "8d"}])
def test_what_is_not_finished_stays_whatever_its_age(bench, kept):
    received = bench.receive(b"1", control_id="1").id
    queued, failed, given_up = (bench.receive(b"%d" % n, control_id=str(n)).id for n in (2, 3, 4))
    bench.route(queued, "odoo", "file")
    bench.deliver(queued, "odoo")
    bench.route(failed, state="ERROR", error_code="step")
    bench.route(given_up, "odoo")
    bench.deliver(given_up, state="ERROR", error_code="odoo.required")
    before = [show(bench.reader, one) for one in (received, queued, failed, given_up)]
    assert [ids for _, ids in run(bench, options(**kept))[0] if ids] == []
    assert [show(bench.reader, one) for one in (received, queued, failed, given_up)] == before


def test_errors_go_only_when_an_age_says_so_and_each_leaves_an_event(bench):
    old, fresh, message = (bench.receive(b"%d" % n, control_id=str(n)).id for n in (1, 2, 3))
    for one in (old, fresh):
        bench.route(one, "odoo")
    bench.deliver(old, state="ERROR", error_code="odoo.required")
    bench.route(message, state="ERROR", error_code="step")
    chosen = options(content="30d", errors="90d")
    assert errors_before(options(content="30d"), NOW) == 0
    assert bench.call(give_up, "adt", errors_before(chosen, NOW)) == [(old, "odoo", False)]
    bench.deliver(fresh, state="ERROR", error_code="odoo.required")
    assert bench.call(give_up, "adt", errors_before(chosen, START + 90 * DAY)) == [], "not that old"
    shown = show(bench.reader, old)
    assert (shown["deliveries"][0]["state"], shown["events"][-1]["kind"]) == ("DISCARDED", "discard")
    assert shown["events"][-1]["actor"] == "retention"
    run(bench, chosen)
    assert bodies(bench) == {fresh}
    assert rows(bench) == [old, fresh, message]


def test_what_is_sent_again_meanwhile_is_passed_over(bench):
    ids = fill(bench, range(3))
    (rule,) = rules("adt", options(content="1d"), NOW)
    ((_, _, found),) = list(walk(bench.reader, rule))
    bench.call(retention.operate.resend, [ids[1]], "anna")
    done = bench.call(prune, rule, found)
    assert (done.done, done.messages) == (3, 2)
    assert bodies(bench) == {ids[1]}


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 200])
def test_a_transaction_never_changes_more_rows_than_its_batch(bench, limit):
    ids = fill(bench, range(12))
    for one in ids[:2]:
        bench.call(lambda tx, one=one: [tx.event("retry", message_id=one) for _ in range(20)])
    _, most = run(bench, options(content="8d", messages="9d"), rows=limit)
    assert rows(bench) == []
    assert bodies(bench) == set()
    # one row of the counter comes with a batch
    assert most <= limit + 1
    assert bench.reader.rows("SELECT count(*) FROM event WHERE message_id IS NOT NULL") == [(0,)]
    counted = dict(bench.reader.rows("SELECT name, value FROM counter WHERE name LIKE '%pruned'"))
    assert counted == {"content_pruned": 12, "pruned": 12}


def test_the_answer_outlives_the_content_while_a_duplicate_may_come(bench):
    old, fresh = fill(bench, [0, 6])
    now = START + 8 * DAY
    run(bench, options(content="1d"), now)
    assert bodies(bench) == {fresh}
    assert bench.receive(b"raw 6", at=now, control_id="adt6").ack == b"ack"
    assert not bench.receive(b"raw 0", at=now, control_id="adt0").duplicate_of, (
        f"{old} was forgotten after a week"
    )
    run(bench, options(content="1d"), now)
    assert fresh in bodies(bench), "not looked at again for ever"


def test_a_level_that_was_set_later_takes_what_was_stored_before(bench):
    ids = fill(bench, range(3))
    run(bench, options("no-content"), START + 4 * DAY)
    assert bench.reader.rows("SELECT DISTINCT id & 15 FROM body") == [(1,)]
    run(bench, options("metadata"), START + 4 * DAY)
    assert bench.reader.rows("SELECT count(*) FROM body") == [(3,)], "only an ACK is left: not worth a walk"
    run(bench, options("metadata", messages="8d"))
    assert rows(bench) == []
    assert ids


def test_above_a_size_the_oldest_content_goes(bench):
    ids = fill(bench, range(20))
    fill(bench, range(20), channel="siu")
    each = bench.reader.rows("SELECT id >> 12, sum(length(data)) FROM body GROUP BY id >> 12")
    size = dict(each)
    sizes = Sizes("adt")
    assert sizes.floor(bench.reader, sum(size[one] for one in ids)) is None
    limit = sum(size[one] for one in ids[-5:])
    floor = sizes.floor(bench.reader, limit)
    assert floor == ids[-6]
    rule = content_rule("adt", options(), NOW, until=floor)
    for _, _, found in walk(bench.reader, rule):
        bench.call(prune, rule, found)
    assert bodies(bench) & set(ids) == set(ids[-5:])
    assert sizes.floor(bench.reader, limit) is None
    more = fill(bench, range(20, 22))
    assert sizes.floor(bench.reader, limit) in ids[-5:], "what came since is measured"
    assert more


def test_retention_may_not_forget_control_ids_that_are_remembered():
    with pytest.raises(ValueError, match="taken for a new one"):
        options(messages="6d")
    assert ChannelOptions(retention={"messages": "6d"}, duplicates={"window": 86_400})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("15m", 900), ("24h", 86_400), ("30d", 2_592_000), (60, 60), ("0s", 0), ("30", 30),
        ("1.5h", 5400),
    ],
)  # fmt: skip
def test_ages(text, seconds):
    assert options(content=text).retention.content == seconds


@pytest.mark.parametrize("text", ["d", "-1d", "1.5s", "30 days", "", True, -1, 1.5, None, ["1d"]])
def test_what_is_no_age(text):
    with pytest.raises(ValueError, match="duration"):
        options(errors=text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("50GB", 50 * 10**9), ("1GiB", 2**30), ("1.5 MB", 1_500_000), (4096, 4096), ("512B", 512)],
)
def test_sizes(text, size):
    assert options(max_size=text).retention.max_size == size


@pytest.mark.parametrize("text", ["GB", "5 gigs", "-1GB", "0", True, ""])
def test_what_is_no_size(text):
    with pytest.raises(ValueError, match=r"size|greater"):
        options(max_size=text)
