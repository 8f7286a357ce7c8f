"""Defects in the log: what kind and where, never what they say, for that may quote a message.

Guarantees: an exception that nobody caught (in a callback, a delayed call, a Deferred, a thread, a library that logs)
is one line of this log, without its text; errors of ours are told with their code. Refuses nothing.
"""

from __future__ import annotations

import logging
import sys
import threading
from types import TracebackType
from typing import Any

import structlog
from twisted.logger import ILogObserver, globalLogBeginner
from zope.interface import provider

from engine.errors import IsthmusError, places

log = structlog.get_logger()


def install() -> None:
    """Take over what Twisted, Python's logging, threads and the garbage collector would write themselves."""
    globalLogBeginner.beginLoggingTo([_of_twisted], discardBuffer=True, redirectStandardIO=False)
    logging.basicConfig(handlers=[_OfLibraries(logging.WARNING)], force=True)
    threading.excepthook = lambda args: _tell("thread", args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _tell("unraisable", args.exc_value, args.exc_traceback)


def _tell(what: str, error: BaseException | None, trace: TracebackType | None) -> None:
    code = {"code": error.code} if isinstance(error, IsthmusError) else {}
    log.error("fault", what=what, error=type(error).__name__, **code, where=places(trace))


@provider(ILogObserver)
def _of_twisted(event: dict[str, Any]) -> None:
    failure = event.get("log_failure")
    if failure is not None:
        _tell(event["log_namespace"], failure.value, failure.getTracebackObject())


class _OfLibraries(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            _tell(record.name, *record.exc_info[1:])
        else:
            log.warning("library", what=record.name, where=f"{record.pathname}:{record.lineno}")
