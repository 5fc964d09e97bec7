"""What a measured step would take on a network: compute + rounds × latency + bytes ÷ bandwidth."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """Links between the parties: all the same, both directions at once at full speed."""

    name: str
    bits_per_second: float
    latency: float
    """Seconds that a message takes one way."""

    @property
    def parts(self) -> tuple[str, str, str]:
        """Name, bandwidth and latency, to be read."""
        return self.name, _bandwidth(self.bits_per_second), f"{self.latency * 1e3:g} ms"

    def __str__(self) -> str:
        return " ".join(self.parts)

    def seconds(self, computing: float, rounds: float, busiest_bytes: float) -> float:
        """Time of a step that took `computing` seconds where messages cost next to nothing.

        `busiest_bytes`: sent by the party that sends most.
        """
        return computing + rounds * self.latency + busiest_bytes * 8 / self.bits_per_second


NETWORKS = (Network("LAN", 3e9, 0.0008), Network("WAN", 200e6, 0.040), Network("WAN", 100e6, 0.080))
"""Those that SecP-Tuning reports on (arXiv 2506.15307)."""

COUNTED = (
    "expected time = measured seconds + rounds x latency + bytes / bandwidth. A round waits for one message: it costs "
    "the network's latency once, taken as one way (halve that part if yours is a round trip). Bytes: what the party "
    "that sends most puts on its link. Measured seconds are of all parties on this machine and hold what the loopback "
    "costs: the estimate errs on the slow side there, and knows nothing of congestion."
)


def _bandwidth(bits: float) -> str:
    return f"{bits / 1e9:g} Gbit/s" if bits >= 1e9 else f"{bits / 1e6:g} Mbit/s"
