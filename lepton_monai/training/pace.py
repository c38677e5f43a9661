"""The plan of a segmentation that the time bears: from the heaviest training downwards, by the clock."""

import time
from collections.abc import Sequence
from functools import partial

import numpy as np

from lepton_monai.data.cache import CachedCase
from lepton_monai.networks.build import network_of
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import Plan
from lepton_monai.training.clock import FORWARD_SHARE, Pace, fastest, timed, ways_of
from lepton_monai.training.devices import MachineKind, machine_of
from lepton_monai.training.loop import Feeding, Source
from lepton_monai.training.planner import Draft, on_rung
from lepton_monai.training.segmentation import patches_of, segmentation_training
from lepton_monai.training.stages import all_but_last
from lepton_monai.training.training import Training

FEWEST_STEPS = {"cpu": 1000, "gpu": 5000}
"""A heavier training is worth it only with at least so many steps: docs/decisions/0001."""

SAMPLES_A_CASE = {"cpu": 35, "gpu": 0}
"""And only where every case is met so often: docs/decisions/0005. On a GPU it hasn't been tried."""

MIRROR_SECONDS = 20.0
"""Mirrored prediction takes eight times as long; it pays where it stays below this for a case."""

MOST_MEASURING = 0.04
"""Of the time: where steps are so slow, the lightest rung is taken without a look at those between."""


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
    kind = machine_of(feeding.device).kind
    given = draft.options.given
    # Where the user has fixed what tells them apart one rung is as good as the next.
    is_fixed = "training.steps" in given or {"network.channels", "training.patch_size"} <= set(given)
    rungs = draft.rungs[:1] if is_fixed else draft.rungs
    ways = ways_of(draft.plan.training, given, feeding.device)
    begin = partial(_begun, cases=cases, feeding=feeding)
    tried: list[str] = []
    while True:
        rung, rungs = rungs[0], rungs[1:]
        plan = on_rung(draft, rung)
        fewest = fewest_steps(kind, len(cases), plan.training.batch_size)
        pace = fastest(plan, ways, begin, feeding, seconds_left / fewest)
        ways = [pace.way]  # what is fastest on one rung is so on the next
        spent = time.perf_counter() - began
        steps = (seconds_left - spent) / pace.step_seconds
        tried.append(
            f"width {rung.width} with {_voxels(pace.plan)} voxels: {max(steps, 0):.0f} of {fewest} steps"
        )
        if steps >= fewest or not rungs:
            left = seconds_left - spent
            return _frozen(pace, "; ".join(tried), draft.options, cases, left, validation_cases)
        if spent > MOST_MEASURING * seconds_left:
            rungs = rungs[-1:]


def fewest_steps(kind: MachineKind, cases: int, batch_size: int) -> int:
    """Return how many steps a training must have to be worth its weight.

    Parameters
    ----------
    kind
        Of machine.
    cases, batch_size
        To train on, and how many patches of them a step takes.
    """
    return max(FEWEST_STEPS[kind], -(-SAMPLES_A_CASE[kind] * cases // batch_size))


def _frozen(
    pace: Pace[Plan],
    tried: str,
    options: PlanOptions,
    cases: Sequence[CachedCase],
    seconds: float,
    validation_cases: int,
) -> Plan:
    """Put into the plan what follows from the pace."""
    plan, given = pace.plan, options.given
    windows = max(1.0, float(np.median([case.label.size for case in cases])) * 8 / _voxels(plan))
    case_seconds = pace.step_seconds * FORWARD_SHARE / plan.training.batch_size * windows
    axes = plan.prediction.mirror_axes
    if "prediction.mirror_axes" not in given and case_seconds * 2 ** len(axes) > MIRROR_SECONDS:
        axes = ()
    case_seconds *= 2 ** len(axes)
    left = seconds - validation_cases * case_seconds
    steps = given.get("training.steps", pace.steps_in(left))
    follows = {"training.steps": steps, "prediction.mirror_axes": axes}
    reasons = {
        "network.channels": f"the heaviest training with enough steps: {tried}",
        "prediction.mirror_axes": f"a case takes about {case_seconds:.0f} s so",
    }
    return timed(pace, left, follows, reasons, given)


def _voxels(plan: Plan) -> int:
    return int(np.prod(plan.training.patch_size))


def _begun(plan: Plan, cases: Sequence[CachedCase], feeding: Feeding) -> tuple[Training, Source]:
    network = network_of(plan)
    training = segmentation_training(plan, feeding.device, network, all_but_last(network))
    return training, patches_of({str(number): case for number, case in enumerate(cases)}, plan)
