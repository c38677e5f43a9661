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
from lepton_monai.training.segmentation import patches_of, segmentation_training

FEWEST_STEPS = {"cpu": 1000, "gpu": 5000}
"""A heavier training is worth it only with at least so many steps: docs/decisions/0001."""

MEASURED_STEPS = 3
MIRROR_SECONDS = 20.0
"""Mirrored prediction takes eight times as long; it pays where it stays below this for a case."""

FORWARD_SHARE = 1 / 3
"""Of a training step: backward takes twice as long as forward."""


@dataclass(frozen=True)
class Pace:
    """A plan in the fastest precision of this machine, the seconds of its step, and what was measured."""

    plan: Plan
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
    tried: list[str] = []
    for rung in rungs:
        pace = _fastest(on_rung(draft, rung), draft.options, cases, feeding)
        left = seconds_left - (time.perf_counter() - began)
        steps = left / pace.step_seconds
        tried.append(f"width {rung.width} with {_voxels(pace.plan)} voxels: {steps:.0f} steps")
        if steps >= fewest or rung is rungs[-1]:
            pace = replace(pace, tried=f"{'; '.join(tried)}; {fewest} are wanted")
            return _frozen(pace, draft.options, cases, left, validation_cases)
    message = "a ladder has at least one rung"
    raise RuntimeError(message)


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


def _fastest(plan: Plan, options: PlanOptions, cases: Sequence[CachedCase], feeding: Feeding) -> Pace:
    """Measure a plan in every precision and layout that the machine has and the user hasn't fixed."""
    threads = options.given.get("training.threads", torch.get_num_threads())
    seconds: dict[str, tuple[float, Plan]] = {}
    for precision, channels_last in _ways(plan, options, feeding.device):
        way = replace(
            plan,
            training=replace(
                plan.training, precision=precision, channels_last=channels_last, threads=threads
            ),
        )
        name = f"{precision}{', channels last' if channels_last else ''}"
        seconds[name] = (_seconds_a_step(way, cases, feeding), way)
    best = min(seconds, key=lambda name: seconds[name][0])
    measured = ", ".join(f"{name} {value:.3f} s" for name, (value, _) in seconds.items())
    return Pace(seconds[best][1], seconds[best][0], measured)


def _ways(plan: Plan, options: PlanOptions, device: torch.device) -> list[tuple[Precision, bool]]:
    given = options.given
    if "training.precision" in given or "training.channels_last" in given:
        return [(plan.training.precision, plan.training.channels_last)]
    if device.type == "cuda":
        half: Precision = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
        return [(half, False), (half, True)]
    if device.type == "cpu":
        return [("float32", False), ("bfloat16", False), ("bfloat16", True)]
    return [("float32", False)]


def _seconds_a_step(plan: Plan, cases: Sequence[CachedCase], feeding: Feeding) -> float:
    """Measure whole steps, patches included; the first is left out."""
    short = replace(plan, training=replace(plan.training, steps=MEASURED_STEPS + 1))
    with deterministic(plan.training.threads), seeded(plan.training.seed):
        training = segmentation_training(short, feeding.device)
        source = patches_of({str(number): case for number, case in enumerate(cases)}, short)
        times = [time.perf_counter()]
        made_here = replace(feeding, workers=0)
        for image, label in islice(batches(source, made_here), MEASURED_STEPS + 1):
            training.advance(image, label)
            times.append(time.perf_counter())
    return float(np.min(np.diff(times)[1:]))
