"""What a user may fix of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class PlanOptions:
    """Values given by the user.

    Parameters
    ----------
    minutes
        For the whole training, from its start to its last validation.
    seed
        Of initialisation, patches and chance.
    given
        Values of the plan by their dotted names, such as ``training.batch_size``; the plan chooses the
        others.
    origins
        Who gave a value, by its name, where it wasn't the user.
    """

    minutes: float
    seed: int
    given: Mapping[str, Any] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
