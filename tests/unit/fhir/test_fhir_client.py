"""The client of FHIR servers against a server with a state, over a network of memory.

It guarantees: nothing outside the base is asked; what can do harm twice is sent once; pauses as the server asks;
tokens are fetched once, renewed, and told nowhere; every answer is a resource or a typed error.
"""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fhir_server import FhirServer
from joserfc.jwk import ECKey, RSAKey
from network import Network
from pydantic import ValidationError
from twisted.internet.defer import ensureDeferred
from twisted.internet.testing import MemoryReactorClock
from twisted.web.server import Site

from engine.fhirserver.base import Base
from engine.fhirserver.connection import FhirConnection
from engine.fhirserver.errors import FhirError, of_answer, retry_after
from engine.webclient import Answer

BASE = "http://127.0.0.1:9000/fhir"
PATIENT = {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "1"}], "gender": "female"}


class World:
    """A server, a client, and time that goes on when it is told to."""

    def __init__(self, **settings):
        self.reactor = MemoryReactorClock()
        self.start = datetime(2026, 11, 25, tzinfo=UTC)
        self.server = FhirServer(BASE, lambda: self.start + timedelta(seconds=self.reactor.seconds()))
        self.network = Network(
            self.reactor, {9000: Site(self.server.resource(self.reactor), reactor=self.reactor)}
        )
        self.client = FhirConnection(base=BASE, **settings).client(self.reactor)
        self.client._random = lambda: 0.5
        self.client._agreed = True  # its version: tests/flow/test_fhir_version.py

    def begin(self, coroutine):
        """Not waited for: what came of it is in the list."""
        done = []
        ensureDeferred(coroutine).addBoth(done.append)
        self.network.settle()
        return done

    def run(self, coroutine, seconds=600):
        """Its result, or its error raised; at most so many seconds pass."""
        done = self.begin(coroutine)
        for _ in range(seconds * 10):
            if done:
                break
            self.reactor.advance(0.1)
            self.network.settle()
        assert done, "it does not end"
        if hasattr(done[0], "raiseException"):
            done[0].raiseException()
        return done[0]

    def fails(self, coroutine):
        with pytest.raises(FhirError) as caught:
            self.run(coroutine)
        return caught.value

    def pages(self, *args, **options):
        async def all_of():
            return [page async for page in self.client.search(*args, **options)]

        return self.run(all_of())


@pytest.fixture
def world():
    return World()


def flaky(*answers):
    """One fault a request, then none."""
    waiting = list(answers)
    return lambda method, path: waiting.pop(0) if waiting else None


def test_read_vread_and_what_is_gone(world):
    first, _ = world.server.put({**PATIENT, "id": "1"})
    second, _ = world.server.put({**PATIENT, "id": "1", "gender": "male"})
    found = world.run(world.client.read("Patient", "1"))
    assert (found.data, found.version) == (second, second["meta"]["versionId"])
    assert world.run(world.client.read("Patient", "1", first["meta"]["versionId"])).data == first
    world.server.remove("Patient", "1")
    assert [world.fails(world.client.read("Patient", id_)).code for id_ in ("1", "2")] == [
        "fhir.gone",
        "fhir.not_found",
    ]
    assert all(world.fails(world.client.read("Patient", id_)).absent for id_ in ("1", "2"))


def test_another_resource_than_was_asked_for_is_not_taken(world):
    other = b'{"resourceType": "Patient", "id": "2"}'
    world.server.faults = flaky((200, {"Content-Type": "application/json"}, other))
    assert world.fails(world.client.read("Patient", "1")).code == "fhir.answer"


def test_a_search_goes_through_its_pages(world):
    world.server.page = 3
    for number in range(8):
        world.server.put({**PATIENT, "id": str(number)})
    pages = world.pages("Patient", {"_sort": "_lastUpdated"})
    assert [len(page.matches) for page in pages] == [3, 3, 2]
    assert [one["id"] for page in pages for one in page.matches] == list("01234567")
    (page,) = world.pages("Patient", {"identifier": "urn:mrn|1", "_count": 100}, post=True)
    assert len(page.matches) == 8 and world.server.log[-1] == "POST Patient/_search"  # nobody in the URL


