"""What a run owes to the searches that made the dataset it starts from."""

import dataclasses

from hades.policies.base import Policy
from hades.registry import register


@register("StageRecord", "StageRecord")
@dataclasses.dataclass(frozen=True)
class StageRecord:
    """An earlier search, whose dataset a search starts from.

    Attributes:
        method: its label.
        recipe: its learner and policy, such as "RidgeCloning of MLP".
        networks: that it trained.
        generations: of it.
        search_steps, selection_steps: environment steps.
        returns: of its dataset on report keys; None where that is not known.
    """

    method: str
    recipe: str
    networks: tuple[Policy, ...]
    generations: int
    search_steps: int
    selection_steps: int
    returns: float | None
