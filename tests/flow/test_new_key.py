"""A new key while the engine works: everything that is encrypted is encrypted again, and outlives the old key."""

from __future__ import annotations

from test_upkeep import ask, desk_of, run  # noqa: F401

from engine.security import keyring
from engine.store import answered, commands, maintenance, messages, users


def test_a_new_key_while_the_engine_works(desk, tmp_path):
    desk = desk()
    desk.send(*[(f"C{n}", str(n)) for n in range(300)])
    assert ask(desk, "rotate-key").result == {"key": 2}
    desk.send(("N1", "1"))
    for _ in range(200):
        desk.advance(0.05)
    reader = desk.engine.store.reader
    assert maintenance.reencrypting(reader) is None
    assert maintenance.keys_in_use(reader) == {2}
    assert ask(desk, "drop-keys", keys=[1]).result == {"dropped": [1]}
    assert set(keyring.load(tmp_path / "data" / "isthmus.key").fingerprints()) == {0, 2}
    desk.crash()
    assert b"C7" in messages.raw(desk.engine.store.reader, desk.id_of("C7"))
    assert maintenance.check(desk.engine.store.reader) == []


def test_second_factors_and_kept_answers_outlive_their_key(desk):
    desk = desk()

    def secrets(tx):
        users.add(tx, "ann", "x", [])
        users.set_totp(tx, "ann", "SECRET")
        answered.begin(tx, "ann", "k1", b"request")
        answered.end(tx, "ann", "k1", b"answer")

    desk.engine.writer.run(secrets)
    desk.settle()
    reader = desk.engine.store.reader
    assert maintenance.keys_in_use(reader) == {1}
    ask(desk, "rotate-key")
    for _ in range(20):
        desk.advance(0.05)
    assert maintenance.keys_in_use(reader) == {2}
    ask(desk, "drop-keys", keys=[1])
    desk.crash()
    assert users.secrets_of(desk.engine.store.reader, "ann").totp == "SECRET"
    found = []
    desk.engine.writer.run(lambda tx: answered.begin(tx, "ann", "k1", b"request")).addCallback(found.append)
    desk.settle()
    assert found == [b"answer"]


def test_a_key_that_a_waiting_edit_is_sealed_with_is_in_use(desk):
    desk = desk()
    desk.engine._loops[0].stop()
    desk.engine.writer.run(
        lambda tx: commands.add(tx, "ann", "edit", {"id": 1, "sealed": commands.seal(tx, "1", b"MSH")})
    )
    desk.engine.upkeep.rotate()
    for _ in range(20):
        desk.advance(0.05)
    reader = desk.engine.store.reader
    assert maintenance.reencrypting(reader) is None and maintenance.keys_in_use(reader) == {1, 2}


def test_a_rotation_that_was_cut_off_goes_on_and_no_second_one_begins(desk):
    desk = desk()
    desk.send(*[(f"C{n}", str(n)) for n in range(1000)])
    assert ask(desk, "rotate-key").state == "done"
    refused = ask(desk, "drop-keys", keys=[1]), ask(desk, "rotate-key")
    assert [one.state for one in refused] == ["failed", "failed"]
    desk.crash()
    assert maintenance.keys_in_use(desk.engine.store.reader) == {1, 2}
    run(desk)
    assert maintenance.keys_in_use(desk.engine.store.reader) == {2}
