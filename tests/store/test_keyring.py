import os

import pytest

from engine.errors import StoreError
from engine.security import keyring
from engine.store.store import open_store


def test_first_start_makes_a_private_key_file_and_the_next_reads_it(folder):
    made = keyring.open_keyring(folder)
    assert keyring.key_path(folder).stat().st_mode & 0o777 == 0o600
    again = keyring.open_keyring(folder)
    assert again.decrypt(1, made.encrypt(b"text", b"row"), b"row") == b"text"
    assert again.blind("1001") == made.blind("1001")


def test_the_environment_names_the_key_file(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("ISTHMUS_KEY_FILE", str(tmp_path / "elsewhere" / "key"))
    keyring.open_keyring(folder)
    assert (tmp_path / "elsewhere" / "key").exists()
    assert not (folder / "isthmus.key").exists()


def test_a_text_opens_only_where_it_was_sealed():
    ring = keyring.Keyring.generate()
    sealed = ring.encrypt(b"text", b"row 1")
    with pytest.raises(StoreError) as caught:
        ring.decrypt(1, sealed, b"row 2")
    assert caught.value.code == "store.corrupt"


def test_nonces_never_repeat_not_even_after_a_fork_or_the_end_of_the_counter():
    ring = keyring.Keyring.generate()
    ring._counter = iter([2**32 - 1, 2**32])
    nonces = {ring.encrypt(b"", b"")[:12] for _ in range(1000)}
    assert len(nonces) == 1000
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ring.encrypt(b"", b"")[:12])
        os._exit(0)
    os.waitpid(child, 0)
    in_child = os.read(reading, 12)
    os.close(reading)
    os.close(writing)
    assert in_child[:8] != ring.encrypt(b"", b"")[:8]


def test_rotation_keeps_old_texts_readable_and_the_blind_index_the_same(folder):
    ring = keyring.open_keyring(folder)
    old, blind = ring.encrypt(b"text", b""), ring.blind("1001")
    assert ring.rotate() == 2
    assert ring.current == 2
    again = keyring.open_keyring(folder)
    assert again.decrypt(1, old, b"") == b"text"
    assert again.decrypt(2, ring.encrypt(b"new", b""), b"") == b"new"
    assert again.blind("1001") == blind


def test_an_unknown_key_is_named():
    with pytest.raises(StoreError, match="key 7") as caught:
        keyring.Keyring.generate().decrypt(7, b"x" * 40, b"")
    assert caught.value.code == "store.key"


def test_blind_is_keyed_and_fits_an_sqlite_integer():
    one, other = keyring.Keyring.generate(), keyring.Keyring.generate()
    assert one.blind("1001") != other.blind("1001")
    assert all(-(2**63) <= one.blind(str(number)) < 2**63 for number in range(1000))
    assert one.digest(b"1001") != other.digest(b"1001")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b'{"current": 1, "keys": {"1": "AAAA"}, "blind": "AAAA"}', b"\xff\xfe"],
)
def test_a_damaged_key_file_is_refused(folder, content):
    path = keyring.key_path(folder)
    keyring.open_keyring(folder)
    path.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        keyring.open_keyring(folder)
    assert caught.value.code == "store.key"


def test_a_key_file_that_others_can_read_is_refused(folder):
    keyring.open_keyring(folder)
    keyring.key_path(folder).chmod(0o644)
    with pytest.raises(StoreError, match="others"):
        keyring.open_keyring(folder)


def test_no_new_key_is_made_beside_a_database(bench, folder):
    keyring.key_path(folder).unlink()
    with pytest.raises(StoreError, match="missing"):
        keyring.open_keyring(folder)


@pytest.mark.parametrize("mode", ["engine", "client", "reader"])
def test_a_wrong_key_is_noticed_when_the_store_is_opened(bench, folder, mode):
    bench.receive()
    bench.store.close()
    with pytest.raises(StoreError) as caught:
        open_store(folder, keyring.Keyring.generate(), mode=mode)
    assert caught.value.code == "store.key"
    open_store(folder, bench.keys, mode=mode).close()
