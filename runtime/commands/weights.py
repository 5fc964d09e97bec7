"""`secfwt-weights`: the model owner shares the weights of a bundle with the parties."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.options import ENGINE, Option
from ...codegen.commandline.units import amount, seconds
from ..parties.deployment import Deployment
from .shared import BundleFolder


@dataclass(frozen=True)
class WeightsOptions:
    """What is shared, and with whom."""

    deployment: Annotated[
        tuple[Path, ...],
        Option(
            "TOML file that describes the parties. Repeat it for more groups of parties.", ENGINE, metavar="FILE"
        ),
    ]  # fmt: skip
    bundle: BundleFolder


COMMAND = Command(
    "secfwt-weights",
    (WeightsOptions,),
    "Share the model's weights with the parties; none of them learns anything about them.\n"
    "Every group of parties gets shares of its own. With MP-SPDZ's parties: for one session, and as soon as the data\n"
    "owner is there.",
    "secfwt-weights --deployment deployment.toml --bundle bundle",
)


def weights_command(typed: Typed) -> None:
    """Share the weights with every group, then say what was done. All groups are tried; the first error is raised."""
    options = typed.make(WeightsOptions)
    deployments = [Deployment.load(path) for path in options.deployment]
    with ThreadPoolExecutor(len(deployments)) as pool:  # MP-SPDZ's groups wait for the data owner all at once
        for done in [pool.submit(_share, each, options.bundle) for each in deployments]:
            print(done.result(), flush=True)
    if any(each.engine == "embedded" for each in deployments):
        print(
            "next     they keep them until they are stopped; the data owner begins with tune.py --deployment --bundle"
        )


def _share(deployment: Deployment, bundle: Path) -> str:
    """Share with one group; returns what to say of it."""
    from ...codegen.ring.header import read_program
    from ..embedded.weights import share_bundle
    from ..mpspdz.remote import share_weights_mpspdz

    if deployment.engine == "mp-spdz":
        share_weights_mpspdz(deployment, bundle, lambda text: print(text, flush=True))
        return f"weights of {bundle} shared for this session of the data owner"
    cost = share_bundle(deployment, bundle)
    inputs = read_program(bundle / "public" / "program.txt").of_kind("weight")
    parties = ", ".join(party.address for party in deployment.parties)
    return (
        f"weights  {sum(each.size for each in inputs):,} numbers of {bundle} shared with {parties}\n"
        f"parties  took {seconds(cost.seconds)} and sent each other {amount(cost.bytes_sent, 'B')}"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `secfwt-weights`."""
    COMMAND.run(weights_command, words)


if __name__ == "__main__":
    main()
