"""What is done to a process, and undone again."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from processes.service import Service

FAULTS = ("SIGKILL", "SIGTERM", "SIGSTOP", "disk full", "cut", "delay")
STOP_SECONDS = 30.0
DELAY, DELAY_SECONDS = 0.2, 15.0
DISK_SECONDS = 10.0
DISK_BYTES = 64 << 20


@contextmanager
def inflicted(fault: str, service: Service, role: str) -> Iterator[None]:
    """Begin it; at the end of the block wait until it is over, where it is one that passes."""
    process = service.processes[role]
    if fault in ("SIGKILL", "SIGTERM"):
        process.signal(signal.Signals[fault])
        yield
    elif fault == "SIGSTOP":
        process.signal(signal.SIGSTOP)
        yield
        time.sleep(STOP_SECONDS)
        process.signal(signal.SIGCONT)
    elif fault == "disk full":
        with filled(service.disks[role]):
            yield
            process.wait(DISK_SECONDS)
    elif fault == "cut":
        with service.network.cut(role):
            yield
    else:
        service.network.slow(role, DELAY)
        yield
        time.sleep(DELAY_SECONDS)
        service.network.slow(role)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """No byte is left on it meanwhile."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(bytes(size))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def disks(folder: Path, roles: Sequence[str]) -> Iterator[tuple[dict[str, Path], str]]:
    """A small file system per role; where this process may not mount any, folders, and why."""
    paths = {role: folder / f"disk of {role}" for role in roles}
    mounted: list[Path] = []
    refused = ""
    try:
        for path in paths.values():
            path.mkdir()
            command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                refused = done.stderr.strip() or "mount failed"
                continue
            mounted.append(path)
        yield paths, refused
    finally:
        for path in mounted:
            subprocess.run(["umount", "--lazy", str(path)], check=False)
