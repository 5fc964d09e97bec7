"""Finding an installation of MP-SPDZ, compiling with it and reporting on it; no MP-SPDZ needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from secfwt.codegen.mpspdz.protocols import PROTOCOLS
from secfwt.runtime.commands import doctor
from secfwt.runtime.mpspdz import installation as mpspdz
from secfwt.runtime.mpspdz.compiler import compile_program


def fake_installation(root: Path, *protocols: str, release: str = "0.4.2") -> Path:
    (root / "Compiler").mkdir(parents=True)
    (root / "compile.py").write_text("")
    (root / "CHANGELOG.md").write_text(f"Intro.\n\n## {release} (Dec 24, 2025)\n\n## 0.1.0\n")
    for protocol in protocols:
        program = root / PROTOCOLS[protocol].program
        program.write_text("")
        program.chmod(0o755)
    return root


def test_option_then_variable_then_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = fake_installation(tmp_path / "MP-SPDZ")
    monkeypatch.setenv("HOME", str(tmp_path))
    named, variable = fake_installation(tmp_path / "a"), fake_installation(tmp_path / "b")
    assert mpspdz.find(str(named), {"MP_SPDZ_HOME": str(variable)}).root == named
    assert mpspdz.find(None, {"MP_SPDZ_HOME": str(variable)}).root == variable
    assert mpspdz.find(None, {}).root == home
    assert mpspdz.candidates(None, {})[1:] == [Path("/opt/MP-SPDZ")]


def test_a_user_id_without_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 987_654_321)
    assert mpspdz.candidates(None, {}) == [Path("/opt/MP-SPDZ")]
    assert mpspdz.find(str(fake_installation(tmp_path / "m")), {}).root == tmp_path / "m"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert mpspdz.find("~/m", {}).root == tmp_path / "m"


def test_missing_installation_names_place_and_documentation(tmp_path: Path) -> None:
    with pytest.raises(mpspdz.MpSpdzError, match=mpspdz.DOCUMENTATION) as error:
        mpspdz.find(str(tmp_path))
    assert str(tmp_path) in str(error.value)


def test_description_names_version_programs_and_what_is_missing(tmp_path: Path) -> None:
    text = mpspdz.describe(mpspdz.find(str(fake_installation(tmp_path / "m", "ring", "semi2k"))))
    assert "0.4.2" in text
    assert re.search(r"protocols built: ring( \(.*?\))?, semi2k", text)
    assert "rep4-ring-party.x" in text
    assert "warning" not in text


def test_other_release_is_a_warning(tmp_path: Path) -> None:
    assert "tested with 0.4.x only" in mpspdz.describe(
        mpspdz.find(str(fake_installation(tmp_path / "m", release="0.5.0")))
    )


def test_party_program_that_was_not_built_is_named(tmp_path: Path) -> None:
    found = mpspdz.find(str(fake_installation(tmp_path / "m", "ring")))
    assert found.party("ring").name == "replicated-ring-party.x"
    with pytest.raises(mpspdz.MpSpdzError, match=r"no semi2k-party\.x"):
        found.party("semi2k")


def test_own_party_program_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECFWT_BIN", str(tmp_path / "bin"))
    found = mpspdz.find(str(fake_installation(tmp_path / "m", "ring")))
    assert mpspdz.find_party(found, "ring") == found.root / "replicated-ring-party.x"
    own = tmp_path / "bin" / "secfwt-replicated-ring-party.x"
    own.parent.mkdir()
    own.write_text("")
    own.chmod(0o755)
    assert mpspdz.find_party(found, "ring") == own
    assert "ring (with the project's kernels)" in mpspdz.describe(found)
    with pytest.raises(mpspdz.MpSpdzError, match="built: ring"):
        mpspdz.find_party(found, "rep4-ring")


def compiler(root: Path, code: str) -> mpspdz.Installation:
    fake_installation(root, "ring")
    (root / "compile.py").write_text(code)
    return mpspdz.find(str(root))


def program(folder: Path) -> Path:
    source = folder / "program.mpc"
    source.write_text("a = 1\nb = no_such_kernel(a)\n")
    return source


def test_compiler_output_is_read(tmp_path: Path) -> None:
    code = "import sys\nassert sys.argv[1:3] == ['-E', 'ring']\n"
    code += "print('Expected communication is 1.5 MB online\\nHash: abc123')\n"
    code += "print('Program requires at most:\\n  2345 integer bits')"
    got = compile_program(compiler(tmp_path / "m", code), program(tmp_path), tmp_path / "work", "ring")
    assert (got.hash, got.megabytes, got.name, got.batch) == ("abc123", 1.5, "program", 2345)


def test_compiler_finds_its_modules_whatever_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    installation = compiler(tmp_path / "m", "import Compiler")
    assert compile_program(installation, program(tmp_path), tmp_path / "work", "ring").log == ""


def test_refused_program_is_shown_with_its_line(tmp_path: Path) -> None:
    code = "import sys\nexec(compile(open(sys.argv[-1]).read(), sys.argv[-1], 'exec'))"
    with pytest.raises(mpspdz.MpSpdzError) as error:
        compile_program(compiler(tmp_path / "m", code), program(tmp_path), tmp_path / "work", "ring")
    assert str(error.value) == (
        "MP-SPDZ's compiler refused program.mpc for ring: NameError: name 'no_such_kernel' is not defined\n"
        "  program.mpc:2: b = no_such_kernel(a)"
    )


def test_compiler_that_hangs_is_ended(tmp_path: Path) -> None:
    installation = compiler(tmp_path / "m", "import time\ntime.sleep(60)")
    with pytest.raises(mpspdz.MpSpdzError, match=r"not done with program\.mpc after 1 s"):
        compile_program(installation, program(tmp_path), tmp_path / "work", "ring", seconds=1.0)


def test_doctor_says_what_is_there(tmp_path: Path) -> None:
    compiler(tmp_path / "m", "")
    text, _ = doctor.report(str(tmp_path / "m"))
    assert "MP-SPDZ   0.4.2 (commit unknown)" in text
    assert re.search(r"protocols built: ring( \(.*?\))?\n", text)
    assert "not built: rep4-ring-party.x" in text
    assert "compiler runs under Python" in text
    (tmp_path / "m" / "compile.py").write_text("import no_such_module")
    assert "compiler does not run" in doctor.report(str(tmp_path / "m"))[0]


def test_doctor_without_mpspdz_names_the_documentation(tmp_path: Path) -> None:
    text, complete = doctor.report(str(tmp_path))
    assert mpspdz.DOCUMENTATION in text
    assert not complete


def test_doctor_never_asks_for_mpspdz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MP_SPDZ_HOME", str(tmp_path))
    monkeypatch.setattr(doctor.binaries, "describe", lambda: "built")
    monkeypatch.setattr("sys.argv", ["secfwt-doctor"])
    doctor.main()  # returns: exit code 0
    monkeypatch.setattr("sys.argv", ["secfwt-doctor", "--mp-spdz", str(tmp_path)])
    with pytest.raises(SystemExit) as end:  # unless its folder was given
        doctor.main()
    assert end.value.code == 2
