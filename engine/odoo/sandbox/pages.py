"""The answers of Odoo that are not JSON: pages of werkzeug and of the database selector.

Guarantees: status, content type and text of the real ones. Refuses: to repeat anything of a
request in a page.
"""

from __future__ import annotations

import json

Page = tuple[int, dict[str, str], bytes]
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_LOST = "The requested URL was not found on the server. If you entered the URL manually please check your spelling"
_NO_DATABASE = (
    "<!DOCTYPE html>\n<title>404 Not Found</title>\n<h1>Not Found</h1>\n<p>No database is selected and the "
    "requested URL was not found in the server-wide controllers.</p>\n<p>Please verify the hostname, "
    "<a href=/web/login>login</a> and try again.</p>\n\n<!-- Alternatively, use the X-Odoo-Database header. -->\n"
)
_UNSUPPORTED = (
    "<!doctype html>\n<html lang=en>\n<title>415 Unsupported Media Type</title>\n<h1>Unsupported Media Type</h1>\n"
    "<p>Request inferred type is compatible with [&#39;http&#39;] but &#39;/json/2/&lt;__model__&gt;/"
    "&lt;__method__&gt;&#39; is type=&#39;json2&#39;.<br><br>Please verify the Content-Type request header and "
    "try again.</p>\n"
)


def _page(status: int, title: str, text: str) -> Page:
    html = (
        f"<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n"
    )
    return status, dict(_HTML), html.encode()


def not_found() -> Page:
    """No such path."""
    return _page(404, "Not Found", f"{_LOST} and try again.")


def no_database() -> Page:
    """A database that does not exist (or PostgreSQL is down: the real one gives the same page)."""
    return 404, dict(_HTML), _NO_DATABASE.encode()


def unsupported() -> Page:
    """JSON-2 with another Content-Type."""
    return 415, dict(_HTML), _UNSUPPORTED.encode()


def wrong_type(major: int) -> Page:
    """JSON-RPC with another Content-Type."""
    text = (
        "Request inferred type is compatible with [&#39;http&#39;] but &#39;/jsonrpc&#39; is type=&#39;json"
    )
    if major < 17:
        return _page(400, "Bad Request", f"{text}&#39;.")
    again = "Please verify the Content-Type request header and try again."
    return _page(415, "Unsupported Media Type", f"{text}rpc&#39;.<br><br>{again}")


def broken() -> Page:
    """An exception outside of everything that answers with JSON."""
    text = "Either the server is overloaded or there is an error in the application."
    first = "The server encountered an internal error and was unable to complete your request."
    return _page(500, "Internal Server Error", f"{first} {text}")


def why(body: bytes) -> str:
    """What Python's JSON parser says of a body."""
    try:
        json.loads(body)
    except ValueError as error:
        return str(error)
    except RecursionError:
        return "nested too deeply"
    return "not JSON"
