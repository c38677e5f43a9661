"""From the fingerprint, the machine and the time at hand to a plan, each value with its reason."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lepton_monai.core.errors import InputError
from lepton_monai.data.fingerprint import Fingerprint, Values
from lepton_monai.networks.build import MONAI_CLASS, network_factor
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import (
    SCHEMA,
    AugmentationPlan,
    ImagePlan,
    IntensityPlan,
    NetworkPlan,
    Plan,
    PredictionPlan,
    PreparationPlan,
    Spacing,
    TrainingPlan,
    Triple,
    with_values,
)
from lepton_monai.training.devices import Machine
from lepton_monai.training.shape import (
    FEWEST_LEVELS,
    FLAT,
    Shape,
    divisible,
    levels,
    memory_gb,
    network_shape,
)

FEWEST_PATCHES, MOST_PATCHES = 2, 12
"""Of a step: batch Dice wants more than one, and many steps teach more than a few large ones."""


@dataclass(frozen=True)
class Rung:
    """One size of training: channels of the first level, and voxels of a patch, of which a step has two."""

    width: int
    patch_voxels: int

    def batch_size(self, patch_size: Triple) -> int:
        """Return more patches a step where a whole image is smaller than the patch that could be had."""
        whole = 2 * self.patch_voxels // int(np.prod(patch_size))
        return int(np.clip(whole, FEWEST_PATCHES, MOST_PATCHES))


LADDERS: dict[str, tuple[Rung, ...]] = {
    "cpu": (
        Rung(32, 65_536),
        Rung(24, 65_536),
        Rung(16, 65_536),
        Rung(16, 32_768),
        Rung(8, 32_768),
    ),
    "gpu": (
        Rung(32, 6_291_456),
        Rung(32, 4_194_304),
        Rung(32, 2_097_152),
        Rung(32, 1_048_576),
        Rung(32, 524_288),
        Rung(32, 262_144),
        Rung(16, 262_144),
    ),
}
"""From the heaviest to the lightest; the first that memory and time can bear is taken."""

MEMORY_SHARE = 0.8
"""Of the memory; the rest is for what else lies there."""

MOST_PATCHES_A_CASE = 64
"""An image of more patches than this is looked at more coarsely: the patch must see its context."""

EXCHANGED = {
    0: ("left and right", "left|right|l|r|lt|rt|links|rechts|sin|dex"),
    1: ("front and back", "anterior|posterior|ant|post|ventral|dorsal"),
    2: ("head and feet", "superior|inferior|sup|inf|upper|lower|cranial|caudal"),
}
"""By axis, what names of classes say that a mirror would exchange: decision 7 for the last two."""

_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])")
"""Between the words of ``kidneyLeft``."""


@dataclass(frozen=True)
class Task:
    """What the plan is for: the images of a case, that with the label first, and the classes."""

    images: tuple[ImagePlan, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Draft:
    """A plan that wants a clock.

    Parameters
    ----------
    plan
        For the heaviest of the rungs.
    found, options
        What it was made from.
    rungs
        What the memory can bear, the heaviest first.
    """

    plan: Plan
    found: Fingerprint
    options: PlanOptions
    rungs: tuple[Rung, ...]


def draft_plan(task: Task, found: Fingerprint, options: PlanOptions, machine: Machine) -> Draft:
    """Choose everything that needs no clock.

    Raises
    ------
    InputError
        The training cases have more than one unit, or the patch that was given doesn't fit the network.
    ConfigError
        A value that was given doesn't fit.
    """
    for image, one in zip(task.images, found.values, strict=True):
        if len(one.units) != 1:
            message = (
                f"The images `{image.name}` of the training have different units: {', '.join(one.units)}."
            )
            raise InputError(message)
    ladder = LADDERS[machine.kind]
    spacing, why_spacing = _spacing(found, ladder[0])
    spacing = tuple(options.given.get("preparation.spacing_mm", spacing))
    scales = [_intensity(image, one) for image, one in zip(task.images, found.values, strict=True)]
    (intensity, why_intensity), *others = scales
    flips, why_flips = _flips(task.classes)
    reasons = {
        "preparation.spacing_mm": why_spacing,
        "preparation.intensity": why_intensity,
        "training.loss": "Dice over the batch and cross-entropy; nnU-Net's",
        "training.optimizer": "reaches in short trainings what SGD needs long ones for",
        "training.foreground_share": "half of the patches: of a batch of two one",
        "training.augmentation.flip_axes": why_flips,
    } | {f"preparation.further.{at}": why for at, (_, why) in enumerate(others)}
    plan = Plan(
        schema_version=SCHEMA,
        classes=task.classes,
        image=task.images[0],
        preparation=PreparationPlan(spacing, intensity, tuple(one for one, _ in others)),
        network=NetworkPlan(name="dynunet", channels=(), kernels=(), strides=()),
        training=_training(options.seed, spacing, flips),
        prediction=PredictionPlan(overlap=0.5, mirror_axes=flips),
        further=task.images[1:],
        envelope=found.envelope,
        reasons=reasons,
    )
    rungs = _fitting_rungs(Draft(plan, found, options, ladder), machine)
    draft = Draft(plan, found, options, rungs)
    return replace(draft, plan=on_rung(draft, rungs[0]))


def _fitting_rungs(draft: Draft, machine: Machine) -> tuple[Rung, ...]:
    """Return the rungs that the memory can bear; at least the lightest."""
    bytes_a_value = 4 if machine.kind == "cpu" else 2
    most = machine.memory_gb * MEMORY_SHARE
    rungs = tuple(rung for rung in draft.rungs if _memory_gb(draft, rung, bytes_a_value) <= most)
    return rungs or draft.rungs[-1:]


def _memory_gb(draft: Draft, rung: Rung, bytes_a_value: int) -> float:
    shape = _shape(draft, rung)
    return memory_gb(shape, rung.batch_size(shape.patch_size), bytes_a_value)


def on_rung(draft: Draft, rung: Rung) -> Plan:
    """Return the plan with network, patch and batch of a rung; values given by the user win."""
    plan, options = draft.plan, draft.options
    shape = _shape(draft, rung)
    voxels = int(np.prod(shape.patch_size))
    is_dynunet = options.given.get("network.name", plan.network.name) == "dynunet"
    network = replace(
        plan.network,
        channels=shape.channels,
        kernels=shape.kernels,
        strides=shape.strides,
        supervised=max(0, min(len(shape.channels) - 2, 3)) if is_dynunet else 0,
    )
    batch_size = rung.batch_size(shape.patch_size)
    training = replace(plan.training, patch_size=shape.patch_size, batch_size=batch_size)
    reasons = plan.reasons | {
        "network.channels": f"{rung.width} on the first level, twice as many on each next one",
        "network.kernels": "1 along an axis whose voxels are twice as long as the shortest",
        "network.strides": "axes are halved down to 4 voxels, coarse ones later",
        "network.supervised": "lower outputs are trained too: weights 1, 1/2, 1/4, ...",
        "training.patch_size": f"the median image in {voxels} voxels; {rung.patch_voxels} were aimed at",
        "training.batch_size": f"{FEWEST_PATCHES}, more where whole images are small for this machine",
    }
    full = with_values(replace(plan, network=network, training=training), options.given)
    _require_divisible(full)
    given = dict.fromkeys(options.given, "given by the user") | dict(options.origins)
    return replace(full, reasons=reasons | given)


def _shape(draft: Draft, rung: Rung) -> Shape:
    """Return patch and levels of a rung around what the user has fixed of them."""
    given, spacing = draft.options.given, draft.plan.preparation.spacing_mm
    network = replace(draft.plan.network, name=given.get("network.name", draft.plan.network.name))
    shape = network_shape(draft.found.extent_mm, spacing, rung.patch_voxels, rung.width)
    patch, channels = given.get("training.patch_size"), given.get("network.channels")
    if patch or channels:
        most = {"most": len(channels)} if channels else {}
        kernels, strides = levels(patch or shape.patch_size, spacing, **most)
        doubled = tuple(rung.width * 2**level for level in range(len(kernels)))
        shape = Shape(tuple(patch or shape.patch_size), tuple(channels or doubled), kernels, strides)
    shape = replace(
        shape,
        kernels=given.get("network.kernels", shape.kernels),
        strides=given.get("network.strides", shape.strides),
    )
    _require_levels(network.name, shape)
    if patch:
        return shape
    factor = network_factor(replace(network, strides=shape.strides))
    return replace(shape, patch_size=divisible(shape.patch_size, factor))


def _require_levels(name: str, shape: Shape) -> None:
    counts = {len(shape.channels), len(shape.kernels), len(shape.strides)}
    fewest = FEWEST_LEVELS if name == "dynunet" else 1
    if name.startswith(MONAI_CLASS) or (len(counts) == 1 and max(counts) >= fewest):
        return
    message = (
        f"plan.network has {len(shape.channels)} channels, {len(shape.kernels)} kernels and "
        f"{len(shape.strides)} strides, one each is needed a level. The patch {shape.patch_size} bears "
        f"{len(levels(shape.patch_size, (1.0, 1.0, 1.0))[0])} levels, and {name} wants at least {fewest}."
    )
    raise InputError(message)


def _require_divisible(plan: Plan) -> None:
    factor = network_factor(plan.network)
    patch = plan.training.patch_size
    if any(side < one or side % one for side, one in zip(patch, factor, strict=True)):
        message = (
            f"The sides of plan.training.patch_size must be multiples of {factor}, which the network "
            f"halves: they are {tuple(patch)}."
        )
        raise InputError(message)


def _training(seed: int, spacing_mm: Spacing, flips: tuple[int, ...]) -> TrainingPlan:
    # A rotation out of the plane of thick slices would smear them.
    coarse = np.asarray(spacing_mm) >= FLAT * min(spacing_mm)
    angle = 0.52
    x, y, z = (0.0 if coarse.any() and not one else angle for one in coarse)
    return TrainingPlan(
        patch_size=(1, 1, 1),
        batch_size=1,
        steps=1,
        loss="dice_cross_entropy",
        optimizer="adamw",
        schedule="polynomial",
        learning_rate=1e-3,
        weight_decay=1e-2,
        warm_up_steps=50,
        average_decay=0.99,
        clip_norm=12.0,
        foreground_share=0.5,
        precision="float32",
        channels_last=False,
        compiled=False,
        threads=torch.get_num_threads(),
        seed=seed,
        augmentation=AugmentationPlan(
            flip_axes=flips,
            rotation_probability=0.2,
            rotation_rad=(x, y, z),
            zoom_probability=0.2,
            zoom=(0.7, 1.4),
            noise_probability=0.1,
            blur_probability=0.2,
            brightness_probability=0.15,
            contrast_probability=0.15,
            low_resolution_probability=0.15,
            gamma_probability=0.3,
        ),
    )


def _spacing(found: Fingerprint, rung: Rung) -> tuple[Spacing, str]:
    """Return the median spacing, or a coarser one where a patch would see too little of the image."""
    spacing = np.asarray(found.spacing_mm, dtype=float)
    reason = "the median of the training images"
    voxels = float(np.prod(np.asarray(found.extent_mm) / spacing))
    most = float(MOST_PATCHES_A_CASE * rung.patch_voxels)
    if voxels > most:
        # The fine axes first, until all are equal; then all together.
        edge = (float(np.prod(found.extent_mm)) / most) ** (1 / 3)
        while np.prod(np.asarray(found.extent_mm) / np.maximum(spacing, edge)) > most:
            edge *= 1.02
        spacing = np.maximum(spacing, edge)
        reason = (
            f"the median {_listed(found.spacing_mm)} would make {voxels / rung.patch_voxels:.0f} patches "
            f"of an image; this makes {MOST_PATCHES_A_CASE}, so that one sees its context"
        )
    x, y, z = (round(float(value), 4) for value in spacing)
    return (x, y, z), reason


def _intensity(image: ImagePlan, found: Values) -> tuple[IntensityPlan, str]:
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


def _flips(classes: Sequence[str]) -> tuple[tuple[int, ...], str]:
    kept, reasons = [], []
    for axis, (ends, words) in EXCHANGED.items():
        word = re.compile(rf"(^|[^a-z])({words})([^a-z]|$)", re.IGNORECASE)
        told = [name for name in classes if word.search(_WORD_START.sub(" ", name))]
        if told:
            reasons.append(f"not along {ends}, which {told[0]} tells apart")
        else:
            kept.append(axis)
    return tuple(kept), "; ".join(reasons) or "no class knows one end of an axis from the other"


def _listed(values: Sequence[Any]) -> str:
    return " x ".join(f"{value:g}" for value in values) + " mm"
