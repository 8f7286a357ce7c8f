import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_bench import Bench

from engine.errors import StoreError
from engine.security.keyring import Keyring
from engine.store import maintenance, messages, snapshots
from engine.store.bodies import Codec, Kind, body_id, pack, unpack

RING = Keyring.generate()
ADT = (
    b"MSH|^~\\&|EHR|HOSP|ISTHMUS|CLINIC|2026010112%04d||ADT^A01|%08d|P|2.5.1\rEVN|A01|202601011200\r"
    b"PID|1||%07d^^^HOSP^MR||LAST%d^FIRST%d^^^||19%02d0101|F|||%d MAIN ST^^TOWN^CA^90210||(555)555-%04d\r"
    b"PV1|1|I|W%d^R%d^B1^HOSP|R|||1234^DOC^ATT|||MED||||1|||1234^DOC^ATT|I|V%07d\r"
)


def adt(n):
    return ADT % (n % 60, n, n * 7, n * 31, n * 17, n % 90, n * 3, n, n % 9, n % 40, n)


@given(st.binary(max_size=70_000), st.booleans(), st.booleans())
def test_every_body_comes_back_byte_for_byte(data, encrypt, compress):
    codec = Codec(RING, None, encrypt=encrypt, compress=compress)
    row = body_id(12, Kind.PAYLOAD, 3)
    assert codec.open(row, codec.seal(row, data)) == (data, b"")


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_two_packed_bodies_come_back(first, second):
    assert unpack(pack(first, second)) == (first, second)


def test_settings_may_change_over_time(folder):
    for encrypt in (True, False, True):
        bench = Bench(folder, encrypt=encrypt, compress=encrypt)
        bench.receive(b"raw" * 50)
        assert {messages.raw(bench.reader, n[0]) for n in bench.reader.rows("SELECT id FROM message")} == {
            b"raw" * 50
        }
        bench.store.close()


def test_swapped_or_altered_bodies_are_noticed(bench):
    one = bench.receive(b"one" * 30).id
    two = bench.receive(b"two" * 30).id
    blob = bench.reader.rows("SELECT data FROM body WHERE id = ?", (body_id(two, Kind.RAW),))[0][0]
    for wrong in (blob, blob[:3], b"", bytes([blob[0] ^ 1]) + blob[1:], blob[:-1] + bytes([blob[-1] ^ 1])):
        bench.call(
            lambda tx, wrong=wrong: tx.execute("UPDATE body SET data = ? WHERE id = ?", (wrong, one << 12))
        )
        with pytest.raises(StoreError) as caught:
            messages.raw(bench.reader, one)
        assert caught.value.code == "store.corrupt"
        assert "one" not in str(caught.value)
    assert len(maintenance.check(bench.reader)) == 1


def test_nothing_readable_is_left_in_the_files(bench, folder):
    new = bench.receive(adt(1234567), mrn="MRN-SECRET-77", visit="VISIT-SECRET", ack=b"MSA|AA|ACK-TEXT")
    bench.route(new.id, "odoo", payload=b'{"name": "PAYLOAD-SECRET"}')
    bench.deliver(new.id, request=b"REQUEST-SECRET", response=b"RESPONSE-SECRET")
    bench.store.close()
    everything = b"".join(file.read_bytes() for file in folder.iterdir() if file.suffix != ".key")
    for secret in (b"SECRET", b"LAST", b"ACK-TEXT", b"MAIN ST"):
        assert secret not in everything


def test_a_dictionary_is_trained_when_it_pays_kept_encrypted_and_used(bench, folder):
    for n in range(199):
        bench.receive(adt(n), control_id=str(n), ack=b"MSH|ack|%d" % n)
    assert maintenance.train(bench.reader, "adt") is None, "too few"
    bench.receive(adt(199), control_id="199", ack=b"MSH|ack|199")
    trained = maintenance.train(bench.reader, "adt")
    assert trained.smaller < 0.9 * trained.plain
    bench.call(maintenance.save_dictionary, trained)
    bench.store.use_dictionaries()
    before = bench.reader.rows("SELECT length(data) FROM body ORDER BY id DESC LIMIT 1")[0][0]
    new = bench.receive(adt(5000), control_id="5000", ack=b"MSH|ack|5000")
    after = bench.reader.rows("SELECT length(data) FROM body ORDER BY id DESC LIMIT 1")[0][0]
    assert after < before
    bench.store.close()
    again = Bench(folder)
    assert messages.raw(again.reader, new.id) == adt(5000)
    assert b"LAST" not in again.reader.rows("SELECT data FROM dictionary")[0][0]
    again.store.close()


def test_reencryption_in_batches_makes_the_old_key_superfluous(bench, folder):
    ids = [bench.receive(b"message %d" % n, control_id=str(n)).id for n in range(25)]
    for n in range(200):
        bench.receive(adt(n), channel="other", control_id=str(n))
    bench.call(maintenance.save_dictionary, maintenance.train(bench.reader, "other"))
    bench.store.use_dictionaries()
    last = bench.receive(adt(7), channel="other", control_id="last").id
    for n in range(35):
        told = snapshots.Snapshot(f"Patient/{n}", "1", data=b'{"n": %d}' % n, message_id=last)
        bench.call(snapshots.put, "fhir", told)
    bench.keys.rotate()
    after, rounds, most = "0", 0, []

    def batch(tx):
        before = tx.db.total_changes
        found = maintenance.reencrypt(tx, after, 10)
        most.append(tx.db.total_changes - before)
        return found

    while after is not None:
        after = bench.call(batch)
        rounds += 1
    assert rounds > 20 and max(most[1:]) == 10, "no transaction changes more than it was told to"
    only_new = Keyring({2: bench.keys._keys[2]}, 2, bench.keys._blind_key)
    bench.reader.codec.keys = only_new
    assert [messages.raw(bench.reader, one) for one in ids] == [b"message %d" % n for n in range(25)]
    assert messages.raw(bench.reader, last) == adt(7)
    assert [snapshots.get(bench.reader, "fhir", f"Patient/{n}").data for n in (0, 34)] == [
        b'{"n": 0}',
        b'{"n": 34}',
    ]
    assert maintenance.keys_in_use(bench.reader) == {2}
    assert maintenance.check(bench.reader) == []
