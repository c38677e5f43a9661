"""From what the training images look like, the machine and the weights to a plan of a classification."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from lepton_monai.cases.classes import Holds
from lepton_monai.core.errors import ConfigError
from lepton_monai.data.inputs import SourceMeasurement, scaled
from lepton_monai.plans.classification import (
    SCHEMA,
    ClassificationPlan,
    ClassifierPlan,
    ClassTrainingPlan,
    ClinicalPlan,
    InputPlan,
    ScalePlan,
    SourcePlan,
)
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import AugmentationPlan, Triple, with_values
from lepton_monai.training.devices import Machine

LONGEST_SIDE = {
    "cpu": {"image": 128, "slice": 96, "series": 48},
    "gpu": {"image": 224, "slice": 224, "series": 96},
}
"""Of an input; a longer image is looked at more coarsely."""

SIDE_UNIT = {"image": 32, "slice": 32, "series": 16}
"""Sides are multiples of it, the strides of the networks."""

BATCH = {"image": 32, "slice": 32, "series": 8}

UNBALANCED = 1.5
"""From this ratio of the largest to the smallest class on, classes are weighed."""

PRETRAINED_RATE = 0.1
"""Of the rate: what is learnt already shall not be washed out before the new layer knows anything."""


@dataclass(frozen=True)
class ClassTask:
    """What the plan is for.

    Parameters
    ----------
    classes, holds
        Names, and how many of them hold for an input.
    counts, known
        Training samples of each class, and of how many it is known.
    source
        Of the images.
    clinical, clinical_reasons
        The scale of the values that go with them, and why; None: there are none.
    """

    classes: tuple[str, ...]
    holds: Holds
    counts: tuple[int, ...]
    known: tuple[int, ...]
    source: SourcePlan
    clinical: ClinicalPlan | None = None
    clinical_reasons: Mapping[str, str] = field(default_factory=dict)


def draft_classification(
    task: ClassTask, found: Sequence[SourceMeasurement], options: PlanOptions, machine: Machine
) -> ClassificationPlan:
    """Choose everything that needs no clock; the number of steps is left at 1.

    Raises
    ------
    ConfigError
        A value that was given doesn't fit.
    """
    level = task.source.fed
    size, spacing, why_size = _size(task, found, machine)
    channels = 3 if level == "image" and any(one.shape[2] == 3 for one in found) else 1
    scale, why_scale = _scale(task, found)
    weigh = _class_weights if task.holds == "one" else _label_weights
    weights, why_weights = weigh(task.counts, task.known)
    if options.given.get("training.sampling") == "balanced":
        _require_one(task)
        weights, why_weights = (1.0,) * len(task.counts), "balanced sampling evens the classes out already"
    pretrained = bool(options.given.get("network.weights_sha256"))
    network = "resnet10" if level == "series" else "efficientnet-lite0"
    plan = ClassificationPlan(
        schema_version=SCHEMA,
        task="classification",
        classes=task.classes,
        holds=task.holds,
        source=task.source,
        input=InputPlan(size=size, spacing_mm=spacing, channels=channels, scale=scale),
        network=ClassifierPlan(name=network),
        training=_training(task, weights, options, pretrained=pretrained),
        clinical=task.clinical,
        reasons={
            "input.size": why_size,
            "input.scale": why_scale,
            "network.name": "the lightest of its kind: many steps in a short time",
            "training.class_weights": why_weights,
            "training.learning_rate": "usual for AdamW; new layers learn with it",
            "training.pretrained_rate": "a tenth for what came from other weights; all is new without",
            "training.average_decay": "follows the last tenth of the steps",
            "training.augmentation": "small turns, zooms and shifts: a class doesn't depend on them",
            **task.clinical_reasons,
            **dict(options.origins),
        },
    )
    given = dict(options.given)
    mean = given.get("input.scale.mean")
    if mean is not None and len(mean) != channels:
        # Weights of three colours meet grey images: their first layer is summed over the colours.
        for name in ("input.scale.mean", "input.scale.deviation"):
            given[name] = [float(np.mean(given[name]))] * channels
    plan = with_values(plan, given)
    users = [name for name in given if name not in options.origins]
    kept = {name: why for name, why in plan.reasons.items() if name not in users}
    return replace(plan, reasons=kept | dict.fromkeys(users, "given"))


def _require_one(task: ClassTask) -> None:
    if task.holds != "one":
        message = (
            "plan.training.sampling: balanced wants exactly one class to hold for an input; of several "
            "labels each is weighed by itself (plan.training.class_weights)."
        )
        raise ConfigError(message)


def _size(
    task: ClassTask, found: Sequence[SourceMeasurement], machine: Machine
) -> tuple[Triple, tuple[float, float, float] | None, str]:
    level = task.source.fed
    longest, unit = LONGEST_SIDE[machine.kind][level], SIDE_UNIT[level]
    axes = 3 if level == "series" else 2
    shapes = np.median([one.shape for one in found], axis=0)[:axes]
    if level == "image":
        sides = shapes * min(1.0, longest / shapes.max())
        return (
            _rounded(sides, unit),
            None,
            f"the median picture has {shapes[0]:.0f} x {shapes[1]:.0f} pixels",
        )
    spacings = np.median([one.spacing_mm for one in found], axis=0)
    extent = np.median([np.multiply(one.shape, one.spacing_mm) for one in found], axis=0)[:axes]
    step = float(max(extent.max() / longest, spacings[:axes].min()))
    sides = _rounded(extent / step, unit)
    why = f"the median image has {' x '.join(f'{one:.0f}' for one in extent)} mm; at most {longest} a side"
    step = round(step, 4)
    # A flat input isn't resampled across its slices.
    return sides, (step, step, step if axes == 3 else round(float(spacings[2]), 4)), why


def _rounded(sides: NDArray[np.float64], unit: int) -> Triple:
    whole = [max(unit, int(np.rint(side / unit)) * unit) for side in sides]
    return whole[0], whole[1], whole[2] if len(whole) == 3 else 1


def _scale(task: ClassTask, found: Sequence[SourceMeasurement]) -> tuple[ScalePlan, str]:
    """Choose by the unit, never by the name of a modality."""
    units = set(task.source.units)
    if task.source.fed == "image":
        draft, why = _plain_scale("none", 0.0, 1.0), "pictures run from black to white"
    elif len(units) > 1 or units == {"1"}:
        values = np.concatenate([_zscore(one.values) for one in found])
        low, high = np.percentile(values, [0.5, 99.5]).tolist()
        draft, why = _plain_scale("zscore", low, high), "values without a common unit: each image by itself"
    elif any(unit.startswith("SUV") for unit in units):
        logs = np.log1p(np.maximum(np.concatenate([one.values for one in found]), 0.0))
        draft = _plain_scale("log", 0.0, float(np.percentile(logs, 99.9)))
        why = "SUV: its logarithm, so that a hot spot doesn't flatten the rest"
    else:
        low, high = np.percentile(np.concatenate([one.values for one in found]), [0.5, 99.5]).tolist()
        draft, why = _plain_scale("none", low, high), "percentiles 0.5 to 99.5 of the training images"
    seen = np.concatenate([scaled(one.values.astype(np.float32), draft) for one in found])
    mean, deviation = round(float(seen.mean()), 4), round(float(seen.std()) or 1.0, 4)
    return replace(draft, mean=(mean,), deviation=(deviation,)), why


def _plain_scale(transform: str, low: float, high: float) -> ScalePlan:
    high = high if high > low else low + 1.0
    return ScalePlan(transform, round(low, 4), round(high, 4), (0.0,), (1.0,))  # type: ignore[arg-type] # checked


def _zscore(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((values - values.mean()) / (values.std() or 1.0))


def _class_weights(counts: Sequence[int], known: Sequence[int]) -> tuple[tuple[float, ...], str]:
    said = ", ".join(str(count) for count in counts)
    if not min(counts) or max(counts) < UNBALANCED * min(counts):
        return (1.0,) * len(counts), f"{said} of each class: about equal"
    weights = [every / (len(counts) * count) for count, every in zip(counts, known, strict=True)]
    return tuple(round(weight, 4) for weight in weights), f"{said} of each class: each counts the same"


def _label_weights(counts: Sequence[int], known: Sequence[int]) -> tuple[tuple[float, ...], str]:
    said = ", ".join(f"{count} of {every}" for count, every in zip(counts, known, strict=True))
    ratios = [(every - count) / count if count else 0.0 for count, every in zip(counts, known, strict=True)]
    weights = [float(f"{one:.4g}") if one and max(one, 1 / one) >= UNBALANCED else 1.0 for one in ratios]
    return tuple(weights), f"{said} are positive: both sides of a label count about the same"


def _training(
    task: ClassTask, weights: tuple[float, ...], options: PlanOptions, *, pretrained: bool
) -> ClassTrainingPlan:
    level = task.source.fed
    return ClassTrainingPlan(
        batch_size=max(2, min(BATCH[level], max(task.known) // 2)),
        steps=1,
        optimizer="adamw",
        schedule="cosine",
        learning_rate=2e-3,
        pretrained_rate=PRETRAINED_RATE if pretrained else 1.0,
        frozen=(),
        weight_decay=0.02,
        warm_up_steps=20,
        average_decay=0.999,
        clip_norm=5.0,
        label_smoothing=0.05,
        mixup=0.0,
        class_weights=weights,
        shift=0.08,
        precision="float32",
        channels_last=False,
        compiled=False,
        threads=torch.get_num_threads(),
        seed=options.seed,
        augmentation=AugmentationPlan(
            # A slice has no side that matters to what lies in it; a hand and a chest have.
            flip_axes=(0, 1) if level == "slice" else (),
            rotation_probability=0.3,
            rotation_rad=(0.1, 0.1, 0.25) if level == "series" else (0.0, 0.0, 0.25),
            zoom_probability=0.3,
            zoom=(0.9, 1.1),
            noise_probability=0.1,
            blur_probability=0.0,
            brightness_probability=0.15,
            contrast_probability=0.15,
            low_resolution_probability=0.0,
            gamma_probability=0.1,
        ),
    )
