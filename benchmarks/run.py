#!/usr/bin/env python
"""Benchmarks: rows in benchmarks/results, figures in docs/figures.

    python benchmarks/run.py layer --shape minilm bert-base --tokens 32 64 128 256 512
    python benchmarks/run.py forward --shape minilm --layers 1 2 4 6
    python benchmarks/run.py generation --candidates 20 --examples 64 --unstaged 2
    python benchmarks/run.py decoder --shape smollm2 --tokens 64 --pair 3
    python benchmarks/run.py text --model SmolLM2.gguf --draft SmolLM2.gguf --draft-tokens 2 4 8
    python benchmarks/run.py adapter --subject smollm2 --layers 8 --output DIR
    python benchmarks/run.py lora --lora DIR --ways frozen merged factored
    python benchmarks/run.py split
    python benchmarks/run.py paper --prompt-layer 23
    python benchmarks/run.py kernels
    python benchmarks/run.py network --lanes 1 --lanes 2
    python benchmarks/run.py groups --groups 1 2 4 --simulated 8 64
    python benchmarks/run.py links --what tune --network 2 3
    python benchmarks/run.py peers --spu-python DIR/bin/python --crypten-python DIR/bin/python
    python benchmarks/run.py mpspdz-layer --shape minilm bert-base --bert-layer
    python benchmarks/run.py accuracy --tasks ag_news --methods 0,3,5
    python benchmarks/run.py feature-maps --tokens 64 256
    python benchmarks/run.py merged-heads --model DIR DIR
    python benchmarks/run.py fidelity --texts 334 --tokens 32 64
    python benchmarks/run.py perplexity --model FILE.gguf --texts 16 --tokens 64
    python benchmarks/run.py explore sst2 --variants base,"layer 4"
    python benchmarks/run.py prototypes ag_news --draws 16
    python benchmarks/run.py searches ag_news --draws 8
    python benchmarks/run.py owners --tasks sst2 --seeds 1
    python benchmarks/run.py faults --cells 20
    python benchmarks/run.py figures

Every option that takes several values measures all combinations. docs/benchmarks.md says what the columns mean,
`run.py COMMAND --help` what a command takes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib import import_module

from secfwt.codegen.commandline.ending import exit_codes

from rows import commit

COMMANDS = {
    "layer": "performance.sweeps",
    "forward": "performance.sweeps",
    "generation": "performance.sweeps",
    "decoder": "performance.decoder",
    "text": "performance.text",
    "adapter": "adapters.train",
    "lora": "adapters.private",
    "split": "performance.split",
    "paper": "performance.paper",
    "kernels": "performance.kernels",
    "network": "performance.network",
    "groups": "performance.groups",
    "links": "performance.links",
    "peers": "peers.engines",
    "mpspdz-layer": "peers.mpspdz_layer",
    "accuracy": "accuracy.run",
    "feature-maps": "accuracy.feature_maps",
    "merged-heads": "accuracy.merged_heads",
    "fidelity": "accuracy.fidelity",
    "perplexity": "accuracy.perplexity",
    "explore": "accuracy.explore",
    "prototypes": "accuracy.prototypes",
    "searches": "accuracy.searches",
    "owners": "accuracy.owners",
    "faults": "faults",
    "figures": "performance.figures",
}
"""Modules with `add_options` and `main`; only the command's own is imported, since two of them need torch."""


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, with the command's `main` in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("options", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    module = import_module(COMMANDS[given.command])
    own = argparse.ArgumentParser(
        prog=f"run.py {given.command}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own.set_defaults(command=given.command, main=module.main)
    module.add_options(own, given.command)
    return own.parse_args(given.options)


def main() -> None:
    """Run the command."""
    options = parsed()
    commit()  # of what is loaded now, whatever the checkout has when a row is done
    with exit_codes():
        options.main(options)


if __name__ == "__main__":
    main()
