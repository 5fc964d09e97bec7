"""`secfwt-weights`: the model owner shares the weights of a bundle with the parties."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..embedded.weights import share_bundle
from ..errors import reported
from ..mpspdz.remote import share_weights_mpspdz
from ..parties.deployment import Deployment


def main() -> None:
    """Entry point of `secfwt-weights`."""

    def weights(
        deployment: Annotated[Path, typer.Option(help="TOML file that describes the parties.")],
        bundle: Annotated[Path, typer.Option(help="Bundle that secfwt-gen wrote, with the model owner's part.")],
    ) -> None:
        """Share the model's weights with the parties; none of them learns anything about them.

        With MP-SPDZ's parties: for one session, and as soon as the data owner is there.
        """
        with reported():
            where = Deployment.load(deployment)
            if where.engine == "mp-spdz":
                share_weights_mpspdz(where, bundle, lambda text: print(text, flush=True))
                print("weights shared for this session of the data owner")
                return
            cost = share_bundle(where, bundle)
            print(f"weights shared; the parties took {cost.seconds:.1f} s and sent {cost.bytes_sent / 1e6:.1f} MB")

    typer.run(weights)


if __name__ == "__main__":
    main()
