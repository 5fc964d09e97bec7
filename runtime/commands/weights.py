"""`secfwt-weights`: the model owner shares the weights of a bundle with the parties."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...codegen.commandline.command import Command, Typed
from ...codegen.commandline.units import amount, seconds
from ..parties.deployment import Deployment
from .shared import BundleFolder, DeploymentFile


@dataclass(frozen=True)
class WeightsOptions:
    """What is shared, and with whom."""

    deployment: DeploymentFile
    bundle: BundleFolder


COMMAND = Command(
    "secfwt-weights",
    (WeightsOptions,),
    "Share the model's weights with the parties; none of them learns anything about them.\n"
    "With MP-SPDZ's parties: for one session, and as soon as the data owner is there.",
    "secfwt-weights --deployment deployment.toml --bundle bundle",
)


def weights_command(typed: Typed) -> None:
    """Share the weights, then say what was done."""
    from ...codegen.ring.header import read_program
    from ..embedded.weights import share_bundle
    from ..mpspdz.remote import share_weights_mpspdz

    options = typed.make(WeightsOptions)
    deployment = Deployment.load(options.deployment)
    if deployment.engine == "mp-spdz":
        share_weights_mpspdz(deployment, options.bundle, lambda text: print(text, flush=True))
        print(f"weights of {options.bundle} shared for this session of the data owner")
        return
    cost = share_bundle(deployment, options.bundle)
    inputs = read_program(options.bundle / "public" / "program.txt").of_kind("weight")
    parties = ", ".join(party.address for party in deployment.parties)
    print(f"weights  {sum(each.size for each in inputs):,} numbers of {options.bundle} shared with {parties}")
    print(f"parties  took {seconds(cost.seconds)} and sent each other {amount(cost.bytes_sent, 'B')}")
    print("next     they keep them until they are stopped; the data owner begins with tune.py --deployment --bundle")


def main(words: Sequence[str] | None = None) -> None:
    """Entry point of `secfwt-weights`."""
    COMMAND.run(weights_command, words)


if __name__ == "__main__":
    main()
