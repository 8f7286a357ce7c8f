"""Named points at which a test may kill the process, as a power cut would.

`ISTHMUS_CRASH_AT=c1.before_commit` kills with SIGKILL at the first passing, `c2.after_commit:50` at the
fiftieth. Unset, it costs one test of a global per transaction. It refuses nothing: unknown points never fire.
Points: c1, c2, c3 (receive, route, deliver), respond (the second C3), each `.before_commit` and `.after_commit`
(before any answer).
"""

import os
import signal

_wanted, _, _nth = os.environ.get("ISTHMUS_CRASH_AT", "").partition(":")
ARMED = bool(_wanted)
_left = int(_nth or 1)


def hit(point: str) -> None:
    """Die here when this is the point that the environment names."""
    global _left  # noqa: PLW0603
    if point == _wanted:
        _left -= 1
        if _left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
