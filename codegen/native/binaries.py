"""Programs and libraries that were built with the package: where they are."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import secfwt

from .. import VERSION
from ..commandline.problems import SecfwtError

VM = "secfwt-vm"
"""One party as a network service."""
SIMULATOR = "libsecfwt_simulator.so"
"""Three parties in one process."""


class BinaryMissing(SecfwtError):  # noqa: N818 (the name says what it is)
    """A program or library that is in none of the places."""


def places() -> list[Path]:
    """Folders that are looked in: `$SECFWT_BIN` alone where it is set, else `bin` in every folder of the package.

    An editable installation has two of those: the checkout with the Python files, and the one that was installed to.
    """
    given = os.environ.get("SECFWT_BIN")
    return [Path(given)] if given else [Path(folder) / "bin" for folder in secfwt.__path__]


def find(name: str) -> Path:
    """Path of a program or library. Raises `BinaryMissing` naming the places."""
    looked = places()
    for place in looked:
        if (place / name).is_file():
            return place / name
    raise BinaryMissing(
        f"{name} is in none of: {', '.join(map(str, looked))}; run ./build.sh or install the package, "
        "or set SECFWT_BIN to its folder"
    )


def describe() -> str:
    """One line for a person: version, instruction set of the ring kernels on this processor, folder. Raises
    `BinaryMissing`."""
    vm, simulator = find(VM), find(SIMULATOR)
    name = ctypes.CDLL(str(simulator)).secfwt_isa
    name.restype = ctypes.c_char_p
    return f"secfwt {VERSION}, ring kernels for {name().decode()}, in {vm.parent}"


if __name__ == "__main__":
    try:
        print(describe())
    except BinaryMissing as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
