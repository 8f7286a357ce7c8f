"""TLS and mutual TLS for every listener and sender.

Guarantees: TLS 1.2 or later with Twisted's modern cipher list; a client always checks the server's chain and
host name; a server with `client_ca` lets nobody in without a certificate of that CA. Files are read and
checked when the configuration is loaded. Refuses, with a ConfigError that names the file and the next step:
files that are missing or not PEM, an encrypted key, a key of another certificate, a certificate whose time is
over or has not come. No verification can be switched off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509
from pydantic import Field
from twisted.internet import ssl

from engine.errors import ConfigError
from engine.spec.component import Settings


class ServerTls(Settings):
    """TLS of a listener."""

    certificate: Path = Field(
        description="PEM file: the server's certificate, then the intermediate ones.",
        examples=["tls/server.pem"],
    )
    key: Path = Field(description="PEM file: its private key, not encrypted.", examples=["tls/server.key"])
    client_ca: Path | None = Field(
        default=None,
        description="PEM file of the CA that signs clients. When given, clients must show a certificate.",
        examples=["tls/clients-ca.pem"],
    )

    def files(self, base: Path) -> list[Path]:
        """The files that it names."""
        return [base / file for file in (self.certificate, self.key, self.client_ca) if file is not None]


class ClientTls(Settings):
    """TLS of a sender."""

    ca: Path | None = Field(
        default=None,
        description="PEM file of the CA that signed the server. Default: the CAs of the system.",
        examples=["tls/ca.pem"],
    )
    server_name: str = Field(
        default="",
        description="Name that the server's certificate must carry. Default: the host.",
        examples=["hl7.clinic.example"],
    )
    certificate: Path | None = Field(
        default=None,
        description="PEM file: our own certificate, for mutual TLS.",
        examples=["tls/client.pem"],
    )
    key: Path | None = Field(
        default=None, description="PEM file: its private key.", examples=["tls/client.key"]
    )

    def files(self, base: Path) -> list[Path]:
        """The files that it names."""
        return [base / file for file in (self.ca, self.certificate, self.key) if file is not None]


@dataclass(frozen=True)
class Tls:
    """What a listener or sender needs: `factory` for Twisted; when the certificate ends (None: has none)."""

    factory: Any
    not_after: datetime | None


def server(settings: ServerTls, base: Path, now: datetime | None = None) -> Tls:
    """The server side. Paths are relative to `base`, the folder of the configuration file."""
    options, not_after = _identity(base / settings.certificate, base / settings.key, now)
    if settings.client_ca is not None:
        options["trustRoot"] = _trust(base / settings.client_ca)
    return Tls(ssl.CertificateOptions(raiseMinimumTo=ssl.TLSVersion.TLSv1_2, **options), not_after)


def client(settings: ClientTls, host: str, base: Path, now: datetime | None = None) -> Tls:
    """The client side, for a connection to `host`."""
    options: dict[str, Any] = {}
    not_after = None
    if (settings.certificate is None) != (settings.key is None):
        raise ConfigError(
            "tls has only one of certificate and key", code="tls.half", todo="give both, or neither"
        )
    if settings.certificate is not None and settings.key is not None:
        options, not_after = _identity(base / settings.certificate, base / settings.key, now)
    trust = _trust(base / settings.ca) if settings.ca is not None else ssl.platformTrust()
    factory = ssl.optionsForClientTLS(
        settings.server_name or host,
        trustRoot=trust,
        extraCertificateOptions={"raiseMinimumTo": ssl.TLSVersion.TLSv1_2, **options},
    )
    return Tls(factory, not_after)


def client_name(transport: Any) -> str:
    """` ehr.example`: the common name of the client's certificate, after a blank; empty when there is none."""
    get = getattr(transport, "getPeerCertificate", None)
    certificate = get() if get is not None else None
    if certificate is None:
        return ""
    for found in certificate.to_cryptography().subject.get_attributes_for_oid(NameOID.COMMON_NAME):
        if re.fullmatch(r"[\w.:@-]{1,64}", str(found.value), re.ASCII):
            return f" {found.value}"
    return ""


def certificates(path: Path) -> list[x509.Certificate]:
    """All certificates of a PEM file, in order."""
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise ConfigError(
            "holds no PEM certificate",
            code="tls.certificate",
            where=str(path),
            todo="it must have -----BEGIN CERTIFICATE-----; convert DER with openssl x509 -inform der",
        ) from None


def _trust(path: Path) -> Any:
    return ssl.trustRootFromCertificates(
        [ssl.Certificate(X509.from_cryptography(found)) for found in certificates(path)]
    )


def _identity(certificate: Path, key: Path, now: datetime | None) -> tuple[dict[str, Any], datetime]:
    """Our own certificate, its chain and key as CertificateOptions arguments, and when it ends."""
    own, *chain = certificates(certificate)
    now = now or datetime.now(UTC)
    if own.not_valid_after_utc < now:
        raise ConfigError(
            f"the certificate ended on {own.not_valid_after_utc:%Y-%m-%d}",
            code="tls.expired",
            where=str(certificate),
            todo="renew it",
        )
    if own.not_valid_before_utc > now:
        raise ConfigError(
            f"the certificate begins only on {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            code="tls.not_yet",
            where=str(certificate),
            todo="check the clock of this machine",
        )
    private = _key(key)
    if private.public_key() != own.public_key():
        raise ConfigError(
            f"the key does not belong to {certificate.name}",
            code="tls.mismatch",
            where=str(key),
            todo="compare the output of openssl pkey -pubout and openssl x509 -pubkey",
        )
    options = {
        "privateKey": private,
        "certificate": own,
        "extraCertChain": chain,
    }
    return options, own.not_valid_after_utc


def _key(path: Path) -> Any:
    try:
        return load_pem_private_key(_read(path), password=None)
    except TypeError:
        what, todo = "the private key is encrypted", "write it without a password: openssl pkey -in … -out …"
    except ValueError:
        what, todo = "holds no PEM private key", "it must have -----BEGIN PRIVATE KEY-----"
    raise ConfigError(what, code="tls.key", where=str(path), todo=todo)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror}",
            code="tls.file",
            where=str(path),
            todo="paths are relative to the configuration file; the engine's user must be able to read it",
        ) from None
