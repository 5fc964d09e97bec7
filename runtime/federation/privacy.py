"""What noise on sums keeps private: one example of an owner, and all that an owner has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...codegen.plan.graph import UNION_WEIGHT
from ..privacy import Mechanism
from ..tuning.model import PublicModel
from ..tuning.options import TuneOptions
from ..tuning.session import mechanism_of
from .member import SETS


@dataclass(frozen=True)
class UnionMechanism(Mechanism):
    """Sums of losses with noise: an example weighs 1/16 whatever the others are, so that nothing here depends on how
    many there are. Whose they are and how many each has is public."""

    owners: Mapping[str, Mapping[str, int]]
    """By owner, examples by set."""
    REST: ClassVar[str] = "nothing else of them is opened to the coordinator"

    def epsilon_of_owner(self, asked: Mapping[str, int]) -> float:
        """ε of all examples of an owner, of both sets, against as many others: the largest of the owners'."""
        return max(self.epsilon_of(examples, asked) for examples in self.owners.values())

    def guarantee(self, *asked: Mapping[str, int]) -> str:
        """What follows for one example, and for all of an owner's."""
        whole = max(map(self.epsilon_of_owner, asked))
        return f"{super().guarantee(*asked)}; of all of an owner's at once ε = {whole:.3g}"

    def promise(self, opened: Mapping[str, int], left: int) -> str:
        """What will hold once so many sums more are opened, of whichever set."""
        return self.guarantee(*(Counter(opened) + Counter({name: left}) for name in self.weights))


def union_mechanism(
    options: TuneOptions, model: PublicModel, owners: Mapping[str, Mapping[str, int]]
) -> UnionMechanism:
    """How the program noises sums over these owners' examples. Raises InputError where nobody can say what follows."""
    weights = dict.fromkeys(SETS, UNION_WEIGHT)
    return UnionMechanism(**vars(mechanism_of(options, model, weights)), owners=owners)
