"""The console as a process on sockets: loopback, TLS, behind a proxy, and nobody's body read before they are known."""

from __future__ import annotations

import re
import signal
import socket
import ssl
from contextlib import contextmanager

import httpx
import pytest
from certificates import self_signed
from console_desk import PASSWORD
from engine_process import Process, until

from console.guard import LARGEST_UNKNOWN
from engine.cli import console as verb
from engine.store import audit


@pytest.fixture
def start(store, people, tmp_path):
    """Starts `isthmus console` on the store; gives its address."""

    logs = []

    @contextmanager
    def started(*options):
        (tmp_path / "channels.yaml").write_text("channels: {adt: {listener: {mllp: {port: 0}}}}\n")
        process = Process(
            ["console", "--data", str(tmp_path), "--config", str(tmp_path / "channels.yaml"), *options],
            tmp_path / f"log{len(logs)}",
        )
        process.spawn()
        logs.append(process)

        def told():
            process.check()
            return re.search(r"Console: (https?://\S+)", process.text)

        yield until(told)[1]
        assert process.terminate() in (0, -signal.SIGTERM), process.text

    return started


def answered(url, head, body=b"", whole=False):
    """Send a head and maybe a beginning of a body; what comes back at once, although the rest never comes.

    `whole`: what comes until the console closes the connection."""
    host, port = url.removeprefix("http://").removeprefix("https://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"{head}\r\nHost: {host}:{port}\r\n\r\n".encode() + body)
        told = connection.recv(65536)
        while whole and (more := connection.recv(65536)):
            told += more
        return told.decode("latin-1")


def test_it_is_on_loopback_and_answers_strangers_before_their_body(start, store):
    assert verb.LISTEN.startswith("127.0.0.1:")
    option = next(one for one in verb.command.params if one.name == "listen")
    assert option.default == verb.LISTEN
    with start("--listen", "127.0.0.1:0") as url:
        for more in ("", "\r\nAuthorization: Bearer ist_nobody", "\r\nCookie: isthmus_session=nobody"):
            for path in (
                "/api/v1/messages/search",
                "/api/v1/configuration/deploy",
                "/messages",
                "/acts",
                "/nothing",
            ):
                head = f"POST {path} HTTP/1.1\r\nContent-Length: 4000000\r\nOrigin: {url}{more}"
                status = answered(url, head).split()[1]
                assert status == ("401" if path.startswith("/api/") else "303"), path
        for path in ("/login", "/setup"):
            head = f"POST {path} HTTP/1.1\r\nOrigin: {url}\r\nContent-Type: application/x-www-form-urlencoded"
            assert answered(url, f"{head}\r\nContent-Length: {LARGEST_UNKNOWN + 1}").split()[1] == "413"
            piece = b"%x\r\n" % (LARGEST_UNKNOWN + 1) + b"a" * (LARGEST_UNKNOWN + 1) + b"\r\n"
            assert answered(url, f"{head}\r\nTransfer-Encoding: chunked", piece).split()[1] == "413", (
                "counted as it comes"
            )
        for length in ("-1", "+5", "0, 5", "5\r\nContent-Length: 0"):
            head = f"POST /login HTTP/1.1\r\nContent-Length: {length}"
            assert answered(url, head).split()[1] in ("400", "413"), length
        head = "POST /login HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"
        hidden = f"0\r\n\r\nGET /health HTTP/1.1\r\nHost: {url[7:]}\r\n\r\n".encode()
        told = answered(url, head, hidden, whole=True)
        assert told.startswith("HTTP/1.1 400") and told.count("HTTP/1.1") == 1, (
            "no request is hidden in another"
        )
        lie = {"x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https", "origin": url}
        answer = httpx.post(f"{url}/login", data={"name": "viewer", "password": PASSWORD}, headers=lie)
        assert answer.status_code == 303 and "secure" not in answer.headers["set-cookie"].lower()
        assert audit.find(store.reader, action="sign-in")[0].address == "127.0.0.1"
        assert "server" not in answer.headers and "strict-transport-security" not in answer.headers


def test_behind_a_proxy_the_named_one_alone_is_believed(start, store):
    for proxy, address, secure in (("127.0.0.1", "6.6.6.6", True), ("10.1.1.1", "127.0.0.1", False)):
        with start("--listen", "127.0.0.1:0", "--proxy", proxy) as url:
            told = {"x-forwarded-for": "6.6.6.6", "x-forwarded-proto": "https", "origin": url}
            answer = httpx.post(f"{url}/login", data={"name": "viewer", "password": PASSWORD}, headers=told)
            assert answer.status_code == 303
            cookies = answer.headers.get_list("set-cookie")
            assert all(("secure" in cookie.lower()) is secure for cookie in cookies) and len(cookies) == 2
            assert ("strict-transport-security" in answer.headers) is secure
            assert audit.find(store.reader, action="sign-in")[0].address == address


def test_over_tls_cookies_are_secure(start, tmp_path):
    self_signed(tmp_path)
    files = ["--tls-certificate", str(tmp_path / "cert.pem"), "--tls-key", str(tmp_path / "key.pem")]
    with start("--listen", "127.0.0.1:0", *files) as url:
        assert url.startswith("https://")
        trust = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
        trust.check_hostname = False
        answer = httpx.post(
            f"{url}/login",
            data={"name": "viewer", "password": PASSWORD},
            headers={"origin": url},
            verify=trust,
        )
        assert answer.status_code == 303 and "max-age" in answer.headers["strict-transport-security"]
        assert all("secure" in cookie.lower() for cookie in answer.headers.get_list("set-cookie"))
        with pytest.raises(httpx.HTTPError):
            httpx.get(url.replace("https", "http"))
