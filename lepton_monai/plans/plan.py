"""The plan: every number that preparation, network, training and prediction use.

It is written beside the weights and read again by `evaluate` and `predict`; training with the same plan,
data, seed and thread count gives the same bytes. What was measured with a clock (the number of steps,
the precision) is frozen here, so that time never decides a result.
"""

from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.files import write_text

SCHEMA = 1
_STRICT = ConfigDict(extra="forbid")

Triple = tuple[int, int, int]
Precision = Literal["float32", "bfloat16", "float16"]


@checked_dataclass(frozen=True, config=_STRICT)
class ImagePlan:
    """Which images the model is for."""

    name: str
    file_format: Literal["dicom", "nifti"]
    modality: str | None
    description: str | None
    unit: str


@checked_dataclass(frozen=True, config=_STRICT)
class IntensityPlan:
    """How values are brought to a common scale.

    `window`: clipped to `low` and `high`, then less `mean` and divided by `deviation`.
    `zscore`: each image by its own mean and deviation.
    `log`: the logarithm of 1 + value, for SUV; below zero is zero.
    """

    scheme: Literal["window", "zscore", "log"]
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0


@checked_dataclass(frozen=True, config=_STRICT)
class PreparationPlan:
    """From a source volume to the network's grid."""

    spacing_mm: tuple[float, float, float]
    intensity: IntensityPlan


@checked_dataclass(frozen=True, config=_STRICT)
class NetworkPlan:
    """Which network, by its name in the registry."""

    name: str
    channels: tuple[int, ...]


@checked_dataclass(frozen=True, config=_STRICT)
class AugmentationPlan:
    """Probabilities and strengths of the random transforms."""

    flip_axes: tuple[int, ...]
    affine_probability: float
    rotation_rad: float
    zoom: float
    noise_probability: float
    intensity_probability: float
    gamma_probability: float


@checked_dataclass(frozen=True, config=_STRICT)
class TrainingPlan:
    """How the network is trained."""

    patch_size: Triple
    batch_size: int
    steps: int
    learning_rate: float
    weight_decay: float
    warm_up_steps: int
    average_decay: float
    foreground_share: float
    precision: Precision
    threads: int
    seed: int
    augmentation: AugmentationPlan


@checked_dataclass(frozen=True, config=_STRICT)
class PredictionPlan:
    """How a volume is predicted."""

    overlap: float
    mirror_axes: tuple[int, ...]


@checked_dataclass(frozen=True, config=_STRICT)
class Plan:
    """A whole plan, with the reasons for its values by their dotted name."""

    schema_version: int
    classes: tuple[str, ...]
    image: ImagePlan
    preparation: PreparationPlan
    network: NetworkPlan
    training: TrainingPlan
    prediction: PredictionPlan
    reasons: dict[str, str] = field(default_factory=dict)


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan as YAML."""
    text = yaml.safe_dump(_plain(asdict(plan)), sort_keys=False, width=99, allow_unicode=True)
    write_text(path, text)


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises
    ------
    ConfigError
        The file can't be read, has values that don't fit, or another schema version.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        message = f"The plan {path} can't be read: {error}."
        raise ConfigError(message) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA:
        message = f"The plan {path} has schema version {version}; this version reads {SCHEMA}."
        raise ConfigError(message)
    try:
        return TypeAdapter(Plan).validate_python(content)
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
        message = f"The plan {path} has {len(problems)} mistakes: {'; '.join(problems)}."
        raise ConfigError(message) from error


def _plain(value: Any) -> Any:
    """Turn tuples into lists: YAML's safe form."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