@pytest.mark.parametrize(
    "link",
    [
        "http://evil.example/fhir/Patient?page=2", "http://127.0.0.1:9001/fhir/Patient", "//evil.example/",
        "http://127.0.0.1:9000/fhir/../admin", "http://127.0.0.1:9000/other", "file:///etc/passwd",
        "http://user@127.0.0.1:9000/fhir/Patient", "http://127.0.0.1:9000/fhir/%2e%2e/admin",
    ],
)  # fmt: skip
def test_a_link_never_leads_out_of_the_base(world, link):
    page = f'{{"resourceType": "Bundle", "link": [{{"relation": "next", "url": "{link}"}}]}}'.encode()
    world.server.faults = flaky((200, {}, page))
    with pytest.raises(FhirError) as caught:
        world.pages("Patient", {})
    assert caught.value.code == "fhir.foreign" and len(world.server.log) == 0
    assert "evil" not in str(caught.value)


def test_pages_that_never_end_are_told(world):
    page = (
        b'{"resourceType": "Bundle", "link": [{"relation": "next", "url": "%s/Patient?p=1"}]}' % BASE.encode()
    )
    world.server.faults = lambda method, path: (200, {}, page)
    with pytest.raises(FhirError) as caught:
        world.pages("Patient", {})
    assert caught.value.code == "fhir.answer"


@pytest.mark.parametrize("id_", ["../x", "a/b", "a?b", "", "..", "a b", "é", "a%2fb"])
def test_ids_that_are_none_are_not_asked_for(world, id_):
    assert world.fails(world.client.read("Patient", id_)).code == "fhir.foreign"
    assert world.server.log == []


def test_create_and_update_by_identifier_make_one_resource(world):
    condition = "identifier=urn:mrn%7C1"
    made = world.run(world.client.create(PATIENT, if_none_exist=condition))
    again = world.run(world.client.create(PATIENT, if_none_exist=condition))
    assert (made.status, again.status) == (201, 200) and made.data["id"] == again.data["id"]
    assert made.location == f"Patient/{made.data['id']}/_history/{made.version}"
    changed = world.run(world.client.update({**PATIENT, "gender": "male"}, search=condition))
    assert changed.data["id"] == made.data["id"] and len(world.server.all("Patient")) == 1
    stale = world.client.update({**PATIENT, "id": made.data["id"]}, if_match=made.version)
    assert world.fails(stale).code == "fhir.precondition"
    world.run(
        world.client.patch(
            f"Patient/{made.data['id']}", [{"op": "replace", "path": "/gender", "value": "other"}]
        )
    )
    assert world.server.current("Patient", made.data["id"])["gender"] == "other"
    for _ in range(2):
        world.run(world.client.delete("Patient", made.data["id"]))
    assert world.server.all("Patient") == {}


def test_a_transaction(world):
    entry = {
        "resource": PATIENT,
        "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:mrn%7C1"},
    }
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    for status in ("201", "200"):
        found = world.run(world.client.transaction(bundle))
        assert found.data["entry"][0]["response"]["status"] == status
    assert len(world.server.all("Patient")) == 1


def test_what_can_do_no_harm_twice_is_tried_again(world):
    world.server.put({**PATIENT, "id": "1"})
    world.server.faults = flaky((503, {}, b""), "drop", (429, {"Retry-After": "7"}, b""))
    begun = world.reactor.seconds()
    assert world.run(world.client.read("Patient", "1")).data["id"] == "1"
    assert world.reactor.seconds() - begun >= 7 + 1 + 2
    world.server.faults = flaky("drop-after", "drop-after")
    world.run(world.client.update({**PATIENT, "id": "1", "gender": "male"}))
    assert len(world.server.versions["Patient"]["1"]) == 2


def test_what_can_do_harm_twice_is_sent_once(world):
    world.server.faults = flaky("drop-after")
    error = world.fails(world.client.create(PATIENT))
    assert (error.code, error.result) == ("fhir.disconnected", "unknown")
    assert len(world.server.all("Patient")) == 1 and len(world.server.log) == 1
    world.server.faults = flaky((503, {}, b""))
    assert world.fails(world.client.transaction({"resourceType": "Bundle"})).result == "retry"
    assert len(world.server.log) == 1


def test_a_server_that_asks_for_a_long_pause_is_left_alone(world):
    world.server.faults = flaky((503, {"Retry-After": "900"}, b""), (200, {}, b"{}"))
    error = world.fails(world.client.read("Patient", "1"))
    assert (error.code, error.retry_after, world.reactor.seconds()) == ("fhir.busy", 900, 0)


