"""Writes resources to a FHIR server: looks them up by identifier, joins, and sends what differs in one transaction.

    look up   one batch Bundle of searches (identifiers stand in no URL that is logged)
    join      what is said with what is there (engine.fhir.entries); what would not change is not written
    unify     what found the same resource is written once (a patient who has both numbers of a merge)
    write     one transaction: PUT Type/id with If-Match, POST with If-None-Exist, references to both

Guarantees: the same entries again make no second resource and no new version; nobody's change in between is written
over; all resources of one message are written, or none. Refuses (FhirError): searches that find several resources.

| what happens                                             | what follows                                      |
|----------------------------------------------------------|---------------------------------------------------|
| somebody changed a resource in between (412, 409)        | looked up and joined again, `TRIES` times; RETRY   |
| somebody made it in between (If-None-Exist gives 200)    | read by the id that is told, and joined: an index  |
|                                                          | may not have it yet                                |
| no answer to the transaction                             | UNKNOWN: done again, and what is there is found    |
| an entry is refused, the others are not (a server that   | the error of that entry; done again, what is there |
| does a transaction as a batch)                           | is found                                           |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from itertools import groupby
from typing import Any, NamedTuple

import orjson

from engine.fhir.entries import Entry, merged, said
from engine.fhirserver.base import is_id
from engine.fhirserver.client import FhirClient
from engine.fhirserver.errors import FhirError, of_answer
from engine.fhirserver.written import Written
from engine.states import Result
from engine.webclient import Answer

TRIES = 4
KEPT = ("profile", "security", "tag")  # of meta
_GONE = object()
Resource = dict[str, Any]


class Wrote(NamedTuple):
    """What became of the entries of one message."""

    record: str  # the last one: `Appointment/7/_history/2`
    request: bytes
    response: bytes


class FhirWriter:
    """Writes to one server. `source` becomes `meta.source` of what is written."""

    def __init__(self, client: FhirClient, written: Written, source: str = "") -> None:
        self._client = client
        self._written = written
        self._source = source

    async def write(self, messages: list[list[Entry]]) -> list[Wrote]:
        """Write the entries of several messages together: all, or none (FhirError). What retires a resource is
        written apart, for it depends on what the messages before it made of it: where that fails, those stay."""
        wrote: list[Wrote] = []
        for apart, some in groupby(messages, lambda entries: any(entry.retires for entry in entries)):
            for group in [[one] for one in some] if apart else [list(some)]:
                wrote += await self._write(group)
        return wrote

    async def _write(self, messages: list[list[Entry]]) -> list[Wrote]:
        wanted = together(messages)
        ids: dict[str, str] = {}  # what the server said it has, by the key of the entry
        for attempt in range(1, TRIES + 1):
            there = await self.look_up(wanted.values(), ids)
            found = {key: f"{wanted[key].type}/{current['id']}" for key, current in there.items()}
            one, names = unified(wanted, found), names_of(wanted, found)
            sending = self._transaction(one, there, names)
            if not sending:
                return [_wrote(entries, there, {}) for entries in messages]
            try:
                answer = await self._client.transaction(
                    {"resourceType": "Bundle", "type": "transaction", "entry": list(sending.values())}
                )
                told, raced = self._answered(sending, answer.data)
            except FhirError as error:
                if error.code not in ("fhir.precondition", "fhir.conflict"):
                    raise
                if attempt == TRIES and error.issue == "multiple-matches":
                    raise
                continue
            ids |= raced
            if not raced:
                return [_wrote(entries, there, told, sending) for entries in messages]
        raise FhirError("fhir.conflict", Result.RETRY)

    async def look_up(self, wanted: Iterable[Entry], ids: Mapping[str, str]) -> dict[str, Resource]:
        """What is there, by the key of the entry; what has one of `ids` is read by it."""
        asked = []
        for entry in wanted:
            known = ids.get(entry.key)
            asked += (
                [(entry, known)] if known else [(entry, f"{entry.type}?{by}&_count=2") for by in entry.by]
            )
        urls = list(dict.fromkeys(url for _, url in asked))
        bundle = {
            "resourceType": "Bundle", "type": "batch",
            "entry": [{"request": {"method": "GET", "url": url}} for url in urls],
        }  # fmt: skip
        answer = await self._client.transaction(bundle, harmless=True, fresh=True)
        entries = answer.data.get("entry")
        if not isinstance(entries, list) or len(entries) != len(urls):
            raise _odd("the FHIR server does not answer each search of a batch")
        found = {url: _matches(entry) for url, entry in zip(urls, entries, strict=True)}
        there: dict[str, Resource] = {}
        for entry, url in asked:
            if len(found[url]) > 1:
                raise FhirError(
                    "fhir.precondition", Result.PERMANENT, where=entry.type,
                    what="several resources of the FHIR server have the same identifier",
                )  # fmt: skip
            if found[url]:
                there.setdefault(entry.key, found[url][0])
        return there

    def _transaction(
        self, wanted: Mapping[str, Entry], there: Mapping[str, Resource], names: Mapping[str, str]
    ) -> dict[str, Resource]:
        """The entries of the transaction, by the key of ours."""
        made: dict[str, Resource] = {}
        for key, entry in wanted.items():
            current = there.get(key)
            after = joined(entry, current, names)
            if after is None or after == current:
                continue
            if current is None:
                request = {"method": "POST", "url": entry.type, "ifNoneExist": entry.by[0]}
                made[key] = {"fullUrl": entry.url, "resource": after | self._meta({}), "request": request}
                continue
            meta = current.get("meta", {})
            request = {"method": "PUT", "url": f"{entry.type}/{current['id']}"}
            if meta.get("versionId"):
                request["ifMatch"] = f'W/"{meta["versionId"]}"'
            made[key] = {
                "fullUrl": f"{self._client.base.address}/{request['url']}",
                "resource": {**after, **self._meta(meta)},
                "request": request,
            }
        return made

    def _meta(self, old: Mapping[str, Any]) -> Resource:
        meta = {name: old[name] for name in KEPT if name in old}
        return {"meta": meta | {"source": self._source}} if self._source or meta else {}

    def _answered(
        self, sending: Mapping[str, Resource], bundle: Resource
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The version of each entry that was written, and `Type/id` of each that somebody else had made before.
        Raises FhirError for the first that was refused."""
        entries = bundle.get("entry")
        if not isinstance(entries, list) or len(entries) != len(sending):
            raise _odd("the FHIR server does not answer each entry of a transaction", Result.UNKNOWN)
        told: dict[str, str] = {}
        raced: dict[str, str] = {}
        refused: list[FhirError] = []
        for (key, sent), entry in zip(sending.items(), entries, strict=True):
            status = _status(entry)
            if not 200 <= status < 300:
                refused.append(_refusal(entry, reads=False))
                continue
            if sent["request"]["method"] == "POST" and status == 200:
                own = _version(sent, entry).partition("/_history/")[0]
                raced[key] = own if is_id(own.partition("/")[2]) else ""
                continue
            told[key] = _version(sent, entry)
            self._written.add(told[key], _before(sent))
        if refused:
            raise refused[0]
        return told, raced


