from pathlib import Path

import pytest
from secfwt.runtime.deployment import Deployment
from secfwt.runtime.errors import DeploymentError

TEXT = """
certificates = "certs"
threads = 4

[[parties]]
host = "mpc0.example.org"
port = 9000
listen = "0.0.0.0"

[[parties]]
host = "10.0.0.2"
port = 9000

[[parties]]
host = "::1"
port = 9001
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "deployment.toml"
    path.write_text(text)
    return path


def test_a_file_is_read(tmp_path: Path):
    deployment = Deployment.load(write(tmp_path, TEXT))
    assert deployment.certificates == tmp_path / "certs"
    assert [p.address for p in deployment.parties] == ["mpc0.example.org:9000", "10.0.0.2:9000", "[::1]:9001"]
    assert [p.listen_address for p in deployment.parties] == ["0.0.0.0:9000", "10.0.0.2:9000", "[::1]:9001"]
    assert deployment.threads == 4


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("port = 9001", "port = 70000", r"parties\.2\.port = 70000: Input should be less than or equal to 65535"),
        ("threads", "thread", r"thread = 4: Extra inputs are not permitted"),
        ('certificates = "certs"', "", "certificates is missing"),
        ('[[parties]]\nhost = "::1"\nport = 9001\n', "", "at least 3 items"),
        ("threads = 4", "threads = ", "is not TOML"),
    ],
)
def test_errors_name_file_key_and_value(tmp_path: Path, old: str, new: str, message: str):
    path = write(tmp_path, TEXT.replace(old, new))
    with pytest.raises(DeploymentError, match=message) as error:
        Deployment.load(path)
    assert str(path) in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DeploymentError, match=r"nowhere\.toml: No such file"):
        Deployment.load(tmp_path / "nowhere.toml")


def test_local_parties_have_three_ports(tmp_path: Path):
    deployment = Deployment.local(tmp_path)
    assert len({p.port for p in deployment.parties}) == 3
    assert {p.host for p in deployment.parties} == {"127.0.0.1"}
