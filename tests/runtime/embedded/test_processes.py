"""Parties of the embedded VM that cannot be started."""

from __future__ import annotations

from pathlib import Path

import pytest
from secfwt.codegen.native import binaries
from secfwt.runtime.embedded.processes import LocalParties, PartyError, become_party
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.deployment import Deployment


def test_a_program_that_the_system_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / binaries.VM
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    monkeypatch.setenv("SECFWT_BIN", str(tmp_path))
    make_certificates(tmp_path / "keys")
    (tmp_path / "program.txt").touch()
    parties = LocalParties(Deployment.local(tmp_path / "keys"), tmp_path / "program.txt", tmp_path / "logs")
    with pytest.raises(PartyError, match=rf"the parties cannot be started: {program}: Exec format error"):
        parties.start()
    assert parties.pids == []
    with pytest.raises(PartyError, match=rf"the party cannot be started: {program}: Exec format error"):
        become_party([str(program)])