def names_of(wanted: Mapping[str, Entry], found: Mapping[str, str]) -> dict[str, str]:
    """What a reference to each entry becomes: the resource that was `found` by its key, or the one that is made."""
    return {
        entry.url: found.get(key, entry.url)
        for key, entry in wanted.items()
        if key in found or entry.mode != "existing"
    }


def unified(wanted: Mapping[str, Entry], found: Mapping[str, str]) -> dict[str, Entry]:
    """Entries that found the same resource as one entry, for a transaction may write it once; what is only said where
    it is there (of one who is merged away) is not said of a resource that is written for itself."""
    groups: dict[str, dict[str, Entry]] = {}
    for key, entry in wanted.items():
        groups.setdefault(found.get(key, key), {})[key] = entry
    made: dict[str, Entry] = {}
    for group in groups.values():
        entries = {key: entry for key, entry in group.items() if entry.mode != "existing"} or group
        first, *others = entries
        made[first] = reduce(_both, (entries[key] for key in others), entries[first])
    return made


def joined(entry: Entry, current: Resource | None, names: Mapping[str, str]) -> Resource | None:
    """What stands on the server afterwards; `current` itself when it stays, None when nothing is there or made."""
    resource = _pointed(entry.after(current), names)
    if "link" in resource:  # a patient of two numbers is not merged with itself
        own = names.get(entry.url)
        resource["link"] = [item for item in resource["link"] if item["other"].get("reference") != own]
    if current is not None:
        return current if entry.mode == "ensure" or entry.spares(current) else said(merged(current, resource))
    return None if entry.mode == "existing" else said({**entry.new, **said(resource)})


