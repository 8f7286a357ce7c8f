"""`messages export --server`: the same file there as here, a message at a time; what breaks off is no file."""

from __future__ import annotations

import json
import socket
import threading

import pytest

from console import exporting
from engine.store import audit


@pytest.mark.parametrize("form", ["hl7", "json", "csv"])
def test_the_same_file_there_as_here(run, put, tmp_path, form):
    for number in range(3):
        put(f"C{number}", error="table.code" if number == 1 else None)
    files = []
    for there in (True, False):
        file = tmp_path / f"{there}.{form}"
        words = ("messages", "export", "--channel", "adt", "--limit", "2", "--format", form, "-o", str(file))
        assert run(*words, there=there) == (0, "", "Exported 2 (of 2 chosen).\n")
        assert file.stat().st_mode & 0o777 == 0o600
        assert run(*words, there=there)[0] == 2, "not over a file"
        text = file.read_bytes()
        if form == "json":  # beside the events, of which exporting makes one
            text = json.dumps([one | {"events": []} for one in json.loads(text)]).encode()
        files.append(text)
    assert files[0] == files[1]
    assert b"C1" in files[0] and b"C2" not in files[0]


def test_a_folder_gets_a_file_each_and_standard_output_all(run, put, tmp_path, store):
    first, second = put(), put("C2", name="Vögel")
    folder = tmp_path / "out"
    folder.mkdir()
    assert run("messages", "export", str(first), str(second), "-o", str(folder))[0] == 0
    assert sorted(one.name for one in folder.iterdir()) == [f"{first}.hl7", f"{second}.hl7"]
    assert "Vögel".encode() in (folder / f"{second}.hl7").read_bytes()
    code, text, _ = run("messages", "export", str(first), "-o", "-")
    assert code == 0 and "Keller" in text
    assert run("messages", "export", "--channel", "none", "-o", str(tmp_path / "no")) == (
        0, "", "Exported 0 (of 0 chosen).\n"
    )  # fmt: skip
    assert not (tmp_path / "no").exists()
    store.writer.call(lambda tx: tx.execute("DELETE FROM body WHERE id < ?", (second * 4096,)).rowcount)
    code, _, told = run("messages", "export", str(first), str(second), "-o", str(tmp_path / "part"))
    assert code == 1 and "Exported 1 (of 2 chosen)" in told
    assert {row.actor for row in audit.find(store.reader, action="messages.export")} == {"admin"}


def test_who_may_not_see_patient_data_gets_a_table_alone(run, put, tmp_path):
    put()
    file = tmp_path / "x"
    code, _, told = run("messages", "export", "--channel", "adt", "-o", str(file), user="operator")
    assert code == 2 and "patient data" in told and not file.exists()
    table = ("messages", "export", "--channel", "adt", "-o", str(file), "--format", "csv")
    assert run(*table, user="operator")[0] == 0 and file.exists()
    assert run("messages", "export", "-o", str(file))[0] == 2, "names nothing"


def test_what_the_console_cannot_finish_is_an_error_and_no_file(run, put, tmp_path, monkeypatch):
    put(), put("C2")
    whole = exporting.parts

    def breaking(*given):
        yield next(whole(*given))
        raise RuntimeError("the store went away")

    monkeypatch.setattr(exporting, "parts", breaking)
    file = tmp_path / "short.hl7"
    code, _, told = run("messages", "export", "--channel", "adt", "-o", str(file))
    assert code == 2 and "server.broken" in told and not file.exists()


def test_a_body_without_its_last_line_is_an_error_although_http_sees_its_end(run, tmp_path):
    """A proxy may end an answer properly that it got a half of."""
    bound = socket.create_server(("127.0.0.1", 0))

    def half():
        one, _ = bound.accept()
        one.recv(1 << 16)
        body = b'{"kind":"message","id":1,"content":"TVNIfA=="}\n{"kind":"mess'
        one.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        one.close()

    thread = threading.Thread(target=half)
    thread.start()
    file = tmp_path / "short.hl7"
    code, _, told = run(
        "messages", "export", "--channel", "adt", "-o", str(file), there=False,
        ISTHMUS_SERVER=f"http://127.0.0.1:{bound.getsockname()[1]}",
    )  # fmt: skip
    thread.join()
    bound.close()
    assert code == 2 and "server.broken" in told and not file.exists()
