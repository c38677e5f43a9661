"""What a config may hold. Every key has a default but `data.root`, `data.images`, `data.labels`."""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model, field_validator, model_validator

from lepton_monai.cases.collect import DataChoice, LabelChoice, Source
from lepton_monai.cases.images import ImageChoice
from lepton_monai.cases.persons import read_persons
from lepton_monai.cases.split import SplitRule
from lepton_monai.core.wording import nearest
from lepton_monai.labels.codes import ClassCodes, Code
from lepton_monai.labels.labelset import LabelClass, LabelSet
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import Plan

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Pattern = str | int
_ONE_VALUE = r"^[^\\\x00-\x1f]+$"
"""A backslash would begin a second value."""
CodeText = Annotated[str, Field(max_length=16, pattern=_ONE_VALUE, coerce_numbers_to_str=True)]
"""The VR SH of a code's value and scheme: PS3.5 section 6.2."""
Meaning = Annotated[str, Field(max_length=64, pattern=_ONE_VALUE)]
"""The VR LO."""

NETWORK_NAMES = (
    "dynunet",
    "unet",
    "attention_unet",
    "segresnet",
    "vnet",
    "mednext",
    "swin_unetr",
    "unetr",
)
"""As networks/build.py has them; here without torch, so that a mistake is told at once."""


class Section(BaseModel):
    """A part of a config: no other keys, no changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class ImageSection(Section):
    """One image of a case: which series, or which folder of NIfTI files."""

    modality: str | None = None
    description: str | None = None
    folder: str | None = None


class CodesSection(Section):
    """What a class is: ``[value, scheme, meaning]`` of its category and of its type."""

    category: tuple[CodeText, CodeText, Meaning]
    type: tuple[CodeText, CodeText, Meaning]


class LabelSection(Section):
    """Where labels come from, and which are the classes."""

    source: Source
    classes: dict[str, Pattern | list[Pattern]]
    empty: Literal["ignore", "negative"] = "ignore"
    folder: str | None = None
    codes: dict[str, CodesSection] = {}

    @field_validator("classes")
    @classmethod
    def _some(cls, classes: dict[str, Pattern | list[Pattern]]) -> object:
        if not 1 <= len(classes) <= 255:
            message = "name at least one class, at most 255"
            raise ValueError(message)
        if "mean" in classes:
            message = "`mean` is how the mean over the classes is called: give the class another name"
            raise ValueError(message)
        return classes

    @model_validator(mode="after")
    def _codes_of_classes(self) -> "LabelSection":
        for name in self.codes:
            if name not in self.classes:
                near = nearest(name, self.classes)
                message = f"`codes` names `{name}`, which is no class; the nearest is `{near}`"
                raise ValueError(message)
        if self.codes and self.source == "nifti":
            message = "`codes` go into DICOM objects, and a model of NIfTI images writes none"
            raise ValueError(message)
        return self


class DataSection(Section):
    """What to read."""

    root: Path
    images: dict[str, ImageSection]
    labels: LabelSection
    patients: Path | None = None
    exclude: list[str] = []

    @field_validator("images")
    @classmethod
    def _some(cls, images: dict[str, ImageSection]) -> dict[str, ImageSection]:
        if not images:
            message = "name at least one image"
            raise ValueError(message)
        if any(set(name) & set("/\\\0") for name in images):
            message = "the name of an image becomes part of a file's: leave out slashes"
            raise ValueError(message)
        if len(images) > 1 and not all(
            one.modality or one.description or one.folder for one in images.values()
        ):
            message = "of several images each needs a `modality`, a `description` or a `folder`"
            raise ValueError(message)
        if len(set(images.values())) < len(images):
            message = "two images are described alike: they would be one series, or one folder"
            raise ValueError(message)
        return images

    @model_validator(mode="after")
    def _one_world(self) -> "DataSection":
        is_nifti = self.labels.source == "nifti"
        if any(is_nifti != (image.folder is not None) for image in self.images.values()):
            message = "masks in NIfTI go with a `folder` of NIfTI images, DICOM labels with DICOM images"
            raise ValueError(message)
        return self


class SplitSection(Section):
    """Who is trained on, validated on and tested on."""

    file: Path | None = None
    test: Share = 0.2
    validation: Share = 0.15
    seed: int = 0
    folds: Annotated[int, Field(ge=2)] = 5
    fold: Annotated[int, Field(ge=0)] | None = None

    def rule(self) -> SplitRule:
        """Return how the cases are split."""
        return SplitRule(**self.model_dump())


class WeightsSection(Section):
    """What a network starts from: weights known by name, a file, or a run."""

    weights: str | None = None
    weights_dir: Path | None = None


class NetworkSection(WeightsSection):
    """Which network; its levels are the plan's."""

    name: str = "dynunet"
    arguments: dict[str, Any] = {}

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in NETWORK_NAMES and not name.startswith("monai:"):
            near = nearest(name, NETWORK_NAMES)
            message = (
                f"`{name}` is no network; the nearest is `{near}`; give {', '.join(NETWORK_NAMES)} or "
                "monai:CLASS"
            )
            raise ValueError(message)
        return name


