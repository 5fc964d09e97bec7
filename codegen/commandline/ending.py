"""How a command begins and ends whatever happens: streams that can be written to, one message, an exit code.

No traceback reaches a person. `SECFWT_TRACEBACK=1` prints it before the message, for whoever looks for a fault.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from .. import VERSION
from .problems import SecfwtError

Handlers = dict[signal.Signals, Any]
STDOUT = "standard output"
PACKAGE = Path(__file__).resolve().parents[2]
TRACEBACK = "SECFWT_TRACEBACK"
ENDING = {signal.SIGTERM: "terminated", signal.SIGHUP: "terminated: the terminal is gone"}
"""Signals that unwind as Ctrl-C does, and what is said then."""
FAULT = 1
"""Exit code of a command that met what it was not made for."""
HINTS = {
    errno.EMFILE: "; raise the limit (ulimit -n)",
    errno.ENFILE: "; the machine's limit is reached",
    errno.ENOSPC: "; make room",
    errno.EDQUOT: "; make room",
}


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP, so that it unwinds as Ctrl-C does."""

    def __init__(self, number: int = signal.SIGTERM) -> None:
        super().__init__(number)
        self.number = signal.Signals(number)


class _Named(io.FileIO):
    """Standard output that says its name where it cannot be written to."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, STDOUT) from None


def prepare_streams() -> None:
    """Make standard streams writable: what their encoding lacks is written as an escape, closed ones go nowhere."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number, this one; no file of ours may
    if isinstance(out := sys.stdout, io.TextIOWrapper):
        raw = io.BufferedWriter(_Named(out.fileno(), "w", closefd=False))
        sys.stdout = io.TextIOWrapper(
            raw, out.encoding, "backslashreplace", line_buffering=out.line_buffering, write_through=out.write_through
        )


@contextmanager
def exit_codes(advice: Callable[[], str] = lambda: "") -> Iterator[None]:
    """End the process with one message.

    Exit code 2 (or the error's own) for what the user can put right, a file or stream that cannot be read or written
    and too little memory among it; 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.

    `advice`: how to go on, printed behind interruptions and errors that say that they can be resumed.
    """
    before = _heed({number: _terminate for number in ENDING if signal.getsignal(number) != signal.SIG_IGN})
    try:
        with _flushed():
            yield
    except SecfwtError as error:
        _trace()
        _end(error.report(), error.exit_code, advice() if error.resumable else "")
    except KeyboardInterrupt as stop:
        # On the way out now: more of the same signals change nothing.
        before = dict.fromkeys((signal.SIGINT, *ENDING), signal.SIG_IGN)
        _heed(before)
        if isinstance(stop, Terminated):
            _end(ENDING[stop.number], 128 + stop.number, advice())
        _end("interrupted", 128 + signal.SIGINT, advice())
    except OSError as error:
        _trace()
        _end(f"error: {_of_system(error)}", SecfwtError.exit_code, advice())
    except MemoryError as error:
        _trace()
        text = f"too little memory: {error}" if str(error) else "too little memory"
        _end(f"error: {text}", SecfwtError.exit_code, advice())
    finally:
        _heed(before)


@contextmanager
def last_resort(command: str) -> Iterator[None]:
    """What nobody foresaw: name the command, the exception, where it was raised, and where to report it."""
    try:
        yield
    except Exception as error:
        _trace()
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        _end(
            f"error: {command} {VERSION} met what it was not made for: {_short(what)}\n  raised at {_place(error)}",
            FAULT,
            "This is a fault of secfwt: please report it where you got secfwt from (the repository's issues), with "
            f"these lines and the command. {TRACEBACK}=1 shows how it came to that.",
        )


@contextmanager
def _flushed() -> Iterator[None]:
    """Write out what was printed while there is still somebody to say that it cannot be."""
    try:
        yield
    except SystemExit:
        _flush()
        raise
    _flush()


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _heed(handlers: Handlers) -> Handlers:
    """Set handlers of signals; returns those before."""
    return {number: signal.signal(number, handler) or signal.SIG_DFL for number, handler in handlers.items()}


def _terminate(number: int, _: object) -> None:
    raise Terminated(number)


def _of_system(error: OSError) -> str:
    """What the system refused, by the file's name where there is one."""
    reason = f"{error.strerror or error}{HINTS.get(error.errno or 0, '')}"
    names = " -> ".join(os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None)
    if names == STDOUT:  # nothing is tried again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return f"{names}: {reason}" if names else reason


def _place(error: BaseException) -> str:
    """File and line that raised, and the last of the package on the way there."""
    frames = traceback.extract_tb(error.__traceback__)
    folders = tuple(str(PACKAGE / name) for name in ("codegen", "runtime"))
    ours = [frame for frame in frames if frame.filename.startswith(folders) and frame.filename != __file__]
    chosen = dict.fromkeys(f"{frame.filename}:{frame.lineno}" for frame in [*ours[-1:], *frames[-1:]])
    return ", in ".join(chosen)


def _short(text: str, length: int = 500) -> str:
    return text if len(text) <= length else f"{text[:length]} …"


def _trace() -> None:
    if os.environ.get(TRACEBACK):
        with contextlib.suppress(OSError):
            traceback.print_exc()


def _end(message: str, code: int, advice: str) -> NoReturn:
    with contextlib.suppress(OSError):  # standard error may be gone as well
        print("\n".join(text for text in (message, advice) if text), file=sys.stderr, flush=True)
    raise SystemExit(code) from None
