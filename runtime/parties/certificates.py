"""A deployment's certificates: one authority of its own, the parties and the owners (docs/deployment.md).

`DIR/ca.pem` is given to everyone; `DIR/<name>.pem` and `DIR/<name>.key` go to the host of that name alone; `DIR/ca.key`
is needed only to make certificates and stays with whoever made them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..errors import CertificateError
from .roles import CLIENTS

PARTIES = 3
DAYS = 825


def host_name(name: str) -> str:
    """The name in a certificate, e.g. `party0.secfwt`."""
    return f"{name}.secfwt"


def names(parties: int = PARTIES, clients: Sequence[str] = CLIENTS) -> dict[str, tuple[str, str]]:
    """The host names of every party and client: this project's, and what MP-SPDZ calls it."""
    servers = {f"party{i}": f"P{i}" for i in range(parties)}
    numbered = {name: f"C{i}" for i, name in enumerate(clients)}
    return {name: (host_name(name), other) for name, other in (servers | numbered).items()}


def files(folder: Path, parties: int = PARTIES, clients: Sequence[str] = CLIENTS) -> list[Path]:
    """All files of a complete set, the authority's first."""
    return [folder / f"{name}.{ending}" for name in ("ca", *names(parties, clients)) for ending in ("pem", "key")]


def make_certificates(folder: Path, days: int = DAYS, parties: int = PARTIES, clients: Sequence[str] = CLIENTS) -> bool:
    """Make an authority and certificates of parties and clients (EC P-256); False if the set is already there, valid
    and complete but for `ca.key`, which nothing needs any more.

    Private keys are created with mode 0600. Raises CertificateError for a folder that holds a part of a set, or one
    that has expired: nothing is ever overwritten.
    """
    wanted = files(folder, parties, clients)
    if (folder / "ca.pem").exists():
        wanted.remove(folder / "ca.key")  # put away, or deleted, as it should be
    present = [path for path in wanted if path.exists()]
    if present:
        missing = [path.name for path in wanted if path not in present]
        if missing:
            raise CertificateError(f"{folder} holds a part of a set; missing: {', '.join(missing)}; use an empty one")
        for path in present:
            if path.suffix == ".pem":
                _check_expiry(path)
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        make_set(folder, names(parties, clients), days)
    except OSError as error:
        raise CertificateError(f"cannot write certificates to {folder}: {error.strerror}") from error
    return True


def key_pin(certificate: x509.Certificate) -> str:
    """What a deployment pins: SHA-256 of the public key's SubjectPublicKeyInfo (DER), in hexadecimal digits."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key = certificate.public_key().public_bytes(serialization.Encoding.DER, form)
    return hashlib.sha256(key).hexdigest()


def client_context(folder: Path, name: str) -> ssl.SSLContext:
    """TLS 1.3 with the certificate of `name`, accepting only certificates of the folder's authority, names checked.

    Raises CertificateError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    return _with_files(context, folder, name)


def server_context(folder: Path, name: str) -> ssl.SSLContext:
    """TLS 1.3 with the certificate of `name`; whoever connects needs one of the folder's authority.

    Raises CertificateError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return _with_files(context, folder, name)


def _with_files(context: ssl.SSLContext, folder: Path, name: str) -> ssl.SSLContext:
    ca, certificate, key = files_of(folder, name)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(ca)
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise CertificateError(f"cannot use {ca}, {certificate} and {key}: {error}") from error
    return context


def files_of(folder: Path, name: str) -> tuple[Path, Path, Path]:
    """Authority, certificate and key of one name. Raises CertificateError where one is missing, or open to others."""
    ca, certificate, key = folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key"
    for path in (ca, certificate, key):
        if not path.is_file():
            raise CertificateError(f"{path} is missing; secfwt-certs {folder} makes a set of certificates")
    info = key.stat()
    mode, of_root = info.st_mode, info.st_uid == 0 and os.geteuid() != 0
    if mode & (0o137 if of_root else 0o177):  # root may give a key to a group, as Kubernetes does: vm/net/tls.cpp
        raise CertificateError(f"key {key} has mode {mode & 0o7777:04o}: others may read it; run chmod 0600 {key}")
    return ca, certificate, key


def read_certificate(path: Path) -> x509.Certificate:
    """Raises CertificateError."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise CertificateError(f"{path} is not a certificate: {error}") from error


def make_set(folder: Path, hosts: Mapping[str, Sequence[str]], days: int) -> None:
    """Write an authority and, for every name of `hosts`, a certificate of these host names into an existing folder.

    All may be clients, the parties servers too. Raises OSError.
    """
    lifetime = dt.timedelta(days=days)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "secfwt authority")])
    now = dt.datetime.now(dt.UTC)

    def certificate(name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )

    root = (
        certificate(authority, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    _write_pair(folder / "ca", root.sign(authority_key, hashes.SHA256()), authority_key)
    for name, its in hosts.items():
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH] + [ExtendedKeyUsageOID.SERVER_AUTH] * name.startswith("party")
        leaf = (
            certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(host) for host in its]), critical=False)
        )
        _write_pair(folder / name, leaf.sign(authority_key, hashes.SHA256()), key)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates, key_cert_sign=signs_certificates, crl_sign=signs_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _write_pair(path: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(path.with_suffix(".key"), private, 0o600)
    _write(path.with_suffix(".pem"), certificate.public_bytes(pem), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def _check_expiry(path: Path) -> None:
    end = read_certificate(path).not_valid_after_utc
    if end < dt.datetime.now(dt.UTC):
        raise CertificateError(f"{path} expired on {end:%Y-%m-%d}; make a new set in an empty folder")
