"""Certificates where MP-SPDZ's parties look for them.

A party reads `Player-Data/P<i>.pem` and `.key`, trusts every certificate of that folder that has OpenSSL's hash of its
subject as its file name, and checks that its peers are called `P<i>`, its clients `C<i>`: the second name of every
certificate of a deployment.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.x509.name import _ASN1Type

from ..errors import CertificateError
from ..parties.certificates import files_of, make_certificates, read_certificate

FOLDER = "Player-Data"
DAYS = 30


def make_player_data(folder: Path, parties: int) -> Path:
    """Make `folder/Player-Data` with a set of certificates for all parties and clients; returns it."""
    data = folder / FOLDER
    data.mkdir(parents=True, exist_ok=True)  # the compiler may have made it
    data.chmod(0o700)
    make_certificates(data, DAYS, parties)
    (data / "ca.key").unlink()  # nobody needs it any more
    link_certificates(data, data, range(parties))
    return data


def link_certificates(certificates: Path, data: Path, parties: Iterable[int]) -> None:
    """Let parties find what is theirs of a deployment's certificates in the folder `data`, without copies of keys.

    Raises CertificateError where a file is missing, a key is open to others, or a certificate lacks the party's name
    under MP-SPDZ.
    """
    links: dict[str, Path] = {}
    for party in parties:
        ca, certificate, key = files_of(certificates, f"party{party}")
        name, hosts = f"P{party}", host_names(read_certificate(certificate))
        if name not in hosts:
            raise CertificateError(f"{certificate} is for {', '.join(hosts)}: MP-SPDZ wants the name {name} in it too")
        authority = subject_hash(read_certificate(ca).subject)
        links |= {f"{name}.pem": certificate, f"{name}.key": key, f"{authority:08x}.0": ca}
    for link, target in links.items():
        (data / link).symlink_to(target.absolute())


def host_names(certificate: x509.Certificate) -> list[str]:
    """The DNS names of a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.DNSName)


def subject_hash(name: x509.Name) -> int:
    """OpenSSL's X509_NAME_hash: SHA-1 of the canonical name without its outer header, first four bytes little-endian.

    Canonical is every attribute as UTF-8, in lower case and with single spaces.
    """
    parts = []
    for part in name.rdns:
        values = [(each.oid, " ".join(str(each.value).lower().split())) for each in part]
        canonical = [x509.NameAttribute(oid, value, _ASN1Type.UTF8String) for oid, value in values]
        parts.append(x509.Name([x509.RelativeDistinguishedName(canonical)]).public_bytes()[2:])
    return int.from_bytes(hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()[:4], "little")
