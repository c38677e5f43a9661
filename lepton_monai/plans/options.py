"""What a user may fix of a plan."""

from dataclasses import dataclass

from lepton_monai.plans.plan import Precision, Triple


@dataclass(frozen=True)
class PlanOptions:
    """Values given by the user; None: the plan chooses.

    Parameters
    ----------
    minutes
        For the whole training, from its start to its last validation.
    seed
        Of initialisation, patches and chance.
    network
        Name in the registry.
    """

    minutes: float
    seed: int
    network: str
    spacing_mm: tuple[float, float, float] | None = None
    patch_size: Triple | None = None
    channels: tuple[int, ...] | None = None
    batch_size: int | None = None
    steps: int | None = None
    learning_rate: float | None = None
    precision: Precision | None = None
    mirror: bool | None = None
