"""A FHIR server with a state of its own, for tests: what engines meet, without a database.

It keeps every version of every resource, searches by `_lastUpdated`, `_id`, `identifier` and `url` in pages, keeps
history, does conditional create, update and If-Match, transactions, SMART tokens, `$status` and `$events`.
`faults(method, path)` may give an Answer, or seconds to wait, instead. Over HTTP: `Site(server.resource(reactor))`.
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from fhir_bundles import process
from joserfc import jwt
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

JSON = "application/fhir+json"


class Failed(Exception):
    def __init__(self, status: int, code: str = "processing", place: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.place = status, code, place


class FhirServer:
    """`now()` gives its time; `skew` is added to it. `changed(kind, resource, interaction)` is told of every change."""

    def __init__(self, base: str = "http://127.0.0.1:9000/fhir", now: Any = None) -> None:
        self.base = base
        self.now = now or (lambda: datetime.now(UTC))
        self.skew = timedelta()
        self.versions: dict[str, dict[str, list[dict[str, Any]]]] = {}  # newest last; deleted: no resource
        self.changed: Any = lambda kind, resource, interaction: None
        self.faults: Any = lambda method, path: None
        self.log: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.page = 50
        self.version = "4.0.1"
        self.told_version = 0  # how often it was asked
        self.type_history = True
        self.conditional = True
        self.whole = True  # transactions are done as a whole or not at all
        self.cached: set[str] = set()  # `Type/id` that a read shows as it was before its deletion
        self.operations: dict[str, Any] = {}  # "$status" -> function(id, query)
        self.client: tuple[str, Any] | None = None  # client id and public key: logins are asked for
        self.tokens: dict[str, datetime] = {}
        self.token_life = 3600
        self.numbers = 0
        self.counted_ids = False
        self._last = datetime(2000, 1, 1, tzinfo=UTC)

    # State ------------------------------------------------------------------------------------------------

    def time(self) -> datetime:
        """Never the same twice, in milliseconds as servers give it."""
        at = (self.now() + self.skew).replace(tzinfo=UTC)
        at = at.replace(microsecond=at.microsecond // 1000 * 1000)
        self._last = max(self._last + timedelta(milliseconds=1), at) if not self.skew else at
        return self._last if not self.skew else at

    def current(self, kind: str, id_: str) -> dict[str, Any] | None:
        found = self.versions.get(kind, {}).get(id_)
        return found[-1]["resource"] if found else None

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        """What there is now, by id."""
        return {
            id_: found[-1]["resource"]
            for id_, found in self.versions.get(kind, {}).items()
            if found[-1]["resource"] is not None
        }

    def put(self, data: dict[str, Any], id_: str = "") -> tuple[dict[str, Any], bool]:
        """Store a version; the resource and whether it is new."""
        kind = data["resourceType"]
        self.numbers += 1
        id_ = id_ or data.get("id") or (str(self.numbers) if self.counted_ids else str(uuid.uuid4()))
        history = self.versions.setdefault(kind, {}).setdefault(id_, [])
        at = self.time().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        old = history[-1]["resource"] if history else None
        plain = {key: value for key, value in data.items() if key not in ("id", "meta")}
        if old is not None and {k: v for k, v in old.items() if k not in ("id", "meta")} == plain:
            return old, False  # nothing changed: no new version
        meta = {"versionId": str(uuid.uuid4()), "lastUpdated": at}
        resource = {"resourceType": kind, "id": id_, "meta": {**data.get("meta", {}), **meta}, **plain}
        history.append({"at": at, "version": meta["versionId"], "resource": resource})
        self.changed(kind, resource, "create" if old is None else "update")
        return resource, old is None

    def remove(self, kind: str, id_: str) -> None:
        history = self.versions.get(kind, {}).get(id_)
        if history and history[-1]["resource"] is not None:
            at = self.time().isoformat(timespec="milliseconds").replace("+00:00", "Z")
            history.append({"at": at, "version": str(uuid.uuid4()), "resource": None})
            self.changed(kind, {"resourceType": kind, "id": id_}, "delete")

    # Requests ---------------------------------------------------------------------------------------------

    def handle(
        self, method: str, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """One request; `target` is path and query."""
        self.headers.append(headers)
        path = urlsplit(target).path.removeprefix(urlsplit(self.base).path).strip("/")
        query = parse_qsl(urlsplit(target).query, keep_blank_values=True)
        if path != "metadata":  # it is asked now and then, whatever is done
            self.log.append(f"{method} {path}{'?' + urlsplit(target).query if query else ''}")
        try:
            if path == ".well-known/smart-configuration":
                return self._json(200, {"token_endpoint": f"{self.base}/token"}, {})
            if path == "token":
                return self._token(headers, dict(parse_qsl(body.decode())))
            if self.client is not None:
                token = headers.get("authorization", "").removeprefix("Bearer ")
                if self.tokens.get(token, datetime(1, 1, 1, tzinfo=UTC)) < self.now().replace(tzinfo=UTC):
                    raise Failed(401, "login")
            return self._json(*self._serve(method, path, query, headers, body))
        except Failed as failed:
            issue: dict[str, Any] = {"severity": "error", "code": failed.code, "diagnostics": "Smith, Ann"}
            if failed.place:
                issue["expression"] = [failed.place]
            return self._json(failed.status, {"resourceType": "OperationOutcome", "issue": [issue]}, {})

    def _json(self, status: int, data: Any, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        return status, {"Content-Type": JSON, **headers}, b"" if data is None else json.dumps(data).encode()

    def _token(self, headers: dict[str, str], form: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        assert self.client is not None
        try:
            found = jwt.decode(form["client_assertion"], self.client[1], algorithms=["RS384", "ES384"])
            claims = found.claims
            assert claims["iss"] == claims["sub"] == self.client[0] and claims["aud"] == f"{self.base}/token"
            assert claims["exp"] - claims["iat"] <= 300 and claims["jti"]
        except Exception:
            return self._json(400, {"error": "invalid_client", "error_description": "Smith"}, {})
        token = uuid.uuid4().hex
        self.tokens[token] = self.now().replace(tzinfo=UTC) + timedelta(seconds=self.token_life)
        told = {"access_token": token, "token_type": "Bearer", "expires_in": self.token_life}
        return self._json(200, told, {})

    def _serve(
        self, method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        parts = [unquote(part) for part in path.split("/")] if path else []
        if parts == ["metadata"]:
            self.told_version += 1
            return 200, {"resourceType": "CapabilityStatement", "fhirVersion": self.version}, {}
        if not parts:
            return self._transaction(json.loads(body))
        kind = parts[0]
        if parts[-1] == "_search" and method == "POST":
            return 200, self._search(kind, parse_qsl(body.decode()), True), {}
        if parts[-1].startswith("$"):
            if parts[-1] not in self.operations:
                raise Failed(404, "not-supported")
            return 200, self.operations[parts[-1]](parts[1] if len(parts) > 2 else "", dict(query)), {}
        if "_history" in parts:
            return self._history(parts, dict(query))
        if len(parts) == 1 and method == "GET":
            return 200, self._search(kind, query), {}
        if method == "POST" and len(parts) == 1:
            return self._create(json.loads(body), headers)
        if method == "PUT":
            return self._update(kind, parts[1] if len(parts) > 1 else "", query, json.loads(body), headers)
        if len(parts) != 2:
            raise Failed(405, "not-supported")
        history = self.versions.get(kind, {}).get(parts[1])
        if method == "DELETE":
            if not history:
                raise Failed(404, "not-found")
            self.remove(kind, parts[1])
            return 200, {"resourceType": "OperationOutcome", "issue": []}, {}
        if not history:
            raise Failed(404, "not-found")
        resource = history[-1]["resource"]
        if resource is None and f"{kind}/{parts[1]}" in self.cached:
            resource = history[-2]["resource"]
        if resource is None:
            raise Failed(410, "deleted")
        if method == "PATCH":
            for change in json.loads(body):
                resource = {**resource, change["path"].strip("/"): change["value"]}
            return 200, self.put(resource)[0], {}
        if method != "GET":
            raise Failed(405, "not-supported")
        return 200, resource, {"ETag": f'W/"{resource["meta"]["versionId"]}"'}

    def _create(self, data: dict[str, Any], headers: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        if "if-none-exist" in headers and self.conditional:
            found = self._matching(data["resourceType"], parse_qsl(headers["if-none-exist"]))
            if len(found) > 1:
                raise Failed(412, "multiple-matches")
            if found:
                return 200, found[0], {}
        resource, _ = self.put({key: value for key, value in data.items() if key != "id"})
        where = f"{self.base}/{resource['resourceType']}/{resource['id']}/_history/{resource['meta']['versionId']}"
        return 201, resource, {"Location": where, "ETag": f'W/"{resource["meta"]["versionId"]}"'}

    def _update(
        self, kind: str, id_: str, query: list[tuple[str, str]], data: dict[str, Any], headers: dict[str, str]
    ) -> tuple[int, Any, dict[str, str]]:
        if not id_:
            if not self.conditional:
                raise Failed(405, "not-supported")
            found = self._matching(kind, query)
            if len(found) > 1:
                raise Failed(412, "multiple-matches")
            id_ = found[0]["id"] if found else ""
        if "gender" in data and data["gender"] not in ("male", "female", "other", "unknown"):
            raise Failed(422, "code-invalid", "Patient.gender")
        expected = headers.get("if-match", "").removeprefix("W/").strip('"')
        now = self.current(kind, id_)
        if expected and (now is None or now["meta"]["versionId"] != expected):
            raise Failed(412, "conflict")
        resource, new = self.put({**data, "id": id_} if id_ else data, id_)
        return 201 if new else 200, resource, {"ETag": f'W/"{resource["meta"]["versionId"]}"'}

    def _transaction(self, bundle: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        return 200, process(self, bundle, Failed), {}

    # Searches ---------------------------------------------------------------------------------------------

    def _matching(self, kind: str, query: list[tuple[str, str]]) -> list[dict[str, Any]]:
        found = list(self.all(kind).values())
        for name, value in query:
            if name == "_lastUpdated":
                prefix, moment = (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)
                at = datetime.fromisoformat(moment)
                tests = {"ge": "__ge__", "gt": "__gt__", "lt": "__lt__", "le": "__le__", "eq": "__eq__"}
                found = [
                    one
                    for one in found
                    if getattr(datetime.fromisoformat(one["meta"]["lastUpdated"]), tests[prefix])(at)
                ]
            elif name == "_id":
                found = [one for one in found if one["id"] in value.split(",")]
            elif name == "_tag":
                system, _, code = value.rpartition("|")
                tag = {"system": system, "code": code}
                found = [one for one in found if tag in one["meta"].get("tag", ())]
            elif name == "identifier":
                system, bar, code = value.rpartition("|")
                found = [
                    one
                    for one in found
                    if any(
                        item.get("value") == code and (not bar or item.get("system", "") == system)
                        for item in one.get("identifier", ())
                    )
                ]
            elif name in ("status", "criteria", "active"):
                found = [one for one in found if str(one.get(name)).lower() in value.split(",")]
            elif name == "url":
                found = [
                    one
                    for one in found
                    if value in (one.get("endpoint"), one.get("channel", {}).get("endpoint"))
                ]
        return found

    def _search(self, kind: str, query: list[tuple[str, str]], post: bool = False) -> dict[str, Any]:
        asked = dict(query)
        found = self._matching(kind, query)
        if (sort := asked.get("_sort", "")).endswith("_lastUpdated"):
            found.sort(key=lambda one: (one["meta"]["lastUpdated"], one["id"]), reverse=sort[0] == "-")
        count, start = int(asked.get("_count", self.page)), int(asked.get("_page", 0))
        entries = [{"resource": one, "search": {"mode": "match"}} for one in found[start : start + count]]
        said = (self.now() + self.skew).replace(tzinfo=UTC).isoformat(timespec="milliseconds")
        bundle: dict[str, Any] = {
            "resourceType": "Bundle", "type": "searchset", "meta": {"lastUpdated": said}, "entry": entries,
        }  # fmt: skip
        if start + count < len(found):
            rest = [(name, value) for name, value in query if name != "_page"]
            text = "&".join(
                f"{name}={quote(value)}" for name, value in [*rest, ("_page", str(start + count))]
            )
            bundle["link"] = [{"relation": "next", "url": f"{self.base}/{kind}?{text}"}]
        return bundle

    def _history(self, parts: list[str], query: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        kind = parts[0]
        if len(parts) == 4:
            for one in self.versions.get(kind, {}).get(parts[1], ()):
                if one["version"] == parts[3]:
                    if one["resource"] is None:
                        raise Failed(410, "deleted")
                    return 200, one["resource"], {}
            raise Failed(404, "not-found")
        if len(parts) == 2 and not self.type_history:
            raise Failed(404, "not-supported")
        ids = [parts[1]] if len(parts) == 3 else list(self.versions.get(kind, {}))
        since = query.get("_since", "")
        rows = [
            (one["at"], id_, one)
            for id_ in ids
            for one in self.versions.get(kind, {}).get(id_, ())
            if not since or datetime.fromisoformat(one["at"]) >= datetime.fromisoformat(since)
        ]
        entries = []
        for at, id_, one in sorted(rows, key=lambda row: row[0], reverse=True):
            method = "DELETE" if one["resource"] is None else "PUT"
            entry: dict[str, Any] = {
                "request": {"method": method, "url": f"{kind}/{id_}"}, "response": {"lastModified": at},
            }  # fmt: skip
            if one["resource"] is not None:
                entry["resource"] = one["resource"]
            entries.append(entry)
        return 200, {"resourceType": "Bundle", "type": "history", "entry": entries}, {}

    def resource(self, reactor: Any) -> Resource:
        """It as a site."""
        return _Pages(self, reactor)


class _Pages(Resource):
    isLeaf = True

    def __init__(self, server: FhirServer, reactor: Any) -> None:
        super().__init__()
        self.server, self.reactor = server, reactor

    def render(self, request: Any) -> Any:
        method, target = request.method.decode(), request.uri.decode()
        fault = self.server.faults(method, target)
        if isinstance(fault, tuple):
            status, headers, body = fault
            self._answer(request, status, headers, body)
        elif fault == "drop":
            request.channel.forceAbortClient()
        elif fault == "drop-after":
            self._do(request, method, target, drop=True)
        elif isinstance(fault, (int, float)):
            deferLater(self.reactor, fault, self._do, request, method, target)
        else:
            self._do(request, method, target)
        return NOT_DONE_YET

    def _do(self, request: Any, method: str, target: str, drop: bool = False) -> None:
        headers = {
            name.decode().lower(): values[-1].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        answer = self.server.handle(method, target, headers, request.content.read())
        if drop:
            request.channel.forceAbortClient()
        else:
            self._answer(request, *answer)

    def _answer(self, request: Any, status: int, headers: dict[str, str], body: bytes) -> None:
        if request._disconnected:
            return
        request.setResponseCode(status)
        for name, value in headers.items():
            request.setHeader(name, value)
        request.write(body)
        request.finish()
