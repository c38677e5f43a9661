"""The plan: every number that preparation, network, training and prediction use.

It is written beside the weights and read again by `evaluate` and `predict`; training with the same plan,
data, seed and thread count gives the same bytes. What was measured with a clock (the number of steps,
the precision) is frozen here, so that time never decides a result.
"""

from collections.abc import Mapping
from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.wording import counted

SCHEMA = 2
_STRICT = ConfigDict(extra="forbid")

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["float32", "bfloat16", "float16"]
Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["polynomial", "cosine"]
FineTuning = Literal["all", "probe", "gradual"]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Decay = Annotated[float, Field(gt=0.0, le=1.0)]


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
    """From a source volume to the network's grid; `further` are the intensities of the further images."""

    spacing_mm: Spacing
    intensity: IntensityPlan
    further: tuple[IntensityPlan, ...] = ()


@checked_dataclass(frozen=True, config=_STRICT)
class NetworkPlan:
    """Which network, by its name in the registry, and its shape level by level.

    A level has its number of channels, its kernel, and the stride that leads to it; the first stride is
    1. `supervised` outputs below the full resolution are trained too. `arguments` go to a class that is
    named as ``monai:CLASS``. `weights_sha256` is of the file that a training starts from; empty: random.
    """

    name: str
    channels: tuple[int, ...]
    kernels: tuple[Triple, ...]
    strides: tuple[Triple, ...]
    supervised: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""

    @property
    def factor(self) -> Triple:
        """What every side of a patch must be a multiple of."""
        x, y, z = (1, 1, 1)
        for stride in self.strides:
            x, y, z = x * stride[0], y * stride[1], z * stride[2]
        return x, y, z


@checked_dataclass(frozen=True, config=_STRICT)
class AugmentationPlan:
    """Probabilities and strengths of the random transforms; an angle per axis, in radians."""

    flip_axes: tuple[int, ...]
    rotation_probability: float
    rotation_rad: Spacing
    zoom_probability: float
    zoom: tuple[float, float]
    noise_probability: float
    blur_probability: float
    brightness_probability: float
    contrast_probability: float
    low_resolution_probability: float
    gamma_probability: float


@checked_dataclass(frozen=True, config=_STRICT)
class TrainingPlan:
    """How the network is trained.

    What came from other weights learns with `pretrained_rate` times the rate, each stage before its last
    with `layer_decay` times the rate of the next. Where `fine_tuning` is `probe`, it doesn't learn; where
    it is `gradual`, one stage after the other does, from the last to the first, until all learn after the
    share `thawing` of the steps. Parameters whose names fit a pattern of `frozen` stay as they are.
    """

    patch_size: tuple[Count, Count, Count]
    batch_size: Count
    steps: Count
    loss: str
    optimizer: Optimizer
    schedule: Schedule
    learning_rate: float
    weight_decay: float
    warm_up_steps: int
    average_decay: float
    clip_norm: float
    foreground_share: float
    precision: Precision
    channels_last: bool
    compiled: bool
    threads: Count
    seed: int
    augmentation: AugmentationPlan
    pretrained_rate: float = 1.0
    layer_decay: Decay = 1.0
    fine_tuning: FineTuning = "all"
    thawing: Share = 0.5
    frozen: tuple[str, ...] = ()


@checked_dataclass(frozen=True, config=_STRICT)
class PredictionPlan:
    """How a volume is predicted."""

    overlap: float
    mirror_axes: tuple[int, ...]


@checked_dataclass(frozen=True, config=_STRICT)
class EnvelopePlan:
    """What the training images were like, the least and the most of each: `predict` names what isn't so.

    Spacing and extent of the first image along x, y, z; of every image its 1st and its 99th percentile.
    """

    spacing_mm: tuple[Spacing, Spacing]
    extent_mm: tuple[Spacing, Spacing]
    dark: tuple[tuple[float, float], ...]
    bright: tuple[tuple[float, float], ...]


@checked_dataclass(frozen=True, config=_STRICT)
class Plan:
    """A whole plan, with the reasons for its values by their dotted name.

    `image` is what a mask lies on; `further` are the images that go with it, each a channel.
    """

    schema_version: int
    classes: tuple[str, ...]
    image: ImagePlan
    preparation: PreparationPlan
    network: NetworkPlan
    training: TrainingPlan
    prediction: PredictionPlan
    further: tuple[ImagePlan, ...] = ()
    envelope: EnvelopePlan | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def images(self) -> tuple[ImagePlan, ...]:
        """All images of a case, in the order of the channels."""
        return (self.image, *self.further)


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Raises
    ------
    ConfigError
        The file can't be read, has values that don't fit, or another schema version.
    """
    what = f"The plan {path}"
    return checked(Plan, read_yaml(path, what, SCHEMA), what)


AnyPlan = TypeVar("AnyPlan")
"""Of any task."""


def plan_text(plan: Any) -> str:
    """Return a plan, of any task, as YAML."""
    return as_yaml(asdict(plan))


def with_values(plan: AnyPlan, values: Mapping[str, Any]) -> AnyPlan:
    """Put values into a plan by their dotted names, such as ``training.batch_size``.

    Raises
    ------
    ConfigError
        A name or a value doesn't fit.
    """
    content = _plain(asdict(plan))  # type: ignore[call-overload] # a dataclass of any task
    for name, value in values.items():
        *sections, key = name.split(".")
        section = content
        for one in sections:
            section = section[one]
        if section is None:
            message = f"plan.{name} is of a plan with {sections[-1]} values, and this one has none."
            raise ConfigError(message)
        section[key] = value
    return checked(type(plan), content, "What the config gives under `plan`")


def as_yaml(content: Mapping[str, Any]) -> str:
    """Return the content of a plan as YAML."""
    return yaml.safe_dump(_plain(dict(content)), sort_keys=False, width=99, allow_unicode=True)


def read_yaml(path: Path, what: str, schema: int) -> Any:
    """Read the content of a plan's file; `what` names it in messages.

    Raises
    ------
    ConfigError
        The file can't be read, is no YAML, or has another schema version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        message = f"{what} can't be read: {error}."
        raise ConfigError(message) from error
    return _content(text, what, schema)


def checked(kind: type[AnyPlan], content: Any, what: str) -> AnyPlan:
    """Make a plan of its content.

    Raises
    ------
    ConfigError
        With every value that doesn't fit.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        problems = [f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors()]
        message = f"{what} has {counted(len(problems), 'mistake')}: {'; '.join(problems)}."
        raise ConfigError(message) from error


def _content(text: str, what: str, schema: int) -> Any:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        message = f"{what} can't be read: {error}."
        raise ConfigError(message) from error
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != schema:
        message = f"{what} has schema version {version}; this version reads {schema}."
        raise ConfigError(message)
    return content


def _plain(value: Any) -> Any:
    """Turn tuples into lists: YAML's safe form."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