def test_no_more_requests_at_a_time_than_allowed():
    world = World(connections=2)
    world.server.put({**PATIENT, "id": "1"})
    world.server.faults = lambda method, path: 1.0
    done = [world.begin(world.client.read("Patient", "1")) for _ in range(5)]
    for expected in (0, 2, 4, 5):
        assert sum(map(bool, done)) == expected
        world.reactor.advance(1.0)
        world.network.settle()


def test_nobody_there_and_no_answer_in_time():
    world = World(timeout=3, tries=1)
    world.network.sites.clear()
    assert world.fails(world.client.read("Patient", "1")).code == "fhir.unreachable"
    world = World(timeout=3, tries=1)
    world.server.faults = lambda method, path: 60.0
    error = world.fails(world.client.read("Patient", "1"))
    assert (error.code, error.result) == ("fhir.timeout", "retry")
    error = world.fails(world.client.create(PATIENT))
    assert (error.code, error.result) == ("fhir.timeout", "unknown")


OUTCOME = (
    '{"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "informational"},'
    ' {"severity": "error", "code": "%s", "diagnostics": "Smith 1980", "expression": ["Patient.birthDate"]}]}'
)


@pytest.mark.parametrize(
    ("status", "issue", "code", "result"),
    [
        (400, "invalid", "fhir.invalid", "permanent"), (422, "required", "fhir.invalid", "permanent"),
        (400, "throttled", "fhir.busy", "retry"), (500, "transient", "fhir.busy", "retry"),
        (500, "exception", "fhir.failed", "unknown"), (409, "conflict", "fhir.conflict", "retry"),
        (412, "conflict", "fhir.precondition", "permanent"), (401, "login", "fhir.login", "config"),
        (403, "forbidden", "fhir.access", "config"), (404, "not-found", "fhir.not_found", "permanent"),
        (410, "deleted", "fhir.gone", "permanent"), (501, "not-supported", "fhir.unsupported", "permanent"),
        (429, "throttled", "fhir.busy", "retry"), (302, "", "fhir.base", "config"),
        (504, "", "fhir.failed", "unknown"), (500, "Smith, Ann", "fhir.failed", "unknown"),
    ],
)  # fmt: skip
def test_what_an_answer_means(status, issue, code, result):
    error = of_answer(Answer(status, {}, (OUTCOME % issue).encode()), reads=False)
    assert (error.code, error.result, error.where) == (code, result, "Patient.birthDate")
    assert "Smith" not in str(error) and "1980" not in str(error)
    reading = of_answer(Answer(status, {}, b"<html>"), reads=True)
    assert reading.result != "unknown"


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"issue": 3}', b'{"issue": [1]}', b"\xff", b"{" * 9])
def test_answers_that_are_no_fhir(world, body):
    assert of_answer(Answer(500, {}, body), reads=False).code == "fhir.failed"
    world.server.faults = flaky((200, {}, body))
    assert world.fails(world.client.read("Patient", "1")).code == "fhir.base"


def test_retry_after():
    now = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
    assert retry_after("120", now) == 120 and retry_after("Wed, 25 Nov 2026 12:01:00 GMT", now) == 60
    assert [retry_after(text, now) for text in ("", "soon", "-5", "Wed, 25 Nov 2020 12:00:00 GMT")] == [0] * 4


# Logins -------------------------------------------------------------------------------------------------------


