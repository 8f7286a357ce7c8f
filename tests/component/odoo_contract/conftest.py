"""The Odoo under test: the sandbox in both flavours, or the server that ODOO_URL names."""

import json
import os
import time
import urllib.error
import urllib.request

import pytest

from engine.odoo.sandbox import Sandbox

QUIET = {
    "tz": "UTC",
    "lang": "en_US",
    "tracking_disable": True,
    "mail_create_nosubscribe": True,
    "no_mail_to_attendees": True,
    "dont_notify": True,
}
POSITIONAL = {
    "create": ["vals_list"],
    "write": ["ids", "vals"],
    "read": ["ids", "fields"],
    "search": ["domain"],
    "search_read": ["domain", "fields"],
    "search_count": ["domain"],
    "load": ["fields", "data"],
    "name_search": ["name"],
    "default_get": ["fields"],
    "fields_get": ["allfields", "attributes"],
}


class Refused(Exception):
    """The server's error: exception name, message, HTTP status."""

    def __init__(self, name, message, status):
        super().__init__(f"{name}: {message}")
        self.name, self.message, self.status = name, message, status


def over_http(url):
    """The same shape as Sandbox.handle, over HTTP."""

    def handle(method, path, headers, body):
        data = None if method == "GET" else body
        request = urllib.request.Request(url + path, data=data, method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, dict(error.headers), error.read()

    return handle


class Odoo:
    """One Odoo and one user; calls in keyword form over the protocol of its version."""

    def __init__(self, handle, database, key, login):
        self.handle, self.database, self.key, self.login = handle, database, key, login
        _, _, body = handle(
            "POST", "/web/webclient/version_info", {"Content-Type": "application/json"}, b"{}"
        )
        self.version = json.loads(body)["result"]["server_version_info"]
        self.major = self.version[0]
        self.new = self.major >= 19
        self.protocol = "json2" if self.new else "jsonrpc"
        self.unique = f"c{time.time_ns()}"
        self.counter = 0

    def rpc(self, service, method, args):
        body = {
            "jsonrpc": "2.0",
            "method": "call",
            "id": 7,
            "params": {"service": service, "method": method, "args": args},
        }
        raw = self.handle("POST", "/jsonrpc", {"Content-Type": "application/json"}, json.dumps(body).encode())
        return raw[0], json.loads(raw[2])

    def uid(self):
        return self.rpc("common", "authenticate", [self.database, self.login, self.key, {}])[1]["result"]

    def raw(self, path, body, **headers):
        known = {
            "Authorization": f"bearer {self.key}",
            "X-Odoo-Database": self.database,
            "Content-Type": "application/json",
        }
        return self.handle(
            "POST", path, {**known, **{k.replace("_", "-"): v for k, v in headers.items()}}, body
        )

    def call(self, model, method, *, protocol=None, **named):
        """The result, or Refused."""
        named.setdefault("context", QUIET)
        if (protocol or self.protocol) == "json2":
            status, _, body = self.raw(f"/json/2/{model}/{method}", json.dumps(named).encode())
            value = json.loads(body)
            if status != 200:
                raise Refused(value["name"], value["message"], status)
            return value
        names = POSITIONAL.get(method, ["ids"] if "ids" in named else [])
        args = []
        for name in names:
            if name not in named:
                break
            args.append(named.pop(name))
        where = [self.database, self.uid(), self.key, model, method, args, named]
        status, value = self.rpc("object", "execute_kw", where)
        assert status == 200
        if "error" in value:
            data = value["error"]["data"]
            raise Refused(data["name"], data["message"], value["error"]["code"])
        return value.get("result")

    def name(self, text="x"):
        """A name that is used once."""
        self.counter += 1
        return f"{self.unique}_{text}_{self.counter}"

    def xid(self, text="r"):
        return f"isthmus.{self.name(text)}"

    def load(self, model, fields, *rows, **context):
        return self.call(model, "load", fields=fields, data=list(rows), context={**QUIET, **context})

    def partner(self, **vals):
        vals.setdefault("name", self.name("partner"))
        return self.call("res.partner", "create", vals_list=[vals])[0]

    def get(self, model, record, *fields, **context):
        found = self.call(model, "read", ids=[record], fields=list(fields), context={**QUIET, **context})
        return found[0]

    def refused(self, model, method, **named):
        with pytest.raises(Refused) as caught:
            self.call(model, method, **named)
        return caught.value


URL = os.environ.get("ODOO_URL")
TARGETS = ["server"] if URL else ["sandbox-16.0", "sandbox-19.0"]


@pytest.fixture(scope="session", params=TARGETS)
def odoo(request):
    """The Odoo under test."""
    if request.param == "server":
        yield Odoo(
            over_http(URL.rstrip("/")),
            os.environ["ODOO_DB"],
            os.environ["ODOO_API_KEY"],
            os.environ.get("ODOO_LOGIN", "admin"),
        )
        return
    sandbox = Sandbox(version=request.param.partition("-")[2])
    yield Odoo(sandbox.handle, "clinic", "sandbox", "sandbox")
    sandbox.close()
