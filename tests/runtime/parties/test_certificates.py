import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from secfwt.runtime.errors import CertificateError
from secfwt.runtime.parties.certificates import client_context, files, make_certificates, names
from secfwt.runtime.parties.roles import CLIENTS, clients_of


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_each_certificate_has_its_names_and_uses(certificates: Path):
    authority = load(certificates / "ca.pem")
    for name, other in (("party0", "P0"), ("party2", "P2"), ("model-owner", "C0"), ("data-owner", "C1")):
        certificate = load(certificates / f"{name}.pem")
        certificate.verify_directly_issued_by(authority)
        hosts = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert list(hosts) == [x509.DNSName(f"{name}.secfwt"), x509.DNSName(other)]
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert (ExtendedKeyUsageOID.SERVER_AUTH in uses) == (name not in CLIENTS)
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp256r1"


def test_several_data_owners_have_certificates_that_no_party_could_use(tmp_path: Path) -> None:
    clients = clients_of(("north", "south"), "south")
    assert clients == ("model-owner", "north", "south")
    assert make_certificates(tmp_path, clients=clients)
    assert {path.stem for path in tmp_path.glob("*.key")} == {"ca", "party0", "party1", "party2", *clients}
    for name in clients:
        uses = load(tmp_path / f"{name}.pem").extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(CertificateError, match=r"missing: .*data-owner"):
        make_certificates(tmp_path)


def test_private_keys_are_never_readable_by_others(tmp_path: Path):
    before = os.umask(0)
    try:
        make_certificates(tmp_path / "certs")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "certs").stat().st_mode) == 0o700
    for key in (tmp_path / "certs").glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_a_second_call_changes_nothing(tmp_path: Path):
    assert make_certificates(tmp_path)
    before = {path: path.read_bytes() for path in files(tmp_path)}
    assert not make_certificates(tmp_path)
    assert {path: path.read_bytes() for path in files(tmp_path)} == before


def test_a_part_of_a_set_is_refused(tmp_path: Path):
    make_certificates(tmp_path)
    (tmp_path / "party1.key").unlink()
    with pytest.raises(CertificateError, match=r"missing: party1\.key"):
        make_certificates(tmp_path)


def test_a_set_for_four_parties(tmp_path: Path):
    make_certificates(tmp_path, parties=4)
    assert (tmp_path / "party3.pem").exists()
    assert len(names(4)) == 6
    (tmp_path / "party3.pem").unlink()
    with pytest.raises(CertificateError, match=r"missing: party3\.pem"):
        make_certificates(tmp_path, parties=4)


def test_an_expired_set_is_refused(tmp_path: Path):
    make_certificates(tmp_path, days=0)
    with pytest.raises(CertificateError, match="expired on"):
        make_certificates(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CertificateError, match="file/certs"):
        make_certificates(tmp_path / "file" / "certs")


def test_a_key_that_others_may_read_is_refused(tmp_path: Path):
    make_certificates(tmp_path)
    (tmp_path / "data-owner.key").chmod(0o644)
    with pytest.raises(CertificateError, match=r"data-owner\.key has mode 0644"):
        client_context(tmp_path, "data-owner")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CertificateError, match=r"ca\.pem is missing"):
        client_context(tmp_path, "data-owner")


def test_a_key_of_another_certificate_is_refused(tmp_path: Path):
    make_certificates(tmp_path)
    (tmp_path / "data-owner.key").write_bytes((tmp_path / "model-owner.key").read_bytes())
    with pytest.raises(CertificateError, match="cannot use"):
        client_context(tmp_path, "data-owner")
