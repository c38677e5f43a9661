"""The clock: how long a step of a training takes on this machine, in the fastest way of computing it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.plans.plan import Precision, with_values
from lepton_monai.plans.recipe import Recipe
from lepton_monai.training.arithmetic import wrong_convolution
from lepton_monai.training.loop import Feeding, Source, batches
from lepton_monai.training.seeds import deterministic, seeded
from lepton_monai.training.training import PRECISIONS, Trained, Training

MEASURED_STEPS = 3

FAR_TOO_SLOW = 20
"""Times the seconds that a step may take: then one step says enough."""

FORWARD_SHARE = 1 / 3
"""Of a training step: backward takes twice as long as forward."""

SHORTEST = 50
"""Steps of a training, however short the time."""

Way = tuple[Precision, bool]
"""Precision, and whether channels lie last in memory."""


class Timed(Trained, Protocol):
    """A plan, of any task, that says why its values are what they are."""

    @property
    def reasons(self) -> dict[str, str]:
        """By the values' dotted names."""
        ...


TimedPlan = TypeVar("TimedPlan", bound=Timed)

Begin = Callable[[TimedPlan], tuple[Training, Source]]
"""Gives the training of a plan at its first step, with random weights, and what it is fed with."""


@dataclass(frozen=True)
class Pace(Generic[TimedPlan]):
    """A plan in the fastest way of this machine, the seconds of its step, and what was measured."""

    plan: TimedPlan
    step_seconds: float
    measured: str

    @property
    def way(self) -> Way:
        """How it computes."""
        return self.plan.training.precision, self.plan.training.channels_last

    def steps_in(self, seconds: float) -> int:
        """Return how many steps there is time for."""
        return max(SHORTEST, int(seconds / self.step_seconds))


def ways_of(recipe: Recipe, given: Mapping[str, Any], device: torch.device) -> list[Way]:
    """Return the ways of computing that are worth a look on a device.

    Who fixes precision or layout fixes both: nothing of how such a training computes follows from a clock.
    """
    if {"training.precision", "training.channels_last"} & set(given):
        return [(recipe.precision, recipe.channels_last)]
    if device.type == "cuda":
        half: Precision = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        return list(product([half], (False, True)))
    if device.type == "cpu":
        # Measured on one core with bfloat16: a DynUNet is fastest in it with channels first, a ResNet with
        # channels last, EfficientNet-Lite0 in float32 with channels last; without bfloat16 the first two
        # are so in float32 with channels first.
        precisions: tuple[Precision, ...] = ("float32", "bfloat16")
        return list(product(precisions, (False, True)))
    return [("float32", False)]


def fastest(
    plan: TimedPlan, ways: Sequence[Way], begin: Begin[TimedPlan], feeding: Feeding, wanted: float
) -> Pace[TimedPlan]:
    """Measure a training in several ways; `wanted` are the seconds that a step may take.

    A way that computes wrongly here is left out; float32 stands in where no other is left.
    """
    paces = [_pace(plan, way, begin, feeding, wanted) for way in ways]
    if all(np.isinf(one.step_seconds) for one in paces):
        paces.append(_pace(plan, ("float32", False), begin, feeding, wanted))
    measured = ", ".join(one.measured for one in paces)
    return replace(min(paces, key=lambda one: one.step_seconds), measured=measured)


def timed(
    pace: Pace[TimedPlan],
    seconds: float,
    follows: Mapping[str, Any],
    reasons: Mapping[str, str],
    given: Mapping[str, Any],
) -> TimedPlan:
    """Freeze in a plan what its clock decided.

    Parameters
    ----------
    pace
        With the plan, in which everything that was given stands already.
    seconds
        That its steps were counted from.
    follows
        From the pace, by dotted names: the steps, and what else; warm-up and average follow from the steps.
    reasons
        Of what is particular to a task.
    given
        What the user fixed, which stays as it is.

    Raises
    ------
    ConfigError
        The precision was given, and computes wrongly here.
    """
    training, steps = pace.plan.training, int(follows["training.steps"])
    if given.get("training.precision", training.precision) != training.precision:
        message = (
            f"plan.training.precision is {given['training.precision']}, which computes wrongly on this "
            f"machine ({pace.measured}): leave it out, or write {training.precision}."
        )
        raise ConfigError(message)
    chosen = {
        "training.warm_up_steps": min(training.warm_up_steps, steps // 10 + 1),
        "training.average_decay": min(training.average_decay, 1.0 - 10.0 / (steps + 10)),
        **follows,
    }
    measured = f"{seconds:.0f} s at {pace.step_seconds:.3f} s a step, measured on this machine"
    why = {
        "training.steps": measured + ("; fewer are no training" if steps == SHORTEST else ""),
        "training.precision": f"the fastest step: {pace.measured}",
        **reasons,
    }
    return with_values(
        pace.plan,
        {name: value for name, value in chosen.items() if name not in given}
        | {"reasons": pace.plan.reasons | {name: one for name, one in why.items() if name not in given}},
    )


def _pace(
    plan: TimedPlan, way: Way, begin: Begin[TimedPlan], feeding: Feeding, wanted: float
) -> Pace[TimedPlan]:
    precision, channels_last = way
    plan = with_values(plan, {"training.precision": precision, "training.channels_last": channels_last})
    name = f"{precision}{', channels last' if channels_last else ''}"
    wrong = _wrong_convolution(plan, begin, feeding)
    if wrong:
        return Pace(plan, float("inf"), f"{name} left out, {wrong} has wrong gradients in it")
    seconds = _seconds_a_step(plan, begin, feeding, wanted)
    return Pace(plan, seconds, f"{name} {seconds:.3f} s")


def _wrong_convolution(plan: TimedPlan, begin: Begin[TimedPlan], feeding: Feeding) -> str:
    """Return what of the network a lower precision of the CPU can't be trusted with; empty: nothing."""
    recipe = plan.training
    if recipe.precision == "float32" or feeding.device.type != "cpu":
        return ""
    with deterministic(recipe.threads), seeded(recipe.seed):
        training, source = begin(plan)
        inputs, _ = next(batches(source, replace(feeding, workers=0)))
        dtype = PRECISIONS[recipe.precision]
        return wrong_convolution(training.network, inputs, dtype, channels_last=recipe.channels_last)


def _seconds_a_step(plan: TimedPlan, begin: Begin[TimedPlan], feeding: Feeding, wanted: float) -> float:
    """Measure whole steps, samples included; the first is left out, unless it is far too slow already."""
    recipe = plan.training
    # All stages learn that ever do: the step is as slow as it becomes.
    tuning = "all" if recipe.fine_tuning == "gradual" else recipe.fine_tuning
    short = with_values(plan, {"training.steps": MEASURED_STEPS + 1, "training.fine_tuning": tuning})
    with deterministic(recipe.threads), seeded(recipe.seed):
        training, source = begin(short)
        times = [time.perf_counter()]
        for inputs, label in islice(batches(source, replace(feeding, workers=0)), MEASURED_STEPS + 1):
            training.advance(inputs, label)
            times.append(time.perf_counter())
            if times[-1] - times[0] > FAR_TOO_SLOW * wanted:
                break
    taken = np.diff(times)
    return float(np.median(taken[1:] if len(taken) > 1 else taken))
