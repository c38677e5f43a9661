"""What every task's training says about how the weights move."""

from typing import Protocol

from lepton_monai.plans.plan import FineTuning, Optimizer, Precision, Schedule


class Recipe(Protocol):
    """The part of a training plan that knows neither images nor labels; read, never set."""

    @property
    def batch_size(self) -> int:
        """Samples of a step."""
        ...

    @property
    def steps(self) -> int:
        """Of the whole training."""
        ...

    @property
    def optimizer(self) -> Optimizer:
        """By name."""
        ...

    @property
    def schedule(self) -> Schedule:
        """How the rate falls to zero."""
        ...

    @property
    def learning_rate(self) -> float:
        """Of new parameters, after the warm-up."""
        ...

    @property
    def pretrained_rate(self) -> float:
        """Share of the rate that the last stage of what is pretrained learns with."""
        ...

    @property
    def layer_decay(self) -> float:
        """Of the rate of a pretrained stage, what the stage before it learns with."""
        ...

    @property
    def fine_tuning(self) -> FineTuning:
        """Whether what is pretrained learns from the start, never, or stage by stage."""
        ...

    @property
    def thawing(self) -> float:
        """Share of the steps after which all stages learn, where they learn one after the other."""
        ...

    @property
    def frozen(self) -> tuple[str, ...]:
        """Patterns of the parameters that stay as they are."""
        ...

    @property
    def weight_decay(self) -> float:
        """Of what decays: neither norms nor biases."""
        ...

    @property
    def warm_up_steps(self) -> int:
        """Over which the rate rises."""
        ...

    @property
    def average_decay(self) -> float:
        """Of the running average of the weights."""
        ...

    @property
    def clip_norm(self) -> float:
        """What the gradient's norm is held below."""
        ...

    @property
    def precision(self) -> Precision:
        """Of the arithmetic."""
        ...

    @property
    def channels_last(self) -> bool:
        """Whether channels lie together in memory."""
        ...

    @property
    def compiled(self) -> bool:
        """Whether torch compiles the network."""
        ...

    @property
    def threads(self) -> int:
        """That compute."""
        ...

    @property
    def seed(self) -> int:
        """Of weights and chance."""
        ...
