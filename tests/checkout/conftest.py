"""Fuzzers run beside the other tests of this folder, which are builds and installations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers.fuzzing import SEVERAL, Fuzzing
from helpers.native import built
from secfwt.runtime.parties.certificates import make_certificates
from secfwt.runtime.parties.roles import CLIENTS


@pytest.fixture(scope="session", autouse=True)
def fuzzing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Fuzzing]]:
    """Those that `test_fuzz.py` will ask for, by target; none where it is not run."""
    items = [item for item in request.session.items if item.path.name == "test_fuzz.py"]
    targets = [str(item.callspec.params["target"]) for item in items if isinstance(item, pytest.Function)]
    running: dict[str, Fuzzing] = {}
    if targets:
        capture = request.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            fuzzer = built("secfwt-fuzz", "address,undefined")
        folder = tmp_path_factory.mktemp("fuzzing")
        make_certificates(folder / "certificates", clients=(*CLIENTS, *SEVERAL))
        running = {target: Fuzzing(fuzzer, target, folder) for target in targets}
    yield running
    for each in running.values():
        each.stop()
