"""What a config of `task: classification` may hold."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator, model_validator

from lepton_monai.cases.classes import ClassChoice, ClassLabels, ClassSource, Level
from lepton_monai.cases.clinical import ClinicalChoice
from lepton_monai.cases.collect import Source
from lepton_monai.cases.images import ImageChoice
from lepton_monai.cases.persons import read_persons
from lepton_monai.config.schema import (
    ImageSection,
    Pattern,
    Positive,
    Section,
    TaskConfig,
    TrainSection,
    WeightsSection,
    any_part_of,
    label_set,
)
from lepton_monai.core.wording import nearest
from lepton_monai.dicom.keyword import require_coded
from lepton_monai.labels.clinical import ClinicalColumns
from lepton_monai.labels.tables import By
from lepton_monai.plans.classification import ClassificationPlan

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

OF_STUDIES = ("study_uid", "patient_id")
"""What a table of studies may be about."""

COLUMN = "label"
"""Of a table with one: a resolved config names it, so that it says nothing where `columns` are given."""

PICTURE = "picture"
"""What the image of a task on pictures is called."""


class ClassLabelSection(Section):
    """Where classes come from."""

    source: ClassSource
    classes: list[str] | dict[str, Pattern | list[Pattern]] = Field(default_factory=list)
    annotation: Source = "dicom"
    folder: str | None = None
    table: Path | None = None
    by: By = "patient_id"
    column: str = COLUMN
    columns: list[str] = Field(default_factory=list)
    keyword: str = ""

    @model_validator(mode="after")
    def _whole(self) -> "ClassLabelSection":
        if (self.source == "table") != (self.table is not None):
            message = "a `table` goes with `source: table`"
            raise ValueError(message)
        if self.columns:
            self._require_columns_alone()
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

    def _require_columns_alone(self) -> None:
        if self.source != "table" or self.classes or self.column != COLUMN:
            message = "`columns`, one a label, go with `source: table`, without `column` and `classes`"
            raise ValueError(message)
        if len(set(self.columns)) < len(self.columns):
            message = "a label is named twice in `columns`"
            raise ValueError(message)


class ClinicalSection(Section):
    """Which columns of a table go with the images."""

    table: Path
    by: By = "patient_id"
    numbers: list[str] = Field(default_factory=list)
    categories: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _whole(self) -> "ClinicalSection":
        named = [self.by, *self.numbers, *self.categories]
        if len(named) == 1:
            message = "name at least one column of `numbers` or `categories`"
            raise ValueError(message)
        if len(set(named)) < len(named):
            message = "a column is either `by`, or one of the `numbers`, or one of the `categories`, once"
            raise ValueError(message)
        return self

    def choice(self) -> ClinicalChoice:
        """Return where the values come from."""
        columns = ClinicalColumns(self.by, tuple(self.numbers), tuple(self.categories))
        return ClinicalChoice(columns, self.table)


class ClassDataSection(Section):
    """What to read."""

    root: Path
    level: Level
    images: dict[str, ImageSection] = Field(default_factory=dict)
    labels: ClassLabelSection
    clinical: ClinicalSection | None = None
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
        if self.level != "image" and len(self.images) != 1:
            message = "name exactly one image; several a case are for segmentations"
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _one_world(self) -> "ClassDataSection":
        labels = self.labels
        is_nifti = any(image.folder is not None for image in self.images.values())
        if labels.source == "segment" and (labels.annotation == "nifti") != is_nifti:
            message = "masks in NIfTI go with a `folder` of NIfTI images, DICOM labels with DICOM images"
            raise ValueError(message)
        if is_nifti and (self.level == "study" or labels.source == "tag"):
            message = "a folder of NIfTI images knows neither studies nor DICOM tags"
            raise ValueError(message)
        tables = {labels.by} if labels.source == "table" else set[By]()
        self._require_rows(tables | ({self.clinical.by} if self.clinical else set()), is_nifti=is_nifti)
        return self

    def _require_rows(self, by: set[By], *, is_nifti: bool) -> None:
        """Refuse tables whose rows are about what isn't known of the images."""
        if self.level == "image" and by - {"file"}:
            message = "a table of pictures goes `by: file`"
            raise ValueError(message)
        if self.level == "study" and by - set(OF_STUDIES):
            message = f"a table of studies goes by {' or '.join(OF_STUDIES)}"
            raise ValueError(message)
        if is_nifti and by - {"file"}:
            message = "a table of NIfTI images goes `by: file`, their path below the folder"
            raise ValueError(message)


class ClassifierSection(WeightsSection):
    """Which network; its name and arguments are those of known weights, where they are given."""

    name: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        alone = name.removeprefix(SLICES)
        if name and alone not in CLASSIFIER_NAMES and not alone.startswith(ELSEWHERE):
            message = (
                f"`{name}` is no network; the nearest is `{nearest(alone, CLASSIFIER_NAMES)}`; give "
                f"{', '.join(CLASSIFIER_NAMES)}, slices:NAME, timm:NAME or torchvision:NAME"
            )
            raise ValueError(message)
        return name


class ClassTrainSection(TrainSection):
    """As of a segmentation, and shorter."""

    minutes: Positive = 5.0


_CHOSEN_ELSEWHERE = frozenset(
    {"schema_version", "task", "classes", "holds", "source", "reasons", "name", "arguments", "seed"}
    | {"weights", "weights_sha256", "by", "numbers", "categories"}
)

if TYPE_CHECKING:
    ClassPlanSection = Section
else:
    ClassPlanSection = any_part_of(ClassificationPlan, _CHOSEN_ELSEWHERE)


class ClassificationConfig(TaskConfig):
    """A classification, whole."""

    task: Literal["classification"]
    data: ClassDataSection
    network: ClassifierSection = ClassifierSection()
    train: ClassTrainSection = ClassTrainSection()
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
            image=ImageChoice(name, image.modality, image.description, image.folder),
            label=self._labels(),
            same_person=persons,
            clinical=data.clinical.choice() if data.clinical else None,
        )

    def _labels(self) -> ClassLabels:
        section = self.data.labels
        return ClassLabels(
            source=section.source,
            classes=tuple(section.classes) if isinstance(section.classes, list) else (),
            segments=label_set(section.classes if isinstance(section.classes, dict) else {}),
            annotation=section.annotation,
            folder=section.folder,
            table=section.table,
            by=section.by,
            column=section.column,
            columns=tuple(section.columns),
            keyword=section.keyword,
        )
