"""What C++ and Python must agree on: the constants that `secfwt-vm --describe` prints are those of the Python code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from annotated_types import Ge, Le
from secfwt.codegen.commandline.problems import ProblemsFound
from secfwt.codegen.model.options import GenOptions
from secfwt.codegen.native.binaries import VM, find
from secfwt.codegen.native.defaults import TILE_WORDS
from secfwt.codegen.plan.graph import Stage
from secfwt.codegen.ring.header import FIRST_LINE, INPUT_KINDS
from secfwt.codegen.ring.operations import COMMUNICATING, OPERATIONS
from secfwt.codegen.ring.program import NOISE_REACH, PHASE, Sharing
from secfwt.codegen.series.fits import MOST_SCALE
from secfwt.runtime.parties import connection, sharing
from secfwt.runtime.parties.certificates import names
from secfwt.runtime.parties.connection import Frame
from secfwt.runtime.parties.deployment import Deployment
from secfwt.runtime.parties.roles import MOST_OWNERS

Described = Mapping[str, Any]


@pytest.fixture(scope="module")
def described() -> Described:
    done = subprocess.run([find(VM), "--describe"], capture_output=True, text=True, check=True, timeout=20)
    result: Described = json.loads(done.stdout)
    return result


def test_the_wire(described: Described) -> None:
    (seed, _), _, _ = sharing.share([sharing.Elements(np.zeros(1, np.int64))])
    assert described["wire"] == {
        "magic": connection.MAGIC,
        "header_bytes": connection.HEADER.size,
        "hash_bytes": 32,  # SHA-256
        "seed_bytes": len(seed),
        "hello_bytes": connection.HELLO_BYTES,
        "progress_bytes": connection.LIMITS[Frame.PROGRESS],
        "cost_bytes": connection.COST_BYTES,
        "owner_bytes": connection.OWNER_BYTES,
        "notice_bytes": connection.NOTICE_BYTES,
        "heartbeat_seconds": connection.SILENCE_SECONDS / 20,
        "frames": {frame.name: frame.value for frame in Frame},
        "complaints": {failure: argument for argument, failure in connection.COMPLAINTS.items()},
        "names": {name: host for name, (host, _) in names().items()},
    }


def test_the_words_of_programs(described: Described) -> None:
    program = described["program"]
    assert program["first_line"] == FIRST_LINE
    assert program["stages"] == {Stage(i).label: i for i in range(4)}
    assert program["sharings"].keys() == {each.value for each in Sharing}
    assert program["phase_scale"] == PHASE == sharing.PHASE
    assert program["most_fit_scale"] == MOST_SCALE
    assert program["noise_reach"] == NOISE_REACH


def test_the_operations_of_programs(described: Described) -> None:
    operations = described["program"]["operations"]
    assert operations.keys() == OPERATIONS.keys()
    for kind, row in operations.items():
        arity = OPERATIONS[kind].arity
        assert row["communicates"] == (kind in COMMUNICATING), kind
        assert row["least_inputs"] == arity.start, kind
        if "most_inputs" in row:  # else any number
            assert row["most_inputs"] == arity.stop - 1, kind
        else:
            assert arity.stop > 1000, kind


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("public", "bits"), ("constant", "bytes"), ("trunc", "shift"), ("trunc", "ring"), ("cos_sin", "k"),
        ("cos_sin", "fc"), ("cos_sin", "fa"), ("weight", "ring"), ("example", "ring"), ("candidate", "ring"),
    ],
)  # fmt: skip
def test_the_ranges_of_keys(described: Described, kind: str, key: str) -> None:
    given = kind in INPUT_KINDS and key == "ring"
    least, most = described["program"]["ranges"]["input_ring" if given else key]
    holds = OPERATIONS[kind].keys[key].holds
    assert [holds(x) for x in (least - 1, least, most, most + 1)] == [False, True, True, False]


def test_how_many_owners_a_sum_may_ask_for(described: Described) -> None:
    least, most = described["program"]["ranges"]["min_owners"]
    assert most == MOST_OWNERS
    for owners, accepted in ((least - 1, False), (least, True), (most, True), (most + 1, False)):
        if accepted:
            assert GenOptions(min_owners=owners).min_owners == owners
        else:
            with pytest.raises(ProblemsFound, match=f"--min-owners is {owners}"):
                GenOptions(min_owners=owners)


def test_the_ranges_of_options(described: Described) -> None:
    """The parties take whatever a deployment file may say."""
    options = described["options"]
    assert options["--party"] == [0, 2]
    least, most = options["--tile-words"]
    assert least <= TILE_WORDS <= most
    for field in ("threads", "lanes", "ahead_mb", "connect_timeout", "idle_timeout", "command_timeout"):
        limits = Deployment.model_fields[field].metadata
        (ge,), (le,) = ([limit for limit in limits if isinstance(limit, kind)] for kind in (Ge, Le))
        lowest = max(ge.ge, 1) if field == "threads" else ge.ge  # 0: as many as there are cores
        assert options[f"--{field.replace('_', '-')}"] == [lowest, le.le], field
