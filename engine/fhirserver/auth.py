"""How a FHIR server knows us: `none`, `basic`, `bearer`, or SMART Backend Services (OAuth 2, client credentials).

Guarantees: a token is asked for once, kept until shortly before it ends, and asked for again after a 401; however many
requests wait for it, one request fetches it; keys, passwords and tokens are in no log, error, URL or `repr`; the
signed assertion ends after five minutes. Refuses: a token endpoint in clear text for a server that is not, keys that
do not fit the algorithm.

Source: SMART App Launch 2.2, Backend Services; RFC 7523, RFC 6749.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import urlencode, urlsplit

import orjson
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, model_validator
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.python.failure import Failure

from engine.fhirserver.base import Base
from engine.fhirserver.errors import FhirError, of_answer, of_lost
from engine.states import Result
from engine.webclient import Lost, WebClient

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = 300  # seconds, the longest that SMART allows
EARLY = 30.0  # seconds before its end that a token is renewed, at most a fifth of its life
LIFE = 300.0  # seconds, of a token that does not say


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )


class Basic(_Model):
    """User and password with every request."""

    username: str = Field(description="Name of the user.", examples=["isthmus"])
    password: SecretStr = Field(description="Its password.", examples=["!secret ehr_password"])


class SmartBackend(_Model):
    """SMART Backend Services: a signed assertion (`key`) or a shared secret gets a token."""

    client_id: str = Field(min_length=1, description="As registered on the server.", examples=["isthmus"])
    key: SecretStr | None = Field(
        default=None,
        description="Private key, PEM or JWK; its public half is registered on the server.",
        examples=["!secret {file: keys/smart.pem}"],
    )
    secret: SecretStr | None = Field(
        default=None, description="Client secret, for servers that take no key.", examples=["!secret ehr"]
    )
    alg: Literal["", "RS384", "ES384"] = Field(
        default="", description="How the assertion is signed; empty: as the key's type says."
    )
    kid: str = Field(
        default="", description="Name of the key; empty: the JWK's own, else its thumbprint (RFC 7638)."
    )
    token_url: str = Field(
        default="",
        description="Token endpoint; empty: as the server's smart-configuration says.",
        examples=["https://ehr.example/token"],
    )
    scope: str = Field(default="system/*.rs", description="What is asked for.", examples=["system/*.cruds"])
    _signer: Any = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _one_way(self) -> SmartBackend:
        if (self.key is None) == (self.secret is None):
            raise ValueError("needs either key or secret")
        if self.token_url and urlsplit(self.token_url).scheme not in ("http", "https"):
            raise ValueError("token_url must be http:// or https://")
        if self.key is not None:
            self._signer = _key(self.key.get_secret_value(), self.alg)
        return self

    def assertion(self, audience: str, now: float) -> str:
        """A signed statement of who we are, for `audience`; `now` is in seconds since 1970."""
        key = self._signer
        alg = self.alg or ("ES384" if isinstance(key, ECKey) else "RS384")
        header = {"alg": alg, "typ": "JWT", "kid": self.kid or key.kid or key.thumbprint()}
        claims = {
            "iss": self.client_id, "sub": self.client_id, "aud": audience, "jti": str(uuid.uuid4()),
            "iat": int(now), "exp": int(now) + ASSERTION_LIFE,
        }  # fmt: skip
        return jwt.encode(header, claims, key, algorithms=[alg])


def _or_none(schema: dict[str, Any]) -> None:
    mapping = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"enum": ["none"]}, mapping]


class Auth(_Model):
    """One of them, or `none`."""

    model_config = ConfigDict(json_schema_extra=_or_none)

    basic: Basic | None = Field(default=None, description="User and password.")
    bearer: SecretStr | None = Field(
        default=None, description="A token that never changes.", examples=["!secret ehr_token"]
    )
    smart_backend: SmartBackend | None = Field(default=None, description="SMART Backend Services.")

    @model_validator(mode="before")
    @classmethod
    def _none(cls, data: Any) -> Any:
        return {} if data == "none" else data

    @model_validator(mode="after")
    def _only_one(self) -> Auth:
        if sum(one is not None for one in (self.basic, self.bearer, self.smart_backend)) > 1:
            raise ValueError("takes one of basic, bearer, smart_backend")
        return self


class Login:
    """The Authorization header of one connection."""

    def __init__(
        self, auth: Auth, base: Base, web: WebClient, seconds: Callable[[], float], now: Callable[[], float]
    ) -> None:
        """`seconds` is a clock that never steps (for how long a token is kept), `now` the time since 1970."""
        self._auth = auth
        self._base = base
        self._web = web
        self._seconds = seconds
        self._now = now
        self._token = ""
        self._until = 0.0
        self._waiting: list[Deferred[str]] | None = None  # for the token that is being fetched
        self.fetched = 0  # tokens

    @property
    def renewable(self) -> bool:
        """A 401 may mean that the token has ended early."""
        return self._auth.smart_backend is not None

    def __repr__(self) -> str:
        return "<Login ***>"

    async def header(self, refused: str = "") -> str:
        """The value to send; empty: none. `refused` is the value that the server did not take."""
        auth = self._auth
        if auth.basic is not None:
            pair = f"{auth.basic.username}:{auth.basic.password.get_secret_value()}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        if auth.bearer is not None:
            return f"Bearer {auth.bearer.get_secret_value()}"
        if auth.smart_backend is None:
            return ""
        if refused == f"Bearer {self._token}":
            self._token = ""
        if not self._token or self._seconds() >= self._until:
            await self._renew(auth.smart_backend)
        return f"Bearer {self._token}"

    def _renew(self, smart: SmartBackend) -> Deferred[str]:
        """One fetch, however many wait."""
        mine: Deferred[str] = Deferred()
        if self._waiting is not None:
            self._waiting.append(mine)
            return mine
        self._waiting = [mine]

        def told(result: Any) -> None:
            waiting, self._waiting = self._waiting or [], None
            for one in waiting:
                if isinstance(result, Failure):
                    one.errback(result)
                else:
                    one.callback(self._token)

        ensureDeferred(self._fetch(smart)).addBoth(told)
        return mine

    async def _fetch(self, smart: SmartBackend) -> None:
        url = smart.token_url or await self._discover()
        if self._base.secure and urlsplit(url).scheme != "https":
            raise _config("the token endpoint is not https, and the server is")
        form = {"grant_type": "client_credentials", "scope": smart.scope}
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        if smart.key is not None:
            form["client_assertion_type"] = ASSERTION
            form["client_assertion"] = smart.assertion(url, self._now())
        else:
            assert smart.secret is not None
            pair = f"{smart.client_id}:{smart.secret.get_secret_value()}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        try:
            answer = await self._web.request("POST", url, headers, urlencode(form).encode())
        except Lost as lost:
            raise of_lost(lost, True) from None
        told = _json(answer.body)
        if answer.status >= 400:
            error = of_answer(answer, True)
            if error.waits:
                raise error
            raise _config("the token endpoint refuses us", answer.status, _word(told.get("error")))
        token = told.get("access_token")
        if not isinstance(token, str) or not token.isascii() or any(c in token for c in "\r\n\0"):
            raise _config("the token endpoint gives no token", answer.status)
        life = told.get("expires_in")
        life = float(life) if isinstance(life, (int, float)) and life > 0 else LIFE
        self._token = token
        self._until = self._seconds() + life - min(EARLY, life / 5)
        self.fetched += 1

    async def _discover(self) -> str:
        try:
            answer = await self._web.request(
                "GET", self._base.url(".well-known/smart-configuration"), {"Accept": "application/json"}
            )
        except Lost as lost:
            raise of_lost(lost, True) from None
        if answer.status >= 400 and (error := of_answer(answer, True)).waits:
            raise error
        url = _json(answer.body).get("token_endpoint")
        if answer.status != 200 or not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise _config("the server names no token endpoint: write `token_url`", answer.status)
        if not url.isascii() or urlsplit(url).username is not None:
            raise _config("the server names a token endpoint that is no address", answer.status)
        return url


def _key(text: str, alg: str) -> RSAKey | ECKey:
    try:
        if text.lstrip().startswith("{"):
            data = orjson.loads(text)
            key: RSAKey | ECKey = (ECKey if data.get("kty") == "EC" else RSAKey).import_key(data)
        else:
            elliptic = isinstance(load_pem_private_key(text.encode(), None), EllipticCurvePrivateKey)
            key = (ECKey if elliptic else RSAKey).import_key(text)
        private = key.is_private
    except Exception:
        raise ValueError("key is no private key in PEM or JWK, RSA or EC") from None
    if not private:
        raise ValueError("key is a public key: the private one is needed")
    if isinstance(key, ECKey) and key.curve_name != "P-384":
        raise ValueError("key must be of the curve P-384 for ES384")
    if alg and (alg == "ES384") != isinstance(key, ECKey):
        raise ValueError(f"key does not fit alg {alg}")
    return key


def _config(what: str, status: int = 0, issue: str = "") -> FhirError:
    return FhirError("fhir.login", Result.CONFIG, status=status, issue=issue, what=what)


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _word(value: Any) -> str:
    """An OAuth error code (RFC 6749, 5.2); anything else could be data."""
    known = {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "invalid_scope"}
    return value if value in {*known, "unsupported_grant_type"} else ""
