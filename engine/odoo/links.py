"""The address of a record in Odoo's web client, for people. Nothing is asked of Odoo.

Guarantees: an address on the server of the connection and nowhere else; it holds the model and the number of the
record, and no data of it. Refuses: models and numbers that are none, and connections without a web client
(`sandbox:`): "" for all of these.

Seen with a browser on Odoo 16.0 and 19.0: `/web#id=…` opens the form on both, 19 then writes its own
`/odoo/<model>/<id>` into the address bar, which 16 answers with 404.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote

OWN_PATHS = 18  # the first version with /odoo/<model>/<id> (18 was read in its source, not run)
_MODEL = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")


class Record(NamedTuple):
    """A record in one Odoo database."""

    model: str
    id: int


def records(text: str | None) -> list[Record]:
    """The records that a delivery touched, as the store keeps them: `res.partner,12 calendar.event,5`."""
    found: list[Record] = []
    for word in (text or "").split():
        model, _, number = word.rpartition(",")
        if _MODEL.fullmatch(model) and number.isascii() and number.isdigit() and number[0] != "0":
            found.append(Record(model, int(number)))
    return found


def record_url(server: str, model: str, record: int, major: int = 0) -> str:
    """Where people see a record; "" when there is no such place.

    `server` is the connection's `url`; `major` the version of Odoo, 0 when it is not known (the address of before 18,
    which later ones understand).
    """
    if not server.startswith(("http://", "https://")) or not _MODEL.fullmatch(model) or record < 1:
        return ""
    base = server.rstrip("/")
    if major >= OWN_PATHS:
        return f"{base}/odoo/{model if '.' in model else f'm-{model}'}/{record}"
    return f"{base}/web#id={record}&model={quote(model)}&view_type=form"
