"""From the fingerprint, the device and the time at hand to a plan, each value with its reason."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from lepton_monai.core.errors import InputError
from lepton_monai.data.fingerprint import Fingerprint
from lepton_monai.data.transforms import Prepared
from lepton_monai.networks.build import build_network
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import (
    SCHEMA,
    AugmentationPlan,
    ImagePlan,
    IntensityPlan,
    NetworkPlan,
    Plan,
    Precision,
    PredictionPlan,
    PreparationPlan,
    TrainingPlan,
    Triple,
)
from lepton_monai.training.loop import Stepper, batches
from lepton_monai.training.seeds import deterministic, seeded

PATCH_VOXELS = {"cpu": 49_152, "cuda": 884_736}
"""A patch that two cores step through in a third of a second; 96^3 on a GPU."""

BATCH_VOXELS = {"cpu": 196_608, "cuda": 1_769_472}
CHANNELS: dict[str, list[tuple[int, ...]]] = {
    "cpu": [(32, 64, 128, 256), (16, 32, 64, 128)],
    "cuda": [(32, 64, 128, 256, 320)],
}
"""Widths that are tried, the widest first; all of one kind halve the grid equally often."""

FEWEST_STEPS = 1500
"""A wider network is worth it only with at least so many steps: docs/decisions/0001."""

MEASURED_STEPS = 4
MIRROR_SECONDS = 20.0
"""Mirrored prediction takes eight times as long; it pays where it stays below this for a case."""


@dataclass(frozen=True)
class Task:
    """What the plan is for."""

    image: ImagePlan
    classes: tuple[str, ...]


def draft_plan(task: Task, found: Fingerprint, options: PlanOptions, device: torch.device) -> Plan:
    """Choose everything that needs no clock.

    Raises
    ------
    InputError
        The training cases have more than one unit.
    """
    if len(found.units) != 1:
        message = f"The training images have different units: {', '.join(found.units)}."
        raise InputError(message)
    kind = "cuda" if device.type == "cuda" else "cpu"
    channels = options.channels or CHANNELS[kind][0]
    spacing = options.spacing_mm or _rounded(found.spacing_mm)
    patch = options.patch_size or patch_size(found.extent_mm, spacing, PATCH_VOXELS[kind], channels)
    _require_divisible(patch, channels)
    batch = options.batch_size or int(np.clip(BATCH_VOXELS[kind] // np.prod(patch), 2, 16))
    intensity, why = _intensity(task.image, found)
    reasons = {
        "preparation.spacing_mm": _why(options.spacing_mm, "the median of the training images"),
        "preparation.intensity": why,
        "training.patch_size": _why(
            options.patch_size, f"the median image, scaled to {PATCH_VOXELS[kind]} voxels"
        ),
        "training.batch_size": _why(options.batch_size, f"about {BATCH_VOXELS[kind]} voxels a step"),
        "training.learning_rate": _why(options.learning_rate, "AdamW's for short trainings"),
    }
    return Plan(
        schema_version=SCHEMA,
        classes=task.classes,
        image=task.image,
        preparation=PreparationPlan(spacing_mm=spacing, intensity=intensity),
        network=NetworkPlan(name=options.network, channels=channels),
        training=TrainingPlan(
            patch_size=patch,
            batch_size=batch,
            steps=options.steps or 1,
            learning_rate=options.learning_rate or 2e-3,
            weight_decay=1e-2,
            warm_up_steps=20,
            average_decay=0.99,
            foreground_share=0.5,
            precision=options.precision or "float32",
            threads=torch.get_num_threads(),
            seed=options.seed,
            augmentation=AugmentationPlan(
                flip_axes=(0, 1, 2),
                affine_probability=0.2,
                rotation_rad=0.26,
                zoom=0.15,
                noise_probability=0.15,
                intensity_probability=0.3,
                gamma_probability=0.15,
            ),
        ),
        prediction=PredictionPlan(overlap=0.5, mirror_axes=()),
        reasons=reasons,
    )


def measured_plan(
    draft: Plan,
    options: PlanOptions,
    cases: Sequence[Prepared],
    device: torch.device,
    seconds_left: float,
    validation_cases: int,
) -> Plan:
    """Measure a step once and freeze what follows from it: precision, mirroring, steps.

    Parameters
    ----------
    draft
        With everything else.
    options
        Values given by the user win.
    cases
        Prepared training cases.
    device
        Where it will be trained.
    seconds_left
        For training and validation.
    validation_cases
        That are predicted in that time too.
    """
    began = time.perf_counter()
    kind = "cuda" if device.type == "cuda" else "cpu"
    widths = [options.channels] if options.channels else CHANNELS[kind]
    pace = _pace(draft, widths[-1], options, cases, device)
    for channels in widths[:-1]:
        wider = _pace(draft, channels, options, cases, device)
        if seconds_left / wider.seconds >= FEWEST_STEPS:
            pace = wider
            break
    step = pace.seconds
    windows = max(1.0, float(np.median([case.image.numel() for case in cases])) * 8)
    windows /= float(np.prod(draft.training.patch_size))
    case_seconds = step / 3 / draft.training.batch_size * windows
    mirrored = options.mirror if options.mirror is not None else case_seconds * 8 < MIRROR_SECONDS
    validation = validation_cases * case_seconds * (8 if mirrored else 1)
    left = seconds_left - (time.perf_counter() - began) - validation
    steps = options.steps or max(50, int(left / step))
    training = replace(
        draft.training,
        precision=pace.precision,
        steps=steps,
        warm_up_steps=min(draft.training.warm_up_steps, steps // 10 + 1),
        average_decay=min(draft.training.average_decay, 1.0 - 10.0 / (steps + 10)),
    )
    reasons = draft.reasons | {
        "network.channels": _why(
            options.channels, f"the widest with {FEWEST_STEPS} steps in the time, or the narrowest"
        ),
        "training.precision": _why(options.precision, f"the fastest step measured: {pace.measured}"),
        "training.steps": _why(
            options.steps, f"{left:.0f} s at {step:.3f} s a step, measured on this machine"
        ),
        "prediction.mirror_axes": _why(
            options.mirror, f"a case would take about {case_seconds * 8:.0f} s with mirroring"
        ),
    }
    axes = training.augmentation.flip_axes if mirrored else ()
    prediction = PredictionPlan(overlap=draft.prediction.overlap, mirror_axes=axes)
    network = replace(draft.network, channels=pace.channels)
    return replace(draft, network=network, training=training, prediction=prediction, reasons=reasons)


@dataclass(frozen=True)
class _Pace:
    """How fast a width steps in its fastest precision, and all that was measured, as text."""

    channels: tuple[int, ...]
    precision: Precision
    seconds: float
    measured: str


def _pace(
    draft: Plan,
    channels: tuple[int, ...],
    options: PlanOptions,
    cases: Sequence[Prepared],
    device: torch.device,
) -> _Pace:
    plan = replace(draft, network=replace(draft.network, channels=channels))
    precisions = [options.precision] if options.precision else _precisions(device)
    seconds = {one: _seconds_a_step(plan, one, cases, device) for one in precisions}
    fastest = min(seconds, key=lambda one: seconds[one])
    measured = ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
    return _Pace(channels, fastest, seconds[fastest], measured)


def patch_size(
    extent_mm: Sequence[float], spacing_mm: Sequence[float], voxels: int, channels: Sequence[int]
) -> Triple:
    """Return a patch shaped like the median image, of at most about `voxels` voxels.

    An image of up to twice that size is covered whole. Every side is a multiple of what the network
    halves its grid by.
    """
    factor = 2 ** (len(channels) - 1)
    image = np.asarray(extent_mm) / np.asarray(spacing_mm)
    whole = np.maximum(np.ceil(image / factor), 1) * factor
    if np.prod(whole) <= 2 * voxels:
        x, y, z = (int(side) for side in whole)
        return x, y, z
    scaled = image * (voxels / np.prod(image)) ** (1 / 3)
    x, y, z = (int(side) for side in np.maximum(np.rint(scaled / factor), 1) * factor)
    return x, y, z


def _require_divisible(patch: Triple, channels: Sequence[int]) -> None:
    factor = 2 ** (len(channels) - 1)
    if any(side < factor or side % factor for side in patch):
        message = f"Every side of plan.patch_size must be a multiple of {factor}: {patch}."
        raise InputError(message)


def _intensity(image: ImagePlan, found: Fingerprint) -> tuple[IntensityPlan, str]:
    if image.unit.startswith("SUV"):
        return IntensityPlan(scheme="log"), "SUV spans decades: the logarithm of 1 + SUV"
    if image.unit == "HU":
        window = IntensityPlan(
            scheme="window",
            low=round(found.low, 3),
            high=round(found.high, 3),
            mean=round(found.mean, 3),
            deviation=round(found.deviation, 3),
        )
        return window, "CT: the 0.5 and 99.5 percentile of the foreground"
    return IntensityPlan(scheme="zscore"), "no common scale of values: each image by its own"


def _precisions(device: torch.device) -> list[Precision]:
    if device.type == "cuda":
        return ["float32", "bfloat16" if torch.cuda.is_bf16_supported() else "float16"]
    return ["float32", "bfloat16"]


def _seconds_a_step(
    plan: Plan, precision: Precision, cases: Sequence[Prepared], device: torch.device
) -> float:
    """Measure whole steps, patches included; the first is left out."""
    training = replace(plan.training, steps=MEASURED_STEPS + 1)
    with deterministic(training.threads), seeded(training.seed):
        network = build_network(plan.network, len(plan.classes)).to(device).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=training.learning_rate)
        stepper = Stepper(network, optimizer, precision, device)
        times = [time.perf_counter()]
        for image, label in islice(batches(cases, training, device, 0), MEASURED_STEPS + 1):
            stepper.step(image, label)
            times.append(time.perf_counter())
    return float(np.median(np.diff(times)[1:]))


def _rounded(spacing_mm: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = (round(value, 4) for value in spacing_mm)
    return x, y, z


def _why(given: object, reason: str) -> str:
    return reason if given is None else "given by the user"
