import random
import sqlite3
from collections import namedtuple

import pytest
from store_bench import Bench

from engine.errors import StoreError
from engine.store import backup, maintenance, messages
from engine.store.sqlite import DATABASE


def content(n):
    return random.Random(n).randbytes(10_000)


@pytest.fixture
def source(bench, folder):
    for n in range(300):
        bench.receive(content(n), control_id=str(n))
    bench.path = folder / DATABASE
    return bench


def test_a_backup_is_one_moment_though_messages_come_between_its_steps(source, tmp_path, monkeypatch):
    monkeypatch.setattr(backup, "PAGES", 5)
    monkeypatch.setattr(backup, "PAUSE", 0)
    steps = []

    def meanwhile(done, total):
        steps.append((done, total))
        source.receive(b"meanwhile", control_id=f"M{len(steps)}")

    size = backup.backup(source.path, tmp_path / "copy.db", meanwhile)
    assert len(steps) > 20
    assert steps == sorted(steps), "it never begins anew"
    assert steps[-1][0] == steps[-1][1]
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600
    restored = tmp_path / "restored"
    restored.mkdir(mode=0o700)
    (tmp_path / "copy.db").rename(restored / DATABASE)
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []
    (restored / "isthmus.key").write_bytes((source.folder / "isthmus.key").read_bytes())
    (restored / "isthmus.key").chmod(0o600)
    again = Bench(restored)
    assert again.reader.rows("SELECT count(*) FROM message") == [(300,)]
    assert messages.raw(again.reader, 300) == content(299)
    assert maintenance.check(again.reader) == []
    assert again.receive(b"next", control_id="next").id == 301
    again.store.close()
    assert size > 0
    assert source.reader.rows("SELECT count(*) FROM message") == [(300 + len(steps),)]


def test_a_backup_writes_over_nothing_and_leaves_nothing_half_done(source, tmp_path, monkeypatch):
    target = tmp_path / "copy.db"
    target.write_text("precious")
    with pytest.raises(StoreError) as caught:
        backup.backup(source.path, target)
    assert caught.value.code == "store.exists"
    assert target.read_text() == "precious"
    target.unlink()

    def interrupted(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup.backup(source.path, target, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    with pytest.raises(StoreError) as caught:
        backup.backup(source.path, tmp_path / "absent" / "copy.db")
    assert caught.value.code == "store.io"


def test_a_full_disk_is_told_before_anything_is_written(source, tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(backup.shutil, "disk_usage", lambda folder: Usage(100, 99, 1))
    with pytest.raises(StoreError) as caught:
        backup.backup(source.path, tmp_path / "copy.db")
    assert caught.value.code == "store.full"
    with pytest.raises(StoreError) as caught:
        source.store.vacuum()
    assert caught.value.code == "store.full"


def test_a_damaged_copy_is_no_backup(source, tmp_path, monkeypatch):
    source.store.close()
    with sqlite3.connect(source.path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with source.path.open("r+b") as file:
        file.seek(4096 * 60)
        file.write(b"\xff" * 4096 * 40)
    with pytest.raises(StoreError) as caught:
        backup.backup(source.path, tmp_path / "copy.db")
    assert caught.value.code == "store.corrupt"
    assert not (tmp_path / "copy.db").exists()


def test_vacuum_gives_room_back(source):
    source.call(lambda tx: tx.execute("DELETE FROM body WHERE id >> 12 > 10"))
    before, after = source.store.vacuum()
    assert after < before / 5
    assert maintenance.check(source.reader, bodies=True) != [], "RECEIVED without content is noticed"
    assert messages.raw(source.reader, 10) == content(9)
