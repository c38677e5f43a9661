"""What a config of `task: classification` may hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from lepton_monai.cases.classes import ClassChoice, ClassLabels, ClassSource, Level
from lepton_monai.cases.collect import ImageChoice, Source
from lepton_monai.cases.persons import read_persons
from lepton_monai.config.schema import (
    ImageSection,
    Pattern,
    Section,
    SplitSection,
    TrainSection,
    any_part_of,
    given_of,
    listed,
)
from lepton_monai.dicom.keyword import require_coded
from lepton_monai.labels.labelset import LabelClass, LabelSet
from lepton_monai.labels.tables import By
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.plans.options import PlanOptions

CLASSIFIER_NAMES = (
    "efficientnet-lite0",
    *(f"resnet{depth}" for depth in (10, 18, 34, 50, 101, 152)),
    *(f"seresnet{depth}" for depth in (50, 101, 152)),
    *(f"seresnext{depth}" for depth in (50, 101)),
    *(f"densenet{depth}" for depth in (121, 169, 201, 264)),
    *(f"efficientnet-b{size}" for size in range(8)),
    "vit",
    "dynunet-encoder",
)
"""As networks/classifiers.py has them; here without torch, so that a mistake is told at once."""

SLICES = "slices:"
"""Before the name of a flat network that shall see every slice of a volume."""

ELSEWHERE = ("timm:", "torchvision:")
"""Before a name that another package knows."""

PICTURE = "picture"
"""What the image of a task on pictures is called."""


class ClassLabelSection(Section):
    """Where classes come from."""

    source: ClassSource
    classes: list[str] | dict[str, Pattern | list[Pattern]] = Field(default_factory=list)
    annotation: Source = "dicom"
    table: Path | None = None
    by: By = "patient_id"
    column: str = "label"
    keyword: str = ""

    @field_validator("annotation")
    @classmethod
    def _drawn(cls, annotation: Source) -> Source:
        if annotation == "nifti":
            message = "slices are labelled by rtstruct, seg or dicom (either)"
            raise ValueError(message)
        return annotation

    @model_validator(mode="after")
    def _whole(self) -> "ClassLabelSection":
        if (self.source == "table") != (self.table is not None):
            message = "a `table` goes with `source: table`"
            raise ValueError(message)
        if (self.source == "tag") != bool(self.keyword):
            message = "a `keyword` goes with `source: tag`"
            raise ValueError(message)
        if self.keyword:
            require_coded(self.keyword)
        if self.source == "segment" and not (isinstance(self.classes, dict) and len(self.classes) == 1):
            message = "a segment has one class, given as name: pattern"
            raise ValueError(message)
        if self.source != "segment" and isinstance(self.classes, dict):
            message = "give the classes as a list, or leave them out for all that are found"
            raise ValueError(message)
        if isinstance(self.classes, list) and len(self.classes) == 1:
            message = "name at least two classes, or none for all that are found"
            raise ValueError(message)
        return self


class ClassDataSection(Section):
    """What to read."""

    root: Path
    level: Level
    images: dict[str, ImageSection] = Field(default_factory=dict)
    labels: ClassLabelSection
    patients: Path | None = None
    exclude: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fitting(self) -> "ClassDataSection":
        if (self.level == "slice") != (self.labels.source == "segment"):
            message = "slices go with `source: segment`, which says for each whether it holds one"
            raise ValueError(message)
        if self.level == "image" and (self.images or self.labels.source == "tag"):
            message = "pictures have neither `images` (series) nor DICOM tags"
            raise ValueError(message)
        if self.level == "image" and self.labels.source == "table" and self.labels.by != "file":
            message = "a table of pictures goes `by: file`"
            raise ValueError(message)
        if self.level != "image" and len(self.images) != 1:
            message = "name exactly one image; several images a case can't be joined yet"
            raise ValueError(message)
        if any(image.folder is not None for image in self.images.values()):
            message = "images in NIfTI can't be classified yet: give DICOM series or pictures"
            raise ValueError(message)
        return self


class ClassifierSection(Section):
    """Which network, and what it starts from: weights known by name, a file, or a run."""

    name: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)
    weights: str | None = None
    weights_dir: Path | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        alone = name.removeprefix(SLICES)
        if name and alone not in CLASSIFIER_NAMES and not alone.startswith(ELSEWHERE):
            message = (
                f"`{name}` is no network; give {', '.join(CLASSIFIER_NAMES)}, slices:NAME, timm:NAME or "
                "torchvision:NAME"
            )
            raise ValueError(message)
        return name


_CHOSEN_ELSEWHERE = frozenset(
    {"schema_version", "task", "classes", "source", "reasons", "name", "arguments", "seed"}
    | {"weights", "weights_sha256"}
)

if TYPE_CHECKING:
    ClassPlanSection = Section
else:
    ClassPlanSection = any_part_of(ClassificationPlan, _CHOSEN_ELSEWHERE)


class ClassificationConfig(Section):
    """A whole task."""

    task: Literal["classification"]
    data: ClassDataSection
    split: SplitSection = SplitSection()
    network: ClassifierSection = ClassifierSection()
    train: TrainSection = TrainSection(minutes=5.0)
    plan: ClassPlanSection = ClassPlanSection()

    def class_choice(self) -> ClassChoice:
        """Return what to classify.

        Raises
        ------
        ConfigError
            The table of persons can't be read.
        """
        data = self.data
        persons: Mapping[str, str] = read_persons(data.patients) if data.patients else {}
        name, image = next(iter(data.images.items()), (PICTURE, ImageSection()))
        return ClassChoice(
            root=data.root,
            exclude=tuple(data.exclude),
            level=data.level,
            image=ImageChoice(name, image.modality, image.description, None),
            label=self._labels(),
            same_person=persons,
        )

    def _labels(self) -> ClassLabels:
        section = self.data.labels
        drawn: tuple[LabelClass, ...] = ()
        if isinstance(section.classes, dict):
            drawn = tuple(
                LabelClass(name, tuple(str(one) for one in listed(patterns)))
                for name, patterns in section.classes.items()
            )
        return ClassLabels(
            source=section.source,
            classes=tuple(section.classes) if isinstance(section.classes, list) else (),
            segments=LabelSet(drawn),
            annotation=section.annotation,
            table=section.table,
            by=section.by,
            column=section.column,
            keyword=section.keyword,
        )

    def plan_options(self) -> PlanOptions:
        """Return what the user fixed of the plan, by dotted names."""
        given = dict(given_of(self.plan, ""))
        if self.network.name:
            given["network.name"] = self.network.name
        if self.network.arguments:
            given["network.arguments"] = self.network.arguments
        return PlanOptions(minutes=self.train.minutes, seed=self.train.seed, given=given)

    def of_fold(self, fold: int) -> "ClassificationConfig":
        """Return the config of one fold."""
        return self.model_copy(update={"split": self.split.model_copy(update={"fold": fold})})
