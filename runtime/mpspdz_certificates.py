"""Certificates where MP-SPDZ's parties look for them, made by the project's own authority.

A party reads `Player-Data/P<i>.pem` and `.key`, trusts every certificate of that folder that has OpenSSL's hash of its
subject as its file name, and checks that its peers are called `P<i>`, its clients `C<i>`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .certificates import make_set

FOLDER = "Player-Data"
DAYS = 30


def make_player_data(folder: Path, parties: int, clients: int) -> Path:
    """Make `folder/Player-Data` with an authority and certificates of all parties and clients; returns it."""
    data = folder / FOLDER
    data.mkdir(parents=True, exist_ok=True)  # the compiler may have made it
    data.chmod(0o700)
    servers = [f"P{i}" for i in range(parties)]
    names = {name: name for name in [*servers, *(f"C{i}" for i in range(clients))]}
    make_set(data, names, servers, DAYS)
    (data / "ca.key").unlink()  # nobody needs it any more
    authority = x509.load_pem_x509_certificate((data / "ca.pem").read_bytes())
    (data / f"{subject_hash(authority.subject):08x}.0").write_bytes(authority.public_bytes(Encoding.PEM))
    return data


def subject_hash(name: x509.Name) -> int:
    """OpenSSL's X509_NAME_hash: SHA-1 of the canonical name without its outer header, first four bytes little-endian.

    For names of one short attribute in lower case with single spaces, whose encoding is canonical as it is.
    """
    return int.from_bytes(hashlib.sha1(name.public_bytes()[2:], usedforsecurity=False).digest()[:4], "little")
