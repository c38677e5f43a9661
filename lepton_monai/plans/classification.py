"""The plan of a classification: every number that preparation, network, training and prediction use.

A file like the one of a segmentation: the same plan gives the same bytes, and what was measured with a
clock is frozen in it.
"""

from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as checked_dataclass

from lepton_monai.cases.classes import FileFormat, Holds, Level
from lepton_monai.labels.clinical import ClinicalColumns
from lepton_monai.labels.tables import By
from lepton_monai.plans.plan import (
    AugmentationPlan,
    Count,
    Decay,
    FineTuning,
    Optimizer,
    Precision,
    Schedule,
    Share,
    Triple,
    checked,
    read_yaml,
)

SCHEMA = 2
_STRICT = ConfigDict(extra="forbid")


@checked_dataclass(frozen=True, config=_STRICT)
class SourcePlan:
    """Which inputs the model is for.

    A whole `series`; all series of a `study`; one `slice` of a series; or one picture (`image`).
    """

    name: str
    file_format: FileFormat
    level: Level
    modality: str | None
    description: str | None
    units: tuple[str, ...]

    @property
    def fed(self) -> Literal["series", "slice", "image"]:
        """What one input of the network is: a study is fed series by series."""
        return "series" if self.level == "study" else self.level


@checked_dataclass(frozen=True, config=_STRICT)
class ScalePlan:
    """How values are brought to the scale of the network.

    First the `transform`: `none`; `log`, the logarithm of 1 + value; `zscore`, each image by its own mean
    and deviation. Then `low` to `high` become 0 to 1, clipped; then less `mean`, divided by `deviation`.
    """

    transform: Literal["none", "log", "zscore"]
    low: float
    high: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@checked_dataclass(frozen=True, config=_STRICT)
class InputPlan:
    """From a source image to what the network is fed with.

    `size` along x, y and z; a flat input has one slice. With `spacing_mm` the image is brought to that
    spacing, and cut or continued about its middle; without it the whole image is made to fit.
    `channels` is 3 for colour.
    """

    size: Triple
    spacing_mm: tuple[float, float, float] | None
    channels: int
    scale: ScalePlan

    @model_validator(mode="after")
    def _one_scale_a_channel(self) -> Self:
        for name, values in (("mean", self.scale.mean), ("deviation", self.scale.deviation)):
            if len(values) not in (1, self.channels):
                message = f"scale.{name} has {len(values)} numbers; one, or {self.channels}, fit"
                raise ValueError(message)
        return self

    @property
    def is_flat(self) -> bool:
        """Whether the network sees two axes."""
        return self.size[2] == 1

    @property
    def axes(self) -> int:
        """How many axes the network sees."""
        return 2 if self.is_flat else 3


@checked_dataclass(frozen=True, config=_STRICT)
class ClassifierPlan:
    """Which network, by its name in the registry; `weights` that it starts from, by name and digest."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    weights: str = ""
    weights_sha256: str = ""


@checked_dataclass(frozen=True, config=_STRICT)
class NumberPlan:
    """A clinical number: the mean and deviation that it is brought to a common scale by."""

    name: str
    mean: float
    deviation: float


@checked_dataclass(frozen=True, config=_STRICT)
class CategoryPlan:
    """A clinical category: the levels that were seen in training."""

    name: str
    levels: tuple[str, ...]


@checked_dataclass(frozen=True, config=_STRICT)
class ClinicalPlan:
    """Clinical values that go with an image.

    `by` is the column that says what a row of their table is about. In training all values of a sample are
    taken for missing with the probability `dropout`, so that a patient of whom nothing is known can be
    predicted too. `features` of the image meet them in the network.
    """

    by: By
    numbers: tuple[NumberPlan, ...]
    categories: tuple[CategoryPlan, ...]
    dropout: float
    features: int

    @property
    def columns(self) -> ClinicalColumns:
        """What is taken of a table."""
        numbers, categories = (tuple(one.name for one in side) for side in (self.numbers, self.categories))
        return ClinicalColumns(self.by, numbers, categories)

    @property
    def width(self) -> int:
        """How many values the network is given: a number and its mark, and one a level."""
        return 2 * len(self.numbers) + sum(len(one.levels) for one in self.categories)


PARTS = ("image", "values")
"""What a model with clinical values can also be asked alone, in the order of its heads after the first."""


@checked_dataclass(frozen=True, config=_STRICT)
class ClassTrainingPlan:
    """How the network is trained.

    `mixup` is the parameter of the Beta distribution that two images are mixed by, 0: never. A class
    weighs what `class_weights` says; of several labels, what a positive weighs against a negative.
    `shift` is the share of each side that an image is moved by.
    `pretrained_rate`, `layer_decay`, `fine_tuning`, `thawing` and `frozen` are those of a segmentation; the
    last layer counts as new. With a `sampling` that is `balanced` every class comes as often as any other.
    Unless `patience` is 0, the loss on the validation samples is taken every `validate_every` steps; after
    so many looks without a better one the training ends, and the best average is the model.
    """

    batch_size: int
    steps: int
    optimizer: Optimizer
    schedule: Schedule
    learning_rate: float
    pretrained_rate: float
    frozen: tuple[str, ...]
    weight_decay: float
    warm_up_steps: int
    average_decay: float
    clip_norm: float
    label_smoothing: float
    mixup: float
    class_weights: tuple[float, ...]
    shift: float
    precision: Precision
    channels_last: bool
    compiled: bool
    threads: int
    seed: int
    augmentation: AugmentationPlan
    layer_decay: Decay = 1.0
    fine_tuning: FineTuning = "all"
    thawing: Share = 0.5
    sampling: Literal["each once", "balanced"] = "each once"
    patience: Annotated[int, Field(ge=0)] = 0
    validate_every: Count = 100


@checked_dataclass(frozen=True, config=_STRICT)
class ClassificationPlan:
    """A whole plan, with the reasons for its values by their dotted name.

    `holds`: exactly `one` of the classes, or `any` of them, each a label of its own.
    """

    schema_version: int
    task: Literal["classification"]
    classes: tuple[str, ...]
    holds: Holds
    source: SourcePlan
    input: InputPlan
    network: ClassifierPlan
    training: ClassTrainingPlan
    clinical: ClinicalPlan | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    @model_validator(mode="after")
    def _one_weight_a_class(self) -> Self:
        weights = self.training.class_weights
        if len(weights) != len(self.classes) or min(weights, default=0.0) <= 0.0:
            message = (
                f"training.class_weights needs a number above 0 for each of {len(self.classes)} classes "
                f"({', '.join(self.classes)}); it has {', '.join(map(str, weights)) or 'none'}"
            )
            raise ValueError(message)
        return self

    @property
    def parts(self) -> tuple[str, ...]:
        """What the model can also be asked alone."""
        return PARTS if self.clinical else ()


def read_classification(path: Path) -> ClassificationPlan:
    """Read a plan.

    Raises
    ------
    ConfigError
        The file can't be read, has values that don't fit, or another schema version.
    """
    what = f"The plan {path}"
    return checked(ClassificationPlan, read_yaml(path, what, SCHEMA), what)
