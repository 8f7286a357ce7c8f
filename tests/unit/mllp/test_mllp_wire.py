"""The listener in a process of its own, on real sockets."""

import json
import socket
import ssl
import time

import pytest

from engine.hl7.mllp import frame


def serve(run, environment=None, **settings):
    process = run("serve.py", json.dumps({"port": 0, **settings}), **(environment or {}))
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.stderr.read())
    return int(line)


def dial(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def answers(sock, count):
    data = b""
    while data.count(b"\x1c\r") < count:
        chunk = sock.recv(65536)
        if not chunk:
            break
        data += chunk
    return [part.removeprefix(b"\x0b") for part in data.split(b"\x1c\r")[:-1]]


def ask(sock, raw):
    sock.sendall(frame(raw))
    return answers(sock, 1)[0]


def test_pipelined_slow_broken_and_half_closed_clients(run):
    port = serve(run)
    with dial(port) as slow, dial(port) as fast, dial(port) as broken:
        broken.sendall(b"\x0bnever ended")
        for byte in frame(b"slow")[:-1]:
            slow.sendall(bytes([byte]))
        fast.sendall(b"".join(frame(b"%d" % number) for number in range(1000)))
        assert answers(fast, 1000) == [b"A%d" % number for number in range(1000)]
        slow.sendall(b"\r")
        assert answers(slow, 1) == [b"Aslow"]
        assert json.loads(ask(fast, b"STATUS"))["connections"] == 3
        fast.sendall(frame(b"last") + b"\x0bnot framed to its end\x1c")
        fast.shutdown(socket.SHUT_WR)
        assert answers(fast, 2) == [b"Alast", b"Anot framed to its end"]
        assert fast.recv(1) == b""


def test_partial_writes_keep_every_byte_in_order(run):
    """The peer reads nothing while 8 MB of answers pile up: the direct path must hand over."""
    port = serve(run, max_in_flight=4, max_size=2_000_000)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port))
        bodies = [bytes([65 + number]) * 1_000_000 for number in range(8)]
        for body in bodies[:4]:
            sock.sendall(frame(body))
        time.sleep(0.3)  # let answers meet a full socket
        sock.sendall(frame(b"small"))
        assert answers(sock, 5) == [b"A" + body for body in bodies[:4]] + [b"Asmall"]
        for body in bodies[4:]:
            sock.sendall(frame(body))
            assert answers(sock, 1) == [b"A" + body]


def test_memory_goes_back_after_large_messages(run):
    # glibc keeps up to 64 MB of freed memory in its heap; with a fixed threshold, RSS is what is really held.
    port = serve(run, {"MALLOC_MMAP_THRESHOLD_": "131072"}, max_size=25_000_000)
    with dial(port) as sock:
        ask(sock, b"warm" * 1000)
        before = int(ask(sock, b"RSS"))
        assert len(ask(sock, b"x" * 20_000_000)) == 20_000_001
        assert int(ask(sock, b"RSS")) - before < 8_000  # KB
        sock.sendall(b"\x0b" + b"x" * 60_000_000 + b"\x1c\r")
        assert answers(sock, 1) == [b"mllp.too_large"]
        assert int(ask(sock, b"RSS")) - before < 8_000


def test_a_connection_above_the_limit_disturbs_nobody(run):
    port = serve(run, max_connections=1)
    with dial(port) as first, dial(port) as second:
        with pytest.raises(ConnectionResetError):
            second.sendall(frame(b"x"))
            assert second.recv(100) == b""
            raise ConnectionResetError  # a clean end is as good
        assert ask(first, b"1") == b"A1"
        assert json.loads(ask(first, b"STATUS"))["refused"] == 1


def test_stop_answers_what_is_due_and_ends(run):
    process = run("serve.py", json.dumps({"port": 0}))
    port = int(process.stdout.readline())
    with dial(port) as sock:
        assert ask(sock, b"STOP") == b"ASTOP"
        assert sock.recv(1) == b""
    assert process.wait(10) == 0


def context(authority, identity=None):
    made = ssl.create_default_context(cafile=str(authority.folder / f"{authority.name}.pem"))
    if identity:
        made.load_cert_chain(*identity)
    return made


def secure(sock, made):
    return made.wrap_socket(sock, server_hostname="localhost")


def test_tls_and_what_is_no_tls(run, authority, stranger):
    certificate, key = authority.issue("server")
    port = serve(run, interface="127.0.0.1", tls={"certificate": certificate, "key": key})
    with secure(dial(port), context(authority)) as sock:
        assert sock.version() in {"TLSv1.2", "TLSv1.3"}
        assert ask(sock, b"1") == b"A1"
        with dial(port) as plain:
            plain.sendall(frame(b"MSH|clear text"))
            assert b"A" not in plain.recv(1000)
        with pytest.raises(ssl.SSLCertVerificationError):
            secure(dial(port), context(stranger))
        old = context(authority)
        with pytest.warns(DeprecationWarning):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secure(dial(port), old)
        body = b"x" * 1_000_000
        assert ask(sock, body) == b"A" + body
        status = json.loads(ask(sock, b"STATUS"))
        assert status["tls_failures"] == 3
        assert (status["frames"], status["connections"]) == (3, 1)
        assert status["certificate_not_after"]


def test_stop_with_tls_clients(run, authority):
    certificate, key = authority.issue("server")
    process = run("serve.py", json.dumps({"port": 0, "tls": {"certificate": certificate, "key": key}}))
    with secure(dial(int(process.stdout.readline())), context(authority)) as sock:
        assert ask(sock, b"STOP") == b"ASTOP"
        assert sock.recv(1) == b""
    assert process.wait(10) == 0


def test_mutual_tls(run, authority, stranger):
    certificate, key = authority.issue("server")
    ca = str(authority.folder / "ca.pem")
    port = serve(run, tls={"certificate": certificate, "key": key, "client_ca": ca})
    with secure(dial(port), context(authority, authority.issue("client"))) as good:
        assert ask(good, b"1") == b"A1"
        for identity in (None, stranger.issue("client")):
            made = context(authority, identity)
            with pytest.raises((ssl.SSLError, ConnectionError)), secure(dial(port), made) as bad:
                bad.sendall(frame(b"x"))
                assert bad.recv(100) == b""
                raise ConnectionError  # a clean end is as good
        status = json.loads(ask(good, b"STATUS"))
        assert (status["frames"], status["tls_failures"]) == (2, 2)
