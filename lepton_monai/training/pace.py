"""The clock: how long a step takes on this machine, and how many fit into the time."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from lepton_monai.data.cache import CachedCase
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import Plan, Precision, with_values
from lepton_monai.training.devices import machine_of
from lepton_monai.training.loop import Feeding, batches
from lepton_monai.training.planner import Draft, on_rung
from lepton_monai.training.seeds import deterministic, seeded
from lepton_monai.training.segmentation import network_of, patches_of, segmentation_training
from lepton_monai.training.stages import all_but_last, measured_recipe

FEWEST_STEPS = {"cpu": 1000, "gpu": 5000}
"""A heavier training is worth it only with at least so many steps: docs/decisions/0001."""

MEASURED_STEPS = 3
MIRROR_SECONDS = 20.0
"""Mirrored prediction takes eight times as long; it pays where it stays below this for a case."""

MOST_MEASURING = 0.04
"""Of the time: where steps are so slow, the lightest rung is taken without a look at those between."""

FAR_TOO_SLOW = 20
"""Times the seconds that a step may take: then one step says enough."""

FORWARD_SHARE = 1 / 3
"""Of a training step: backward takes twice as long as forward."""


Way = tuple[Precision, bool]
"""Precision, and whether channels lie last in memory."""


@dataclass(frozen=True)
class Pace:
    """A plan in the fastest precision of this machine, the seconds of its step, and what was measured."""

    plan: Plan
    way: Way
    step_seconds: float
    measured: str
    tried: str = ""


def measured_plan(
    draft: Draft,
    cases: Sequence[CachedCase],
    feeding: Feeding,
    seconds_left: float,
    validation_cases: int,
) -> Plan:
    """Measure steps of the heaviest trainings downwards, and freeze the first that has enough of them.

    Parameters
    ----------
    draft
        With everything that needs no clock.
    cases
        Prepared training cases.
    feeding
        Where and how it will be trained.
    seconds_left
        For training and validation.
    validation_cases
        That are predicted in that time too.
    """
    began = time.perf_counter()
    fewest = FEWEST_STEPS[machine_of(feeding.device).kind]
    given = draft.options.given
    # Where the user has fixed what tells them apart one rung is as good as the next.
    is_fixed = "training.steps" in given or {"network.channels", "training.patch_size"} <= set(given)
    rungs = draft.rungs[:1] if is_fixed else draft.rungs
    ways = _ways(draft.plan, draft.options, feeding.device)
    tried: list[str] = []
    while True:
        rung, rungs = rungs[0], rungs[1:]
        pace = _fastest(on_rung(draft, rung), ways, cases, feeding, seconds_left / fewest)
        ways = [pace.way]  # what is fastest on one rung is so on the next
        spent = time.perf_counter() - began
        steps = (seconds_left - spent) / pace.step_seconds
        tried.append(f"width {rung.width} with {_voxels(pace.plan)} voxels: {max(steps, 0):.0f} steps")
        if steps >= fewest or not rungs:
            pace = replace(pace, tried=f"{'; '.join(tried)}; {fewest} are wanted")
            return _frozen(pace, draft.options, cases, seconds_left - spent, validation_cases)
        if spent > MOST_MEASURING * seconds_left:
            rungs = rungs[-1:]


def _frozen(
    pace: Pace,
    options: PlanOptions,
    cases: Sequence[CachedCase],
    seconds: float,
    validation_cases: int,
) -> Plan:
    """Put into the plan what follows from the pace."""
    plan, given = pace.plan, options.given
    windows = max(1.0, float(np.median([case.image.size for case in cases])) * 8 / _voxels(plan))
    case_seconds = pace.step_seconds * FORWARD_SHARE / plan.training.batch_size * windows
    axes = plan.prediction.mirror_axes
    if "prediction.mirror_axes" not in given and case_seconds * 2 ** len(axes) > MIRROR_SECONDS:
        axes = ()
    case_seconds *= 2 ** len(axes)
    left = seconds - validation_cases * case_seconds
    steps = given.get("training.steps", max(50, int(left / pace.step_seconds)))
    follows = {
        "training.steps": steps,
        "training.warm_up_steps": min(plan.training.warm_up_steps, steps // 10 + 1),
        "training.average_decay": min(plan.training.average_decay, 1.0 - 10.0 / (steps + 10)),
        "prediction.mirror_axes": axes,
    }
    reasons = {
        "training.steps": f"{left:.0f} s at {pace.step_seconds:.3f} s a step, measured on this machine",
        "training.precision": f"the fastest step: {pace.measured}",
        "network.channels": f"the heaviest training with enough steps: {pace.tried}",
        "prediction.mirror_axes": f"a case takes about {case_seconds:.0f} s so",
    }
    chosen = {name: reason for name, reason in reasons.items() if name not in given}
    full = with_values(plan, follows | dict(given))
    return replace(full, reasons=plan.reasons | chosen)


def _voxels(plan: Plan) -> int:
    return int(np.prod(plan.training.patch_size))


def _fastest(
    plan: Plan, ways: Sequence[Way], cases: Sequence[CachedCase], feeding: Feeding, wanted: float
) -> Pace:
    """Measure a plan in several ways; `wanted` are the seconds that a step may take."""
    seconds: dict[Way, float] = {}
    plans: dict[Way, Plan] = {}
    for way in ways:
        precision, channels_last = way
        training = replace(plan.training, precision=precision, channels_last=channels_last)
        plans[way] = replace(plan, training=training)
        seconds[way] = _seconds_a_step(plans[way], cases, feeding, wanted)
    best = min(seconds, key=lambda way: seconds[way])
    measured = ", ".join(
        f"{precision}{', channels last' if channels_last else ''} {value:.3f} s"
        for (precision, channels_last), value in seconds.items()
    )
    return Pace(plans[best], best, seconds[best], measured)


def _ways(plan: Plan, options: PlanOptions, device: torch.device) -> list[Way]:
    given = options.given
    if "training.precision" in given or "training.channels_last" in given:
        return [(plan.training.precision, plan.training.channels_last)]
    if device.type == "cuda":
        half: Precision = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        return [(half, False), (half, True)]
    if device.type == "cpu":
        return [("float32", False), ("bfloat16", False), ("bfloat16", True)]
    return [("float32", False)]


def _seconds_a_step(plan: Plan, cases: Sequence[CachedCase], feeding: Feeding, wanted: float) -> float:
    """Measure whole steps, patches included; the first is left out, unless it is far too slow already."""
    short = replace(plan, training=measured_recipe(plan.training, MEASURED_STEPS + 1))
    with deterministic(plan.training.threads), seeded(plan.training.seed):
        network = network_of(short)
        training = segmentation_training(short, feeding.device, network, all_but_last(network))
        source = patches_of({str(number): case for number, case in enumerate(cases)}, short)
        times = [time.perf_counter()]
        made_here = replace(feeding, workers=0)
        for image, label in islice(batches(source, made_here), MEASURED_STEPS + 1):
            training.advance(image, label)
            times.append(time.perf_counter())
            if times[-1] - times[0] > FAR_TOO_SLOW * wanted:
                break
    taken = np.diff(times)
    return float(np.min(taken[1:] if len(taken) > 1 else taken))