def key_pair(kind):
    key = (
        rsa.generate_private_key(65537, 2048) if kind == "RS384" else ec.generate_private_key(ec.SECP384R1())
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return pem, (RSAKey if kind == "RS384" else ECKey).import_key(public)


def smart(kind="ES384", **more):
    pem, public = key_pair(kind)
    world = World(auth={"smart_backend": {"client_id": "isthmus", "key": pem, **more}})
    world.server.client = ("isthmus", public)
    world.server.put({**PATIENT, "id": "1"})
    return world


@pytest.mark.parametrize("kind", ["RS384", "ES384"])
def test_smart_backend_services(kind):
    world = smart(kind, alg=kind)
    done = [world.begin(world.client.read("Patient", "1")) for _ in range(4)]
    assert [one[0].data["id"] for one in done] == ["1"] * 4
    assert world.server.log.count("POST token") == 1  # one, however many wait
    world.reactor.advance(3600 - 20)  # shortly before its end
    world.run(world.client.read("Patient", "1"))
    assert world.server.log.count("POST token") == 2
    world.server.tokens.clear()  # the server forgets: 401
    world.run(world.client.read("Patient", "1"))
    assert world.server.log.count("POST token") == 3
    (token,) = world.server.tokens
    assert token not in repr(world.client) + repr(world.client._login) + "".join(world.server.log)


def test_logins_that_are_refused():
    world = smart()
    world.server.client = ("somebody", world.server.client[1])
    error = world.fails(world.client.read("Patient", "1"))
    assert (error.code, error.result) == ("fhir.login", "config") and "Smith" not in str(error)
    assert "invalid_client" in str(error)
    world = smart()
    world.server.client = ("isthmus", key_pair("ES384")[1])
    assert world.fails(world.client.read("Patient", "1")).result == "config"
    world = smart()
    world.server.faults = lambda method, path: (503, {}, b"") if "smart-conf" in path else None
    assert world.fails(world.client.read("Patient", "1")).result == "retry"
    world = smart(token_url="http://127.0.0.1:9009/token")
    assert world.fails(world.client.read("Patient", "1")).code == "fhir.unreachable"


def test_basic_bearer_and_headers():
    world = World(auth={"basic": {"username": "u", "password": "p"}}, headers={"X-Tenant": "clinic"})
    world.fails(world.client.read("Patient", "1"))
    assert world.server.headers[-1]["authorization"] == "Basic dTpw"
    assert world.server.headers[-1]["x-tenant"] == "clinic"
    world = World(auth={"bearer": "abc"})
    world.fails(world.client.read("Patient", "1"))
    assert world.server.headers[-1]["authorization"] == "Bearer abc"


RSA_PUBLIC = '{"kty": "RSA", "n": "AQAB", "e": "AQAB"}'


@pytest.mark.parametrize(
    "settings",
    [
        {"base": "ehr.example/fhir"}, {"base": "https://u:p@ehr.example/fhir"},
        {"base": "https://ehr.example/?a=1"}, {"base": "https://ehr.example/a/../b"}, {},
        {"base": "http://ehr.example/fhir", "auth": {"bearer": "x"}},
        {"base": BASE, "auth": {"bearer": "x", "basic": {"username": "u", "password": "p"}}},
        {"base": BASE, "auth": {"smart_backend": {"client_id": "x"}}},
        {"base": BASE, "auth": {"smart_backend": {"client_id": "x", "key": "PEM"}}},
        {"base": BASE, "auth": {"smart_backend": {"client_id": "x", "key": RSA_PUBLIC}}},
        {"base": BASE, "auth": {"smart_backend": {"client_id": "x", "key": "", "secret": "y"}}},
        {"base": BASE, "headers": {"Authorization": "x"}}, {"base": BASE, "headers": {"X-A": "a\r\nb: c"}},
        {"base": BASE, "version": "DSTU2"},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(settings):
    with pytest.raises(ValidationError) as caught:
        FhirConnection(**settings)
    assert "Input should be a valid dictionary" not in str(caught.value)


def test_keys_that_do_not_fit():
    pem, _ = key_pair("RS384")
    with pytest.raises(ValidationError, match="does not fit alg ES384"):
        FhirConnection(base=BASE, auth={"smart_backend": {"client_id": "x", "key": pem, "alg": "ES384"}})
    found = FhirConnection(base=BASE, auth={"smart_backend": {"client_id": "x", "key": pem}})
    assert "PRIVATE" not in repr(found) + str(found.model_dump())
    assert FhirConnection(base=BASE, auth="none").auth.basic is None


def test_the_base():
    base = Base("https://ehr.example/fhir/")
    for given, found in {
        "Patient/1": "Patient/1",
        "https://EHR.example:443/fhir/Patient?a=1": "Patient?a=1",
        "https://ehr.example/fhir?_getpages=1": "?_getpages=1",
        "/fhir/Patient?page=2": "Patient?page=2",
    }.items():
        assert base.below(given) == found
    for given in ("/other", "urn:uuid:1", "https:\\\\evil", "a\nb", "https://ehr.example:99999/fhir/x", "#a"):
        with pytest.raises(FhirError):
            base.below(given)
