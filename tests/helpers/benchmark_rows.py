"""What tests of the benchmarks measure and show: a toy encoder and a row."""

from __future__ import annotations

from performance.models import EncoderSize
from rows import Row

TOY = EncoderSize(8, 2, 16, 2)
ROW = Row(
    benchmark="layer",
    engine="embedded",
    protocol="replicated ring, semi-honest",
    parties=3,
    shape="384/12/1536",
    tokens=128,
    cold_seconds=0.2,
    seconds=0.1,
    seconds_min=0.09,
    seconds_max=0.11,
    runs=5,
    megabytes=32.0,
    rounds=34,
    max_error=0.001,
    rms_error=0.0001,
    peak_memory_mb=76.0,
    threads=1,
    commit="0123456+",
    command="python benchmarks/run.py layer",
)
