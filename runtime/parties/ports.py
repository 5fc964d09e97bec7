"""Free ports of this machine for parties that start in a moment.

They lie below the ports that the system gives to outgoing connections: one of those could take a port between its
choice and the party's start, or even connect to itself (a simultaneous open) while the party is not there yet.
"""

from __future__ import annotations

import secrets
import socket
from contextlib import ExitStack
from pathlib import Path

from ..errors import DeploymentError

LOWEST = 10_000
OUTGOING = 32_768
"""Where the ports of outgoing connections begin, if the system does not say."""
TRIES = 1_000
LOOPBACK_SECONDS = 5.0


def free_ports(count: int) -> range:
    """`count` neighbouring ports that nothing listens on, on any address. Raises OSError where there are none."""
    top = max(_first_outgoing(), LOWEST + TRIES)
    for _ in range(TRIES):
        first = LOWEST + secrets.randbelow(top - LOWEST - count)
        ports = range(first, first + count)
        try:
            with ExitStack() as stack:
                for port in ports:
                    stack.enter_context(socket.socket()).bind(("", port))
        except OSError:
            continue
        return ports
    raise OSError(f"no {count} neighbouring ports from {LOWEST} to {top} are free")


def check_loopback(host: str) -> None:
    """Raise DeploymentError unless this machine can talk to itself: some namespaces have no loopback interface."""
    try:
        with socket.socket() as server, socket.socket() as client:
            server.bind((host, 0))
            server.listen()
            client.settimeout(LOOPBACK_SECONDS)
            client.connect(server.getsockname())
    except OSError as error:
        raise DeploymentError(
            f"local parties talk to each other on {host}, and this machine cannot: {error.strerror or error}; "
            "bring its loopback interface up (ip link set lo up)"
        ) from None


def _first_outgoing() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        return OUTGOING
