"""Programs and libraries that were built with the package: where they are."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import secfwt

from .. import VERSION
from ..commandline.problems import SecfwtError

VM = "secfwt-vm"
"""One party as a network service."""
SIMULATOR = "libsecfwt_simulator.so"
"""Three parties in one process."""
BUILD = "build it on this machine: ./build.sh"
TRIAL_SECONDS = 20
NARROW_RING, WORD = 40, 64
"""Rings in bits: of most products of a program, and the widest."""


class BinaryMissing(SecfwtError):  # noqa: N818 (the name says what it is)
    """A program or library that is in none of the places, or cannot be run on this machine."""


def places() -> list[Path]:
    """Folders that are looked in: `$SECFWT_BIN` alone where it is set, else `bin` in every folder of the package.

    An editable installation has two of those: the checkout with the Python files, and the one that was installed to.
    """
    given = os.environ.get("SECFWT_BIN")
    return [Path(given)] if given else [Path(folder) / "bin" for folder in secfwt.__path__]


def find(name: str) -> Path:
    """Path of a program or library. Raises `BinaryMissing` naming the places, or the program that may not be run."""
    looked = places()
    there = [place / name for place in looked if (place / name).is_file()]
    for path in there:
        if path.suffix == ".so" or os.access(path, os.X_OK):
            return path
    if there:
        raise BinaryMissing(
            f"{there[0]} may not be executed: give it the x bit (chmod +x), or move it from a file system that is "
            "mounted noexec and set SECFWT_BIN to its folder"
        )
    raise BinaryMissing(
        f"{name} is in none of: {', '.join(map(str, looked))}; run ./build.sh or install the package, "
        "or set SECFWT_BIN to its folder"
    )


def load(name: str) -> ctypes.CDLL:
    """A library. Raises `BinaryMissing`."""
    path = find(name)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BinaryMissing(f"{path} cannot be loaded: {error}; {BUILD}") from None


def describe() -> str:
    """One line for a person: version, instruction set of the ring kernels on this processor, which of them serve matrix
    products in a narrow ring and in the widest, folder.

    Raises `BinaryMissing`, also where the party program does not run.
    """
    vm, simulator = find(VM), load(SIMULATOR)
    try:
        done = subprocess.run([vm, "--describe"], capture_output=True, check=False, timeout=TRIAL_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BinaryMissing(f"{vm} does not run: {getattr(error, 'strerror', None) or error}; {BUILD}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise BinaryMissing(f"{vm} does not run: {said.splitlines()[-1]}; {BUILD}")
    for function in (simulator.secfwt_isa, simulator.secfwt_kernel):
        function.restype = ctypes.c_char_p
    isa = simulator.secfwt_isa().decode()
    narrow, wide = (simulator.secfwt_kernel(bits).decode() for bits in (NARROW_RING, WORD))
    kernels = narrow if narrow == wide else f"{narrow} and {wide}"
    return f"secfwt {VERSION}, ring kernels for {isa}, products on {kernels}, in {vm.parent}"


if __name__ == "__main__":
    try:
        print(describe())
    except BinaryMissing as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
