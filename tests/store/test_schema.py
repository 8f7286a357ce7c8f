import os
import re
import sqlite3
import subprocess
import sys

import pytest
from store_bench import Bench

from engine.errors import StoreError
from engine.security.keyring import open_keyring
from engine.store import sqlite
from engine.store.store import open_store


def described(db):
    """Every table, index and column as the database knows them, whatever the text that made them."""
    tables = [
        row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
    ]
    indexes = db.execute("SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'index' ORDER BY name")
    return (
        {table: db.execute(f"PRAGMA table_xinfo({table})").fetchall() for table in tables},
        [(name, table, re.sub(r"\s+", " ", sql or "")) for name, table, sql in indexes],
        {
            name: re.sub(r"--.*|\s+", " ", sql).replace(" ", "")
            for name, sql in db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
            if not name.startswith("sqlite_")
        },
        db.execute("PRAGMA user_version").fetchone(),
        db.execute("PRAGMA application_id").fetchone(),
    )


def test_schema_and_migrations_make_the_same_database(tmp_path):
    new, migrated = (sqlite3.connect(tmp_path / name, isolation_level=None) for name in ("new", "old"))
    sqlite.migrate(new)
    for number, _, file in sqlite.migrations():
        sqlite.apply(migrated, number, file)
    assert described(new) == described(migrated)
    numbers = [number for number, _, _ in sqlite.migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
    new.close()
    migrated.close()


def test_a_failing_migration_changes_nothing(tmp_path):
    db = sqlite3.connect(tmp_path / "db", isolation_level=None)
    sqlite.migrate(db)
    before = described(db)
    (tmp_path / "02_pre_wrong.sql").write_text("CREATE TABLE extra (id);\nCREATE TABLE message (id);")
    with pytest.raises(StoreError, match="02_pre_wrong"):
        sqlite.apply(db, 2, tmp_path / "02_pre_wrong.sql")
    assert described(db) == before
    db.close()


def parameters(sql):
    return len(set(re.findall(r"\?\d+", sql))) or sql.count("?")


def test_every_named_query_compiles_and_has_its_line(bench):
    for name, sql in sqlite.load_queries().items():
        bench.reader.execute(f"EXPLAIN {sql}", [None] * parameters(sql))
        assert name.islower()


def test_the_hot_reads_use_their_indexes(bench):
    queries = sqlite.load_queries()
    wanted = {
        "same_control_id": "message_control_id",
        "unrouted": "message_unrouted",
        "open_deliveries": "delivery_open",
    }
    for name, index in wanted.items():
        sql = queries[name]
        plan = str(bench.reader.rows(f"EXPLAIN QUERY PLAN {sql}", [1] * parameters(sql)))
        assert index in plan
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize("mode", ["engine", "client", "reader"])
def test_a_too_new_database_is_refused(bench, folder, mode):
    bench.call(lambda tx: tx.execute("PRAGMA user_version=999"))
    bench.store.close()
    with pytest.raises(StoreError, match="schema 999") as caught:
        open_store(folder, bench.keys, mode=mode)
    assert caught.value.code == "store.too_new"


@pytest.mark.parametrize("mode", ["client", "reader"])
def test_clients_never_make_or_migrate_a_database(folder, mode):
    folder.mkdir()
    keys = open_keyring(folder)
    with pytest.raises(StoreError) as caught:
        open_store(folder, keys, mode=mode)
    assert caught.value.code == "store.missing"
    sqlite3.connect(folder / sqlite.DATABASE).close()
    (folder / sqlite.DATABASE).touch()
    with pytest.raises(StoreError) as caught:
        open_store(folder, keys, mode=mode)
    assert caught.value.code == "store.too_old"


def test_a_foreign_database_and_a_file_that_is_none_are_refused(folder):
    folder.mkdir()
    keys = open_keyring(folder)
    db = sqlite3.connect(folder / sqlite.DATABASE)
    db.execute("CREATE TABLE theirs (id)")
    db.close()
    with pytest.raises(StoreError) as caught:
        open_store(folder, keys)
    assert caught.value.code == "store.foreign"
    (folder / sqlite.DATABASE).write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError) as caught:
        open_store(folder, keys)
    assert caught.value.code == "store.corrupt"


def test_a_second_engine_is_told_which_process_is_the_first(bench, folder):
    with pytest.raises(StoreError, match=str(os.getpid())) as caught:
        open_store(folder, bench.keys)
    assert caught.value.code == "store.locked"


def test_the_lock_ends_with_its_process(folder):
    code = (
        "import os, sys; from pathlib import Path; from engine.security.keyring import open_keyring\n"
        "from engine.store.store import open_store; folder = Path(sys.argv[1])\n"
        "store = open_store(folder, open_keyring(folder)); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(folder)], timeout=30, check=False)
    assert killed.returncode == -9
    Bench(folder).store.close()


def test_every_start_is_a_new_epoch_and_commits_are_durable(bench, folder):
    first = bench.store.epoch
    assert bench.call(lambda tx: tx.rows("PRAGMA synchronous")) == [(2,)]
    assert bench.call(lambda tx: tx.rows("PRAGMA journal_mode")) == [("wal",)]
    bench.store.close()
    again = Bench(folder)
    assert again.store.epoch == first + 1
    again.store.close()


def test_a_reader_cannot_write(bench, folder):
    reading = open_store(folder, bench.keys, mode="reader")
    with pytest.raises(StoreError):
        reading.writer.call(lambda tx: None)
    with pytest.raises(sqlite3.OperationalError):
        reading.reader.execute("DELETE FROM message")
    reading.close()


def test_the_database_is_for_its_owner_only(bench, folder):
    assert (folder / sqlite.DATABASE).stat().st_mode & 0o077 == 0
