"""How commands end: streams that do not take what is printed, signals, and what nobody foresaw."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from secfwt.codegen.commandline.command import Command
from secfwt.codegen.commandline.ending import ENDING, TRACEBACK, Terminated, exit_codes, last_resort
from secfwt.codegen.commandline.problems import SecfwtError

TOY = """
import signal
signal.signal(signal.SIGHUP, signal.{hangup})  # tests may run under nohup
from secfwt.codegen.commandline.command import Command
def toy(typed):
    {body}
Command("toy", (), "A toy.", "toy").run(toy)
"""


def run(body: str, shell: str = "", hangup: str = "SIG_DFL", **environment: str) -> subprocess.CompletedProcess[str]:
    """A command with that body, in a process of its own, with redirections of the shell."""
    command = ["bash", "-c", f'exec "$@" {shell}', "bash", sys.executable, "-c", TOY.format(body=body, hangup=hangup)]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", env=os.environ | environment, check=False
    )


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (SecfwtError("no"), 2, "error: no\n"),
        (KeyboardInterrupt(), 130, "interrupted\ngo on\n"),
        (Terminated(), 143, "terminated\ngo on\n"),
        (Terminated(signal.SIGHUP), 129, "terminated: the terminal is gone\ngo on\n"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 2, "error: a/b: Permission denied\ngo on\n"),
        (OSError(errno.EMFILE, "Too many open files"), 2,
         "error: Too many open files; raise the limit (ulimit -n)\ngo on\n"),
        (MemoryError("Unable to allocate 3 TiB"), 2, "error: too little memory: Unable to allocate 3 TiB\ngo on\n"),
    ],
)  # fmt: skip
def test_exit_codes(raised: BaseException, code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, exit_codes(lambda: "go on"):
        raise raised
    assert end.value.code == code
    assert capsys.readouterr().err == message


def test_what_nobody_foresaw_is_named_with_its_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises() -> None:
        with pytest.raises(SystemExit) as end, last_resort("toy"):
            Command("toy", (), "", "").parse([]).values["none"]
        assert end.value.code == 1

    raises()
    said = capsys.readouterr().err
    assert "error: toy 0." in said
    assert "KeyError: 'none'" in said
    assert f"raised at {Path(__file__)}:" in said
    assert "please report it" in said
    assert "Traceback" not in said
    monkeypatch.setenv(TRACEBACK, "1")
    raises()
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("number", ENDING)
def test_signals_that_end(number: signal.Signals) -> None:
    done = run(f"import os; os.kill(os.getpid(), {int(number)}); import time; time.sleep(9)")
    assert (done.returncode, done.stderr) == (128 + number, f"{ENDING[number]}\n")


def test_a_hang_up_that_is_ignored_stays_so() -> None:
    body = f"import os; os.kill(os.getpid(), {int(signal.SIGHUP)}); print('on')"
    assert run(body, hangup="SIG_IGN").stdout == "on\n"


def test_a_full_disk_behind_standard_output() -> None:
    for body in ("print('x')", "print('x' * 100000)", "print('x', flush=True)"):
        done = run(body, ">/dev/full")
        assert (done.returncode, done.stderr) == (
            2, "error: standard output: No space left on device; make room\n"
        )  # fmt: skip
    assert run("print('x'); raise KeyError", "2>/dev/full").returncode == 1


def test_streams_that_are_closed() -> None:
    done = run("print('x'); print(open('/dev/null').fileno() > 2, file=__import__('sys').stderr)", ">&- <&-")
    assert (done.returncode, done.stderr) == (0, "True\n")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_an_encoding_that_lacks_characters(encoding: str) -> None:
    done = run(r"print('10\u2079 \u65e5 \udcff \u00e9')", PYTHONIOENCODING=encoding)
    assert done.returncode == 0
    assert r"\udcff" in done.stdout
    assert ("\\u65e5" in done.stdout) == (encoding != "utf-8")


def test_a_notebooks_backend_does_not_matter() -> None:
    done = run("import matplotlib.pyplot", MPLBACKEND="module://matplotlib_inline.backend_inline")
    assert (done.returncode, done.stderr) == (0, "")
