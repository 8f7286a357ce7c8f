"""A console that was running when the engine made a new key seals with that one from then on."""

import pytest

from console.stores import Stores
from engine.security.keyring import open_keyring
from engine.store import commands, maintenance, users
from engine.store.store import open_store


@pytest.fixture
def stores(tmp_path):
    open_store(tmp_path, open_keyring(tmp_path)).close()
    stores = Stores(tmp_path)
    yield stores
    stores.close()


def test_a_new_key(stores, tmp_path):
    stores.write(lambda tx: users.add(tx, "ann", "x", []))
    with stores.reading() as before:
        assert commands.seal(before, "1", b"MSH").startswith("1:")
        keys = open_keyring(tmp_path)
        keys.rotate()
        stores.write(lambda tx: users.set_totp(tx, "ann", "SECRET"))
    with stores.reading() as tx:
        assert commands.seal(tx, "1", b"MSH").startswith("2:")
        assert maintenance.keys_in_use(tx) == {2}
        keys.drop([1])
        assert users.secrets_of(tx, "ann").totp == "SECRET"
    (tmp_path / "isthmus.key").rename(tmp_path / "away")
    with stores.reading() as tx:
        assert users.get(tx, "ann")
