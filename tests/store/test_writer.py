"""The writer on a reactor of its own making: calls run when `turn` says so, commits in the real thread."""

import os
import sqlite3
from queue import Empty, SimpleQueue

import pytest
from store_bench import START
from twisted.internet.task import Clock

from engine.errors import StoreError
from engine.store import messages
from engine.store.store import new_epoch, open_store


class Reactor(Clock):
    """A clock with callFromThread; `turn` waits for what the commit thread says (no sleeps)."""

    def __init__(self):
        super().__init__()
        self.from_thread = SimpleQueue()

    def callFromThread(self, function, *args):
        self.from_thread.put((function, args))

    def turn(self):
        """Run what is due now, and whatever comes from the thread within a moment."""
        self.advance(0)
        while True:
            try:
                function, args = self.from_thread.get(timeout=0.2)
            except Empty:
                return
            function(*args)
            self.advance(0)


class Seen:
    """Collects results and errors in the order of the callbacks."""

    def __init__(self):
        self.results = []

    def __call__(self, result, error):
        self.results.append(error.code if isinstance(error, StoreError) else error or result)


@pytest.fixture(params=[0, 2, 100], ids=["thread", "mixed", "inline"])
def grouped(request, folder):
    from engine.security.keyring import open_keyring

    reactor = Reactor()
    store = open_store(folder, open_keyring(folder), reactor=reactor, inline=request.param)
    yield store, reactor
    closing = store.close()
    reactor.turn()
    assert closing.called


def new(n):
    return messages.NewMessage("adt", b"message %d" % n, START, control_id=str(n), sender="A|B")


def receive(n):
    return lambda tx: messages.receive(tx, new(n)).id


def test_works_run_in_order_and_are_answered_in_order_when_durable(grouped):
    store, reactor = grouped
    seen = []

    def done(result, error):
        rows = store.reader.rows("SELECT count(*) FROM message WHERE id = ?", (result,))
        seen.append((result, rows[0][0], error))

    for n in range(300):
        store.writer.submit(receive(n), done)
    assert seen == [], "nothing is told before its commit"
    reactor.turn()
    assert seen == [(n + 1, 1, None) for n in range(300)]


def test_what_comes_while_a_commit_runs_is_the_next_group(folder):
    from engine.security.keyring import open_keyring

    reactor = Reactor()
    store = open_store(folder, open_keyring(folder), reactor=reactor, inline=0)
    order = []
    store.writer.submit(lambda tx: order.append("work 1"), lambda r, e: order.append("done 1"))
    reactor.advance(0)
    store.writer.submit(lambda tx: order.append("work 2"), lambda r, e: order.append("done 2"))
    assert order == ["work 1"]
    reactor.turn()
    assert order == ["work 1", "work 2", "done 1", "done 2"], "the next commit starts before the callbacks"
    store.close()
    reactor.turn()


def test_only_the_guilty_work_gets_its_error(grouped):
    store, reactor = grouped
    seen = Seen()
    guilty = ValueError("guilty")

    def bad(tx):
        messages.receive(tx, new(100))
        raise guilty

    def violating(tx):
        tx.execute("INSERT INTO message (channel) VALUES (NULL)")

    for work in (receive(1), bad, receive(2), violating, receive(3)):
        store.writer.submit(work, seen)
    reactor.turn()
    assert seen.results[:3] == [1, guilty, 2]
    assert isinstance(seen.results[3], sqlite3.IntegrityError)
    assert seen.results[4] == 3
    assert store.reader.rows("SELECT count(*) FROM message") == [(3,)]
    assert store.reader.rows("SELECT value FROM counter WHERE name = 'received'") == [(3,)]
    assert store.writer.state == "open"


def test_a_callback_that_raises_harms_nobody(grouped):
    store, reactor = grouped
    seen = Seen()
    store.writer.submit(receive(1), lambda result, error: 1 / 0)
    store.writer.submit(receive(2), seen)
    reactor.turn()
    assert seen.results == [2]


