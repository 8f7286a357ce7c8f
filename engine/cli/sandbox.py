"""`sandbox`: the Odoo stand-in alone, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from engine.errors import ConfigError


@click.command("sandbox")
@click.option("--listen", default="127.0.0.1:8069", show_default=True, help="HOST:PORT.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    help="Folder of its database.",
)
@click.option(
    "--version", default="19.0", show_default=True, type=click.Choice(["16.0", "19.0"]), help="Odoo version."
)
def command(listen: str, data: Path, version: str) -> None:
    """Serve the Odoo stand-in: JSON-2 and JSON-RPC, database `clinic`, login and key `sandbox`.

    Example: isthmus sandbox --listen 127.0.0.1:8069 --data /tmp/clinic
    """
    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise click.BadParameter("write HOST:PORT, such as 127.0.0.1:8069", param_hint="--listen")
    from twisted.internet import reactor as installed
    from twisted.internet.error import CannotListenError

    reactor: Any = installed

    from engine.odoo.sandbox import Sandbox
    from engine.odoo.sandbox.server import serve

    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        sandbox = Sandbox(data / "sandbox.db", version=version)
    except ValueError as error:
        raise click.UsageError(f"{error}. Name another folder with --data.") from None

    def listening(found: Any) -> None:
        click.echo(
            f"Odoo {version} sandbox on http://{listen}/ (database clinic, login sandbox, key sandbox)"
        )

    wrong: list[str] = []

    def failed(failure: Any) -> None:
        refused = failure.check(CannotListenError) and failure.value.socketError
        wrong.append(getattr(refused, "strerror", None) or failure.getErrorMessage())
        reactor.callWhenRunning(reactor.stop)

    serve(sandbox, host or "127.0.0.1", int(port), reactor).addCallbacks(listening, failed)
    reactor.run()
    if wrong:
        raise ConfigError(
            f"cannot listen on {listen}: {wrong[0]}",
            code="sandbox.port",
            todo="give another one with --listen",
        )
