"""`send`: an MLLP client, and for FHIR an HTTP client, that shows the answers."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from twisted.internet.defer import inlineCallbacks

from destinations.mllp import MllpClient, endpoint
from engine.cli.showing import console
from engine.errors import DeliveryError, HL7Error
from engine.fhir.resource import Fhir
from engine.hl7 import ack, batch
from engine.hl7.peek import peek
from engine.security import tls
from engine.webclient import Lost, Policy, WebClient

FHIR_JSON = "application/fhir+json"
LARGEST = 1 << 20  # bytes of an answer


@click.command("send")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--to",
    "target",
    required=True,
    help="mllp://host:port, mllps:// with TLS; for FHIR http(s)://host:port/path.",
)
@click.option(
    "--ca", type=click.Path(path_type=Path, exists=True), help="CA of the server's certificate (TLS)."
)
@click.option("--timeout", default=30.0, show_default=True, help="Seconds to wait for an answer.")
@click.option("--whole", is_flag=True, help="Send a file as one frame, even when it holds several messages.")
def command(files: tuple[Path, ...], target: str, ca: Path | None, timeout: float, whole: bool) -> None:
    """Send the messages of HL7 FILES over MLLP, or FHIR resources as a FHIR server notifies of them, one after the
    other, and print each answer.

    Exit 0 when all were accepted (AA or CA, HTTP 2xx), 1 otherwise.

    Example: isthmus send config/samples/*.hl7 --to mllp://127.0.0.1:2575
    """
    parts = urlsplit(target)
    web = parts.scheme in ("http", "https")
    if not (web or parts.scheme in ("mllp", "mllps")) or not parts.hostname or not (parts.port or web):
        raise click.BadParameter(
            f"{target!r}: write mllp://host:port or http://host:port/path", param_hint="--to"
        )
    from twisted.internet import reactor as installed

    reactor: Any = installed

    secure = parts.scheme in ("mllps", "https")
    trust = tls.client(tls.ClientTls(ca=ca), parts.hostname, Path.cwd()) if secure else None
    failed: list[str] = []
    if web:
        policy = Policy(trust.factory) if trust is not None else None
        sending = notify_all(WebClient(reactor, timeout, LARGEST, policy), target, files, failed)
    else:
        where = endpoint(reactor, parts.hostname, parts.port or 0, trust)
        client = MllpClient(reactor, where, secure=secure, timeout=timeout)
        sending = send_all(client, [(file, raw) for file in files for raw in frames(file, whole)], failed)
    sending.addErrback(lambda failure: failed.append(failure.getTraceback()))
    sending.addBoth(lambda _: reactor.stop())
    reactor.run()
    sys.exit(1 if failed else 0)


def frames(file: Path, whole: bool = False) -> list[bytes]:
    """The messages of a file, with the segment terminators that HL7 wants (CR)."""
    raw = file.read_bytes()
    found = [raw] if whole else batch.split(raw).messages or [raw]
    return [message.replace(b"\r\n", b"\r").replace(b"\n", b"\r") for message in found]


@inlineCallbacks
def send_all(client: MllpClient, messages: list[tuple[Path, bytes]], failed: list[str]) -> Any:
    """Send in order, print a line each."""
    for file, raw in messages:
        try:
            reply = ack.read((yield client.send(raw)))
        except DeliveryError as error:
            failed.append(file.name)
            click.echo(f"{file.name}: no answer: {error} [{error.code}]", err=True)
            continue
        if reply.code not in ("AA", "CA"):
            failed.append(file.name)
        about = f": {reply.text}" if reply.text else ""
        console.print(
            f"{file.name}: {_kind(raw)} {reply.control_id} {reply.code or 'unreadable answer'}{about}",
            markup=False,
        )


@inlineCallbacks
def notify_all(client: WebClient, url: str, files: Iterable[Path], failed: list[str]) -> Any:
    """Send FHIR resources in order, each by PUT to its address below `url` (POST when it has no id)."""
    for file in files:
        raw = file.read_bytes()
        try:
            data = Fhir().peek(raw).view.data
            own = f"/{data['resourceType']}/{data['id']}" if isinstance(data.get("id"), str) else ""
        except HL7Error as error:
            own, data = "", {"resourceType": f"unreadable ({error.code})"}
        bare = data["resourceType"] == "Bundle" or not own
        method, address = ("POST", url) if bare else ("PUT", url.rstrip("/") + own)
        try:
            answer = yield client.request(method, address, {"Content-Type": FHIR_JSON}, raw)
        except Lost as error:
            failed.append(file.name)
            click.echo(f"{file.name}: no answer: {error.how}", err=True)
            continue
        if not 200 <= answer.status < 300:
            failed.append(file.name)
        console.print(f"{file.name}: {data['resourceType']} HTTP {answer.status}", markup=False)


def _kind(raw: bytes) -> str:
    try:
        return peek(raw).type
    except HL7Error:
        return "?"