def test_callbacks_may_submit(grouped):
    store, reactor = grouped
    seen = Seen()
    store.writer.submit(receive(1), lambda result, error: store.writer.submit(receive(2), seen))
    reactor.turn()
    assert seen.results == [2]


def test_run_gives_a_deferred(grouped):
    store, reactor = grouped
    good, bad = store.writer.run(receive(1)), store.writer.run(lambda tx: 1 / 0)
    failures = []
    bad.addErrback(lambda failure: failures.append(failure.type))
    reactor.turn()
    assert good.result == 1
    assert failures == [ZeroDivisionError]


def test_another_process_that_writes_is_waited_for_without_blocking(grouped, folder):
    store, reactor = grouped
    seen = Seen()
    other = sqlite3.connect(folder / "isthmus.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store.writer.submit(receive(1), seen)
    reactor.turn()
    for _ in range(3):
        reactor.advance(0.01)
    assert seen.results == []
    assert store.writer.backlog == 1
    other.execute("ROLLBACK")
    other.close()
    reactor.advance(0.01)
    reactor.turn()
    assert seen.results == [1]
    assert store.writer.state == "open"


def test_a_frozen_engine_that_wakes_late_changes_nothing(grouped, folder):
    store, reactor = grouped
    seen, states = Seen(), []
    store.writer.on_state(lambda state, error: states.append((state, error.code)))
    store.writer.submit(receive(1), seen)
    reactor.turn()
    other = sqlite3.connect(folder / "isthmus.db", isolation_level=None)
    new_epoch(other, START)
    other.close()
    store.writer.submit(receive(2), seen)
    store.writer.submit(receive(3), seen)
    reactor.turn()
    store.writer.submit(receive(4), seen)
    reactor.turn()
    assert seen.results == [1, "store.fenced", "store.fenced", "store.fenced"]
    assert states == [("fenced", "store.fenced")]
    assert store.reader.rows("SELECT count(*) FROM message") == [(1,)]


def test_a_full_disk_fails_the_group_and_the_writer_recovers_by_itself(grouped):
    store, reactor = grouped
    seen, states = Seen(), []
    store.writer.on_state(lambda state, error: states.append(state))
    store.writer.submit(receive(1), seen)
    reactor.turn()
    db = store._writing.db
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages}")
    big = b"".join(bytes([n % 251, n // 251]) for n in range(60_000))
    store.writer.submit(lambda tx: tx.put(1, 4, big * 3), seen)
    store.writer.submit(receive(2), seen)
    reactor.turn()
    store.writer.submit(receive(3), seen)
    reactor.turn()
    assert seen.results == [1, "store.full", "store.full", "store.full"]
    reactor.advance(1)
    reactor.turn()
    assert store.writer.state == "failed", "the probe finds it still full"
    db.execute("PRAGMA max_page_count=1000000")
    reactor.advance(1)
    reactor.turn()
    assert states == ["failed", "open"]
    store.writer.submit(receive(4), seen)
    reactor.turn()
    assert seen.results[-1] == 2
    assert store.reader.rows("PRAGMA integrity_check") == [("ok",)]


def test_a_read_only_database_is_called_so(grouped):
    store, reactor = grouped
    seen = Seen()
    store._writing.db.execute("PRAGMA query_only=ON")
    store.writer.submit(receive(1), seen)
    reactor.turn()
    assert seen.results == ["store.readonly"]
    store._writing.db.execute("PRAGMA query_only=OFF")
    reactor.advance(1)
    reactor.turn()
    assert store.writer.state == "open"


def test_after_close_works_fail_clearly(folder):
    from engine.security.keyring import open_keyring

    reactor = Reactor()
    store = open_store(folder, open_keyring(folder), reactor=reactor)
    seen = Seen()
    store.writer.submit(receive(1), seen)
    closing = store.close()
    reactor.turn()
    assert closing.called
    assert seen.results == [1]
    store.writer.submit(receive(2), seen)
    reactor.turn()
    assert seen.results == [1, "store.closed"]


def test_the_log_stays_bounded_under_load(grouped, folder):
    store, reactor = grouped
    for start in range(0, 20_000, 1000):
        for n in range(start, start + 1000):
            store.writer.submit(lambda tx, n=n: tx.put(n, 0, os.urandom(2000)))
        while store.writer.backlog:
            reactor.advance(0)
            if store.writer.backlog and store.writer._committing:
                function, args = reactor.from_thread.get(timeout=10)
                function(*args)
    assert (folder / "isthmus.db-wal").stat().st_size < 32_000_000, "50 MB were written"
    assert store._checkpointer.failures == 0


def test_the_log_is_not_overwritten_when_the_disk_may_have_lost_what_was_copied(grouped, folder):
    store, reactor = grouped
    log = folder / "isthmus.db-wal"
    store.writer.submit(receive(1), Seen())
    reactor.turn()
    before = log.read_bytes()
    store._checkpointer._unasked = store._checkpointer._restart = True
    store._checkpointer.committed(1, True)
    seen, lost = Seen(), StoreError("lost", code="store.io")
    store.writer._witness = lambda: lost
    store.writer.submit(receive(2), seen)
    reactor.turn()
    reactor.advance(5)  # probes
    reactor.turn()
    assert seen.results == ["store.io"]
    assert log.read_bytes() == before
    store.writer._witness = lambda: None
    reactor.advance(2)
    reactor.turn()
    store.writer.submit(receive(2), seen)
    reactor.turn()
    assert seen.results == ["store.io", 2]
    assert log.read_bytes()[:32] != before[:32], "begun anew"


def test_a_log_that_is_copied_to_its_end_is_not_copied_again(bench, folder):
    """Beside a COMMIT that begins it anew, SQLite would take the new pages for copied."""
    told = []
    checkpointer = bench.store._checkpointer
    checkpointer._db.set_trace_callback(lambda sql: told.append(sql) if "checkpoint" in sql else None)
    for commits, asked in ((1, 1), (0, 1), (2, 2), (0, 2), (0, 2), (1, 3)):
        for _ in range(commits):
            bench.writer.call(lambda tx: tx.event("test"))
        checkpointer._checkpoint()
        assert len(told) == asked
    assert checkpointer.failures == 0


@pytest.mark.parametrize("mode", ["engine", "client"])
def test_nobody_who_writes_copies_the_log_within_a_commit(bench, folder, mode):
    bench.store.close()
    store = open_store(folder, bench.keys, mode=mode)
    assert store._writing.db.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    store.close()


def test_a_synchronous_writer_raises_and_waits_for_others(bench, monkeypatch):
    with pytest.raises(ZeroDivisionError):
        bench.writer.call(lambda tx: 1 / 0)
    assert bench.receive(b"after").id == 1
    other = sqlite3.connect(bench.folder / "isthmus.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("engine.store.writer.BUSY_LIMIT", 0.05)
    bench.writer._db.execute("PRAGMA busy_timeout=10")
    with pytest.raises(StoreError) as caught:
        bench.receive(b"waiting")
    assert caught.value.code == "store.busy"
    other.execute("ROLLBACK")
    other.close()
    assert bench.receive(b"free").id == 2


def test_a_disk_that_failed_during_a_commit_is_not_believed(grouped, monkeypatch):
    """fdatasync may return as if all were well while the file system fails; the file system is asked afterwards."""
    import errno

    store, reactor = grouped
    seen = Seen()
    refused = OSError(errno.EROFS, os.strerror(errno.EROFS))

    def failed(file):
        raise refused

    monkeypatch.setattr(os, "utime", failed)
    store.writer.submit(new(1), seen)
    reactor.turn()
    assert seen.results == ["store.readonly"] and store.writer.state == "failed"
    reactor.advance(1)
    reactor.turn()
    assert store.writer.state == "failed", "a probe is believed no more than a COMMIT"
    monkeypatch.undo()
    reactor.advance(1)
    reactor.turn()
    assert store.writer.state == "open"
    store.writer.submit(new(2), seen)
    reactor.turn()
    assert len(seen.results) == 2 and not isinstance(seen.results[1], str)
