from pathlib import Path

import pytest
from secfwt.runtime.errors import DeploymentError
from secfwt.runtime.parties.deployment import Deployment

TEXT = """
certificates = "certs"
threads = 4
lanes = 3

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
    assert (deployment.threads, deployment.lanes, deployment.ahead_mb) == (4, 3, 256)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("port = 9001", "port = 70000", r"parties\.2\.port = 70000: Input should be less than or equal to 65535"),
        ("lanes = 3", "lanes = 0", r"lanes = 0: Input should be greater than or equal to 1"),
        ("lanes = 3", "ahead_mb = -1", r"ahead_mb = -1: Input should be greater than or equal to 0"),
        ("threads", "thread", r"thread = 4: Extra inputs are not permitted"),
        ('certificates = "certs"', "", "certificates is missing"),
        ('[[parties]]\nhost = "::1"\nport = 9001\n', "", "2 parties are described: engine embedded has 3"),
        ("threads = 4", 'engine = "mp-spdz"', "protocol is missing: engine mp-spdz takes one of ring, rep4-ring"),
        ("threads = 4", 'protocol = "ring"', "protocol is ring: engine embedded takes none"),
        ("threads = 4", 'engine = "clear"', "engine = 'clear': Input should be 'embedded', 'mp-spdz' or 'split'"),
        ("port = 9001", "port = 9001\nclient_port = 1", r"parties\.2\.client_port is given: engine embedded has none"),
        ("threads = 4", 'data_owners = ["a"]', "data_owners: 1 data owners are named: several are 2 to 64"),
        ("threads = 4", 'data_owners = ["a", "a", "party1"]', "a is named twice; 'party1' is no name of an owner"),
        ("threads = 4", 'data_owners = ["a", "b"]\ncoordinator = "A b"', "'A b' is no name of an owner"),
        ("threads = 4", "threads = ", "is not TOML"),
        ("threads = 4", f"threads = {'1' * 5000}", "is not TOML: Exceeds the limit"),
        ("threads = 4", f"threads = {'[' * 100_000}", "is not TOML: maximum recursion depth"),
        ("::1", "::1]:9001", r"parties\.2\.host = '::1\]:9001': .*with the port in `port`"),
        ("10.0.0.2", "10.0.0.2:9000", r"parties\.1\.host = '10\.0\.0\.2:9000': .*with the port in `port`"),
        ("mpc0", "https://mpc0", r"parties\.0\.host = 'https://mpc0.example.org': .*an address is expected"),
        ("0.0.0.0", "0.0.0.0 ", r"parties\.0\.listen = '0\.0\.0\.0 ': .*a name or an address is expected"),
        ("10.0.0.2", "MPC0.example.org", r"parties\.1\.port is 9000: parties\.0\.port of the same host has it"),
    ],
)
def test_errors_name_file_key_and_value(tmp_path: Path, old: str, new: str, message: str):
    path = write(tmp_path, TEXT.replace(old, new))
    with pytest.raises(DeploymentError, match=message) as error:
        Deployment.load(path)
    assert str(path) in str(error.value)


def test_an_ipv6_address_may_stand_in_brackets_and_a_file_may_begin_with_a_mark(tmp_path: Path):
    path = write(tmp_path, "\ufeff" + TEXT.replace('"::1"', '"[::1]"'))
    assert Deployment.load(path) == Deployment.load(write(tmp_path, TEXT))


@pytest.mark.parametrize("other", ["127.0.0.1", "localhost", "[::1]"])
def test_one_port_twice_on_this_machine(tmp_path: Path, other: str):
    text = TEXT.replace("10.0.0.2", other).replace("9000", "9001")
    with pytest.raises(DeploymentError, match=r"parties\.2\.port is 9001: parties\.1\.port of the same host"):
        Deployment.load(write(tmp_path, text))


MP_SPDZ = """
engine = "mp-spdz"
protocol = "semi2k"
certificates = "certs"

[[parties]]
host = "mpc0.example.org"
port = 9000
client_port = 9001

[[parties]]
host = "10.0.0.2"
port = 9000
client_port = 9001
"""


def test_a_file_of_mp_spdz_is_read(tmp_path: Path):
    deployment = Deployment.load(write(tmp_path, MP_SPDZ))
    assert (deployment.engine, deployment.protocol) == ("mp-spdz", "semi2k")
    assert [p.client_port for p in deployment.parties] == [9001, 9001]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("semi2k", "bgw", r"protocol = 'bgw': Input should be 'ring', 'rep4-ring'"),
        ("semi2k", "rep4-ring", "2 parties are described: protocol rep4-ring has 4"),
        ("client_port = 9001", "", r"parties\.0\.client_port is missing"),
        ("client_port = 9001", 'client_port = 9001\nlisten = "::"', r"parties\.0\.listen is given: .* all addresses"),
        ('"10.0.0.2"', '"::1"', r"parties\.1\.host is ::1: parties of MP-SPDZ speak IPv4"),
    ],
)
def test_what_mp_spdz_cannot_do_is_said(tmp_path: Path, old: str, new: str, message: str):
    with pytest.raises(DeploymentError, match=message):
        Deployment.load(write(tmp_path, MP_SPDZ.replace(old, new)))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DeploymentError, match=r"nowhere\.toml: No such file"):
        Deployment.load(tmp_path / "nowhere.toml")


def test_local_parties_have_three_ports(tmp_path: Path):
    deployment = Deployment.local(tmp_path)
    assert len({p.port for p in deployment.parties}) == 3
    assert {p.host for p in deployment.parties} == {"127.0.0.1"}


def test_which_of_several_data_owners_this_is_follows_from_its_key(tmp_path: Path) -> None:
    text = 'data_owners = ["a", "b"]\ncoordinator = "b"\n' + TEXT
    deployment = Deployment.load(write(tmp_path, text))
    assert deployment.clients == ("model-owner", "a", "b")
    with pytest.raises(DeploymentError, match=r"no data owner's key: say with --owner which one this is, of a, b"):
        _ = deployment.own_client
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "b.key").touch()
    assert deployment.own_client == "b"
    (tmp_path / "certs" / "a.key").touch()
    with pytest.raises(DeploymentError, match="keys of a, b"):
        _ = deployment.own_client
    deployment.save(tmp_path / "saved.toml")
    assert Deployment.load(tmp_path / "saved.toml") == deployment
