"""From what lies in a folder to cases with a class each: series by tag, table or segment, or pictures."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from lepton_monai.cases.case import Case
from lepton_monai.cases.clinical import ClinicalChoice, clinical_rows, row_key
from lepton_monai.cases.collect import DataChoice, ImageChoice, LabelChoice, Source, collect
from lepton_monai.core.errors import FileRefused, InputError
from lepton_monai.core.findings import Finding
from lepton_monai.core.patterns import matches
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.dicom import Series
from lepton_monai.dicom.keyword import read_coded
from lepton_monai.images.pictures import SUFFIXES
from lepton_monai.labels.clinical import ClinicalRow
from lepton_monai.labels.labelset import LabelSet
from lepton_monai.labels.tables import By, read_classes

Level = Literal["series", "slice", "image"]
"""What one prediction is made for: a volume, one slice of it, a picture."""

ClassSource = Literal["folder", "table", "tag", "segment"]


@dataclass(frozen=True)
class ClassLabels:
    """Where classes come from.

    Parameters
    ----------
    source
        The name of the subfolder, a column of a table, a DICOM tag, or whether a segment lies there.
    classes
        Wanted, in the order of their ids; empty: all that are found, sorted.
    segments
        Of `segment`: the one class of the label objects.
    annotation
        Of `segment`: kind of label object.
    table, by, column
        Of `table`.
    keyword
        Of `tag`.
    """

    source: ClassSource
    classes: tuple[str, ...] = ()
    segments: LabelSet = field(default_factory=lambda: LabelSet(()))
    annotation: Source = "dicom"
    table: Path | None = None
    by: By = "patient_id"
    column: str = "label"
    keyword: str = ""


@dataclass(frozen=True)
class ClassChoice:
    """What to classify.

    Parameters
    ----------
    root
        Folder of DICOM or of pictures.
    exclude
        Patterns of names that are passed over.
    level
        What one prediction is made for.
    image
        Which series; of pictures its name alone counts.
    label
        Where their classes come from.
    same_person
        From patient id (of a picture: its path below the root) to person, where a table joins them.
    clinical
        Values that go with the images; None: none.
    """

    root: Path
    exclude: tuple[str, ...]
    level: Level
    image: ImageChoice
    label: ClassLabels
    same_person: Mapping[str, str]
    clinical: ClinicalChoice | None = None

    @property
    def by_patient(self) -> bool:
        """Whether it is known whose the images are: of pictures only a table says it."""
        return self.level != "image" or bool(self.same_person)


@dataclass(frozen=True)
class Classified:
    """Cases with their classes.

    Parameters
    ----------
    cases
        All that can be used.
    classes
        Names, in the order of their ids.
    class_of
        Class id by pseudonym; empty where the voxels of a segment decide, slice by slice.
    findings
        Of cases that are left out, by pseudonym.
    clinical
        What is known of a case besides its image, by pseudonym.
    """

    cases: tuple[Case, ...]
    classes: tuple[str, ...]
    class_of: Mapping[str, int]
    findings: tuple[tuple[str, Finding], ...]
    clinical: Mapping[str, ClinicalRow] = field(default_factory=dict)


def collect_classified(
    choice: ClassChoice, pseudonyms: Pseudonyms, progress: Progress = SILENT
) -> Classified:
    """Look through the root and make cases with classes; no pixels are read.

    Raises
    ------
    InputError
        Nothing there makes a case, or there are fewer than two classes.
    ConfigError
        A table can't be read.
    """
    if choice.level == "image":
        cases, findings = _pictures(choice, pseudonyms), []
    else:
        collection = collect(_series_choice(choice), pseudonyms, progress)
        cases, findings = list(collection.cases), list(collection.findings)
    clinical = clinical_rows(cases, choice.clinical, choice.root) if choice.clinical else {}
    if choice.label.source == "segment":
        (name,) = choice.label.segments.names
        return Classified(tuple(cases), (f"no {name}", name), {}, tuple(findings), clinical)
    name_of = _naming(choice)
    named: dict[str, str] = {}
    for case in cases:
        found = name_of(case)
        if isinstance(found, Finding):
            findings.append((case.pseudonym, found))
        else:
            named[case.pseudonym] = found
    classes = choice.label.classes or tuple(sorted(set(named.values())))
    if len(classes) < 2:
        message = f"Two classes are needed; {choice.root} holds {', '.join(classes) or 'none'}."
        raise InputError(message)
    counts = Counter(named.values())
    lacking = [name for name in classes if not counts[name]]
    if lacking:
        message = f"No case is of the class {', '.join(lacking)}; there are {', '.join(sorted(counts))}."
        raise InputError(message)
    class_of = {case: classes.index(name) for case, name in named.items() if name in classes}
    used = tuple(case for case in cases if case.pseudonym in class_of)
    return Classified(used, classes, class_of, tuple(findings), clinical)


def picture_files(root: Path, exclude: tuple[str, ...] = ()) -> list[Path]:
    """Return all pictures below a folder, sorted.

    Raises
    ------
    InputError
        It isn't there or holds none.
    """
    if not root.is_dir():
        message = f"The folder {root} doesn't exist."
        raise InputError(message)
    found = [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and not path.name.startswith(".")
        and not any(matches(path.name, pattern) for pattern in exclude)
        and path.is_file()
    ]
    if not found:
        message = f"The folder {root} holds no picture ({', '.join(SUFFIXES)})."
        raise InputError(message)
    return found


def picture_case(path: Path, root: Path, pseudonyms: Pseudonyms, same_person: Mapping[str, str]) -> Case:
    """Make a case of a picture; its id, kept in `key.json` alone, is its path below the root."""
    name = path.relative_to(root).as_posix()
    person = same_person.get(name, name)
    return Case(pseudonyms.of("PIC", name), pseudonyms.of("P", person), name, person, path, None)


def _pictures(choice: ClassChoice, pseudonyms: Pseudonyms) -> list[Case]:
    files = picture_files(choice.root, choice.exclude)
    return [picture_case(path, choice.root, pseudonyms, choice.same_person) for path in files]


def _series_choice(choice: ClassChoice) -> DataChoice:
    # Without a segment no label object is wanted, and every series makes a case.
    label = LabelChoice(choice.label.annotation, choice.label.segments, empty_is_negative=True, folder=None)
    if choice.label.source == "segment":
        label = LabelChoice(choice.label.annotation, choice.label.segments, False, None)
    return DataChoice(choice.root, choice.exclude, choice.image, label, choice.same_person)


def _naming(choice: ClassChoice) -> Callable[[Case], str | Finding]:
    label = choice.label
    table = read_classes(label.table, label.by, label.column) if label.table is not None else {}

    def name_of(case: Case) -> str | Finding:
        try:
            name = _value(case, choice, table)
        except FileRefused as refusal:
            return refusal.finding
        if not name:
            return Finding("class_absent", f"Nothing says its class ({label.source}).")
        if label.classes and name not in label.classes:
            return Finding("class_not_wanted", "Its class is none of those that the config lists.")
        return name

    return name_of


def _value(case: Case, choice: ClassChoice, table: Mapping[str, str]) -> str:
    label, image = choice.label, case.image
    file = Path(image.headers[0].file) if isinstance(image, Series) else image
    if label.source == "tag":
        return read_coded(file, label.keyword)
    if label.source == "folder":
        parts = file.relative_to(choice.root).parts
        return parts[0] if len(parts) > 1 else ""
    return table.get(row_key(case, label.by, choice.root), "")
