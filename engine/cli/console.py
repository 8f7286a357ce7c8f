"""`console`: the web console and REST API, in a process of its own."""

from __future__ import annotations

import os
import socket
import sys
import time
from pathlib import Path
from typing import Any

import click
import structlog

from engine.cli.options import config_option, data_option
from engine.cli.run import logging_to_stderr
from engine.errors import IsthmusError, StoreError, UserError

LISTEN = "127.0.0.1:8580"
NICE = 5  # the console is on the engine's machine: who searches waits before who sends
PATIENCE = 30.0  # seconds that a console waits for the engine to make or migrate the store
log = structlog.get_logger()


@click.command("console")
@click.option(
    "--listen",
    default=LISTEN,
    envvar="ISTHMUS_CONSOLE",
    show_default=True,
    help="HOST:PORT; port 0: a free one.",
)
@click.option(
    "--tls-certificate", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="PEM chain."
)
@click.option("--tls-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="PEM key.")
@click.option(
    "--proxy", default="", help="Addresses of reverse proxies whose X-Forwarded-* headers are believed."
)
@click.option(
    "--oidc",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    envvar="ISTHMUS_OIDC",
    help="YAML file of OpenID Connect providers to sign in with.",
)
@config_option
@data_option
def command(
    listen: str, tls_certificate: Path | None, tls_key: Path | None, proxy: str, oidc: Path | None, config: Path,
    data: Path,
) -> None:  # fmt: skip
    """Serve the console on the message store of a data folder, whether or not an engine runs on it.

    `run` starts one by itself. As long as there is no user, it prints where the first admin is made.

    Example: isthmus console --data data --listen 127.0.0.1:8580
    """
    import uvicorn

    from console.app import make_app
    from console.hurry import Hurried
    from console.oidc import read_providers

    logging_to_stderr("info")
    os.nice(NICE)
    if hasattr(os, "SCHED_BATCH"):  # Linux: it never takes the processor from an ACK that is being made
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    host, port = address(listen)
    if (tls_certificate is None) != (tls_key is None):
        raise click.UsageError("--tls-certificate and --tls-key go together")
    if tls_certificate is None and not proxy and host not in ("127.0.0.1", "::1", "localhost"):
        click.echo("isthmus: the console is reachable from other machines without TLS", err=True)
    providers = read_providers(oidc) if oidc is not None else {}
    bound = bind(host, port)
    url = f"{'https' if tls_certificate else 'http'}://{host}:{bound.getsockname()[1]}"
    invite(data, url)
    settings: dict[str, Any] = {"proxy_headers": bool(proxy), "forwarded_allow_ips": proxy or None}
    if tls_certificate is not None:
        settings |= {"ssl_certfile": str(tls_certificate), "ssl_keyfile": str(tls_key)}
    server = uvicorn.Server(
        uvicorn.Config(
            make_app(data, config, providers), log_config=None, access_log=False, server_header=False,
            h11_max_incomplete_event_size=65536, http=Hurried, timeout_graceful_shutdown=2, **settings,
        )
    )  # fmt: skip
    server.run([bound])


def address(text: str) -> tuple[str, int]:
    """HOST:PORT."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise click.UsageError(f"{text!r} is not HOST:PORT, such as {LISTEN}")
    return host.strip("[]") or "127.0.0.1", int(port)


def bind(host: str, port: int) -> socket.socket:
    """The listening socket, or one clear line."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(2048)  # who comes before the application is ready waits for it
    except OSError as error:
        raise UserError(
            f"the console cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}", code="console.port",
            todo="give another one with --console (of `run`) or --listen",
        ) from None  # fmt: skip
    return bound


def invite(data: Path, url: str) -> None:
    """Say where the console is and, as long as there is no user, the set-up token (to the terminal only)."""
    from engine.security.keyring import open_keyring
    from engine.store import users
    from engine.store.store import open_store

    until = time.monotonic() + PATIENCE
    while True:
        try:
            store = open_store(data, open_keyring(data), mode="client")
            break
        except StoreError as error:
            if error.code not in ("store.missing", "store.too_old", "store.busy") or time.monotonic() > until:
                raise
            time.sleep(0.1)
    try:
        token = store.writer.call(users.offer_setup)
    except IsthmusError as error:
        log.error("console.setup", code=error.code)
        token = None
    finally:
        store.close()
    if token is not None:
        click.echo(f"Console: {url}/setup?token={token}  (makes the first admin, once)", err=True)
    else:
        click.echo(f"Console: {url}", err=True)
    sys.stderr.flush()