def together(messages: list[list[Entry]]) -> dict[str, Entry]:
    """The entries of all messages, each once."""
    found: dict[str, Entry] = {}
    for entry in (one for entries in messages for one in entries):
        known = found.get(entry.key)
        found[entry.key] = entry if known is None else _both(known, entry)
    return found


def _both(known: Entry, entry: Entry) -> Entry:
    """What two entries say, the later one last."""
    mode = entry.mode if known.mode in ("ensure", "existing") else known.mode
    by = list(dict.fromkeys([*known.by, *entry.by]))
    resource, former = merged(known.resource, entry.resource), known.former + entry.former
    return Entry(by=by, resource=resource, mode=mode, new=known.new, former=former, retires=entry.retires)


def _matches(entry: Any) -> list[Resource]:
    """The resources that one search of a batch found."""
    if not 200 <= _status(entry) < 300:
        raise _refusal(entry, reads=True)
    found = entry.get("resource") or {}
    if found.get("resourceType") != "Bundle":  # read by its id
        return [found] if isinstance(found.get("id"), str) else []
    resources = [one.get("resource") or {} for one in found.get("entry") or ()]
    return [
        one
        for one in resources
        if isinstance(one.get("id"), str) and one["resourceType"] != "OperationOutcome"
    ]


def _status(entry: Any) -> int:
    """What an entry of an answer says became of it; one that does not say so failed."""
    status = str((entry.get("response") or {}).get("status", ""))[:3]
    return int(status) if status.isdecimal() else 500


def _refusal(entry: Any, reads: bool) -> FhirError:
    outcome = (entry.get("response") or {}).get("outcome") or entry.get("resource") or {}
    return of_answer(Answer(_status(entry), {}, orjson.dumps(outcome)), reads)


def _pointed(value: Any, names: Mapping[str, str]) -> Any:
    """A resource whose references name what is there; what points to nothing is left out with what holds it."""
    if isinstance(value, list):
        return [found for item in value if (found := _pointed(item, names)) is not _GONE]
    if not isinstance(value, dict):
        return value
    reference = value.get("reference")
    if isinstance(reference, str) and reference.startswith("urn:uuid:"):
        return {**value, "reference": names[reference]} if reference in names else _GONE
    made = {name: _pointed(item, names) for name, item in value.items()}
    gone = [name for name, item in made.items() if item is _GONE]
    if gone and "resourceType" not in value:
        return _GONE
    return {name: item for name, item in made.items() if name not in gone}


def _before(sent: Resource) -> str:
    """The version that an entry of a transaction changes; "" for one that makes a resource."""
    request = sent["request"]
    if request["method"] == "POST":
        return ""
    return f"{request['url']}/_history/{request.get('ifMatch', '')[3:-1]}"


def _version(sent: Resource, entry: Resource) -> str:
    """`Patient/1/_history/2`, as far as the answer tells it."""
    response, resource = entry.get("response") or {}, entry.get("resource") or {}
    type_ = sent["resource"]["resourceType"]
    parts = str(response.get("location") or "").split("/")
    if "_history" in parts[2:]:
        place = parts.index("_history")
        return "/".join(parts[place - 2 : place + 2])
    id_ = resource.get("id") or sent["resource"].get("id") or (parts[-1] if len(parts) > 1 else "")
    version = str(response.get("etag") or "").removeprefix("W/").strip('"')
    version = version or (resource.get("meta") or {}).get("versionId") or ""
    return f"{type_}/{id_}/_history/{version}" if version else f"{type_}/{id_}"


def _wrote(
    entries: list[Entry],
    there: Mapping[str, Resource],
    told: Mapping[str, str],
    sending: Mapping[str, Resource] | None = None,
) -> Wrote:
    keys = [entry.key for entry in entries]
    record = ""
    for entry in entries:
        current = there.get(entry.key)
        known = f"{entry.type}/{current['id']}" if current is not None else ""
        record = told.get(entry.key) or known or record
    sent = [(sending or {})[key] for key in keys if key in (sending or {})]
    answered = {key: told[key] for key in keys if key in told}
    return Wrote(record, orjson.dumps(sent), orjson.dumps(list(answered.values())))


def _odd(what: str, result: Result = Result.RETRY) -> FhirError:
    return FhirError("fhir.answer", result, what=what)