class TrainSection(Section):
    """How long, and with which seed."""

    minutes: Positive = 20.0
    seed: Annotated[int, Field(ge=0)] = 0


def any_part_of(kind: type[Any], chosen_elsewhere: frozenset[str]) -> type[Section]:
    """Return a section in which every value of a plan may be given and none must."""
    fields: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if name not in chosen_elsewhere:
            parts = [one for one in (hint, *get_args(hint)) if is_dataclass(one) and isinstance(one, type)]
            inner: Any = any_part_of(parts[0], chosen_elsewhere) if parts else hint
            fields[name] = (inner | None, None)
    return create_model(f"{kind.__name__}Section", __base__=Section, **fields)


_CHOSEN_ELSEWHERE = frozenset(
    {"schema_version", "classes", "image", "further", "envelope", "reasons"}
    | {"name", "arguments", "seed", "weights_sha256"}
)

if TYPE_CHECKING:
    PlanSection = Section
else:
    PlanSection = any_part_of(Plan, _CHOSEN_ELSEWHERE)


class EvaluateSection(Section):
    """Figures beside the model's own."""

    threshold: float | None = None
    tolerance_mm: Positive = 2.0
    hit_iou: Share = 0.1


class TaskConfig(Section):
    """What the config of every task has."""

    data: Any
    split: SplitSection = SplitSection()
    network: Any
    train: TrainSection = TrainSection()
    plan: PlanSection = PlanSection()

    def plan_options(self) -> PlanOptions:
        """Return what the user fixed of the plan, by dotted names."""
        given = dict(given_of(self.plan, ""))
        if "name" in self.network.model_fields_set and self.network.name:
            given["network.name"] = self.network.name
        if self.network.arguments:
            given["network.arguments"] = self.network.arguments
        return PlanOptions(minutes=self.train.minutes, seed=self.train.seed, given=given)

    def of_fold(self, fold: int) -> Self:
        """Return the config of one fold."""
        return self.model_copy(update={"split": self.split.model_copy(update={"fold": fold})})


class Config(TaskConfig):
    """A segmentation, whole."""

    task: Literal["segmentation"]
    data: DataSection
    network: NetworkSection = NetworkSection()
    evaluate: EvaluateSection = EvaluateSection()

    def data_choice(self) -> DataChoice:
        """Return what to make cases of.

        Raises
        ------
        ConfigError
            The table of persons can't be read.
        """
        persons = read_persons(self.data.patients) if self.data.patients else {}
        image, *further = self._image_choices()
        return DataChoice(
            root=self.data.root,
            exclude=tuple(self.data.exclude),
            image=image,
            label=self._label_choice(),
            same_person=persons,
            further=tuple(further),
        )

    def class_codes(self) -> dict[str, ClassCodes]:
        """Return what the classes are, of those of which it was said."""
        return {
            name: ClassCodes(Code(*one.category), Code(*one.type))
            for name, one in self.data.labels.codes.items()
        }

    def _image_choices(self) -> list[ImageChoice]:
        return [
            ImageChoice(name, image.modality, image.description, image.folder)
            for name, image in self.data.images.items()
        ]

    def _label_choice(self) -> LabelChoice:
        section = self.data.labels
        classes = label_set(section.classes)
        return LabelChoice(section.source, classes, section.empty == "negative", section.folder)


def label_set(classes: Mapping[str, Pattern | list[Pattern]]) -> LabelSet:
    """Return the classes of label objects, in order of precedence, with their patterns."""
    patterns = {name: one if isinstance(one, list) else [one] for name, one in classes.items()}
    return LabelSet(tuple(LabelClass(name, tuple(map(str, every))) for name, every in patterns.items()))


def given_of(section: Section, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield what the user gave of a plan, by dotted names."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from given_of(value, f"{prefix}{name}.")
        elif value is not None:
            yield f"{prefix}{name}", value
