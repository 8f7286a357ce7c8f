"""`run`: the engine, until it is told to stop."""

from __future__ import annotations

import gc
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import structlog

from engine.cli import faults, saying
from engine.cli.options import config_option, console_options, data_option
from engine.cli.reactor import steady
from engine.cli.supervisor import Supervisor, ready

GC_THRESHOLD = (
    20_000,
    20,
    20,
)  # messages make few cycles; at the default every 20th microsecond is spent on looking


@click.command("run")
@config_option
@data_option
@console_options
@click.option("--check", is_flag=True, help="Check the configuration and exit.")
@click.option(
    "--log",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="How much is told on standard error.",
)
@click.option(
    "--watch/--no-watch",
    default=True,
    show_default=True,
    help="Take up edited configuration files by itself.",
)
def command(
    config: Path, data: Path, check: bool, log: str, watch: bool, listen: str, no_console: bool
) -> None:
    """Start the engine: open the ports of every channel, deliver what is open.

    Refuses a configuration with errors. SIGTERM or Ctrl-C stops it in order: ports first, then what is on its
    way finishes. SIGHUP takes up the edited configuration, as does `isthmus channel reload`; one with errors is
    told and the old one goes on.

    With a console this is a small process that keeps the two running: one that dies is started again, the other goes
    on. Without one (--no-console) it is the engine itself.

    Example: isthmus run --config config/channels.yaml --data /var/lib/isthmus
    """
    if not (check or no_console):
        sys.exit(both(config, data, log, watch, listen))
    from engine.cli.lint import linted
    from engine.spec.channel import load

    configuration = load(config)
    problems = linted(configuration)
    for problem in problems:
        click.echo(str(problem), err=True)
    errors = sum(problem.severity == "error" for problem in problems)
    if check:
        sys.exit(1 if errors else 0)
    if errors:
        click.echo(f"{saying.counted(errors, 'error')}: not started.", err=True)
        sys.exit(1)
    logging_to_stderr(log)
    from engine.app import Engine

    reactor = steady()
    engine = Engine(configuration, data, reactor)
    if watch:
        engine.reloader.watch.start()
    sys.exit(serve(engine, reactor))


def both(config: Path, data: Path, log: str, watch: bool, listen: str, first: Sequence[str] = ()) -> int:
    """Engine and console as two processes; gives the engine's exit status. `first`: how the engine is started the
    first time, when not by `run`."""
    places = ["--config", str(config), "--data", str(data)]
    engine = ["run", *places, "--log", log, "--watch" if watch else "--no-watch", "--no-console"]
    console = ["console", "--listen", listen, *places]
    return Supervisor(
        first or engine, console, lambda what: click.echo(f"isthmus: {what}", err=True), engine
    ).run()


def serve(engine: Any, reactor: Any, then: Any = None) -> int:
    """Run the reactor with an engine until a signal; `then(engine)` runs when all ports are open."""
    status = {"code": 0}

    def stop(code: int = 0) -> None:
        if status.get("stopping"):
            return
        status.update(code=code, stopping=True)
        engine.stop().addBoth(lambda _: reactor.callLater(0, reactor.stop))

    def signalled(number: int, _frame: Any) -> None:
        reactor.callFromThread(stop)

    def hung_up(number: int, _frame: Any) -> None:
        reactor.callFromThread(engine.reloader.ask, "signal")

    def broken(failure: Any) -> None:
        code = getattr(failure.value, "code", "")
        click.echo(f"isthmus: {failure.getErrorMessage()} [{code or failure.type.__name__}]", err=True)
        if not code:
            failure.printTraceback(sys.stderr)
        stop(2)

    def begin() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signalled)
        signal.signal(signal.SIGHUP, hung_up)
        starting = engine.start()
        if then is not None:
            starting.addCallback(lambda _: then(engine, stop))
        starting.addCallback(lambda _: ready())
        starting.addErrback(broken)

    gc.collect()
    gc.freeze()  # what was loaded at the start stays: never look at it again
    gc.set_threshold(*GC_THRESHOLD)
    engine.ousted = lambda: stop(2)
    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=True)
    return int(status["code"])


def logging_to_stderr(level: str) -> None:
    """Structured lines on standard error: time, level, event, ids and places; never message content."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
            if sys.stderr.isatty()
            else structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    faults.install()
