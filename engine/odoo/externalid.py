"""External ids: the one name under which a record of another system is known in Odoo.

`isthmus.res_partner.patient/HOSP/1001` is module `isthmus`, model `res.partner`, key `patient/HOSP/1001`.
Guarantees: two different (model, key) never share a name, the name can be turned back into both, and it
holds nothing that Odoo refuses (a CHECK forbids spaces) or reads as something else (a comma separates the
references of a many2many cell). Case is kept: PostgreSQL compares names byte by byte.

Refuses: an empty key, and a name above 1024 characters (the unique index takes no more than 2.7 KB).
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from engine.odoo.errors import OdooError
from engine.states import Result

MODULE = "isthmus"
LONGEST = 1024
_SAFE = "/:.-_~@+^|=&"
_MODULE = re.compile(r"[a-z][a-z0-9_]*\Z")


def encode(model: str, key: str) -> str:
    """The name part of the external id for `key` of `model`."""
    if not key:
        raise _refuse("an operation has an empty key", model)
    head = model.replace("_", "%5F").replace(".", "_")
    name = f"{head}.{quote(key, safe=_SAFE, errors='surrogatepass')}"
    if len(name) > LONGEST:
        raise _refuse(f"a key is too long for an external id ({len(name)} characters)", model)
    return name


def decode(name: str) -> tuple[str, str]:
    """(model, key) of a name that `encode` made."""
    head, dot, key = name.partition(".")
    if not dot or not key:
        raise ValueError("not an external id of Isthmus")
    return head.replace("_", ".").replace("%5F", "_"), unquote(key, errors="surrogatepass")


def retired(xid: str) -> str:
    """The second external id that a record has where `xid` ("module.name") is a number that was merged away."""
    module, _, name = xid.partition(".")
    model, _, key = name.partition(".")
    return f"{module}.{model}.retired/{key}"


def valid_module(module: str) -> bool:
    """Whether `module` can be the module part: no dot, so that the name starts after the first one."""
    return _MODULE.match(module) is not None


def _refuse(what: str, model: str) -> OdooError:
    return OdooError(
        what,
        result=Result.PERMANENT,
        code="odoo.key",
        where=model,
        todo="give the operation a key that names the record in the sending system",
    )
