"""From what lies in a folder to cases with a class each: series by tag, table or segment, or pictures."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from lepton_monai.cases.case import Case
from lepton_monai.cases.clinical import ClinicalChoice, clinical_rows, file_of, row_key
from lepton_monai.cases.collect import Collection, DataChoice, LabelChoice, Source, collect
from lepton_monai.cases.images import ImageChoice
from lepton_monai.core.errors import FileRefused, InputError
from lepton_monai.core.findings import Finding
from lepton_monai.core.patterns import matches
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.core.wording import counted, most_alike
from lepton_monai.dicom.keyword import read_coded
from lepton_monai.images.pictures import SUFFIXES
from lepton_monai.labels.clinical import ClinicalRow
from lepton_monai.labels.labelset import LabelSet
from lepton_monai.labels.tables import By, Target, read_classes, read_targets

Level = Literal["series", "study", "slice", "image"]
"""What one prediction is made for: a volume, all volumes of a study, one slice of a volume, a picture."""

ClassSource = Literal["folder", "table", "tag", "segment"]

Holds = Literal["one", "any"]
"""How many of the classes hold for an input: exactly one, or any of them, each a label of its own."""

FileFormat = Literal["dicom", "nifti", "picture"]

MOST_CLASSES = 50
"""That are taken as they are found; more are names or ids, that no plan and no message may hold."""

Said = TypeVar("Said")


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
    annotation, folder
        Of `segment`: kind of label object; where NIfTI masks lie.
    table, by, column
        Of `table`: the file, what its rows are about, and the column of the class.
    columns
        Of `table`, instead of `column`: one a label, of which any may hold.
    keyword
        Of `tag`.
    """

    source: ClassSource
    classes: tuple[str, ...] = ()
    segments: LabelSet = field(default_factory=lambda: LabelSet(()))
    annotation: Source = "dicom"
    folder: str | None = None
    table: Path | None = None
    by: By = "patient_id"
    column: str = "label"
    columns: tuple[str, ...] = ()
    keyword: str = ""


@dataclass(frozen=True)
class ClassChoice:
    """What to classify.

    Parameters
    ----------
    root
        Folder of DICOM, of pictures, or of the folders of NIfTI files.
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
    def folder(self) -> Path:
        """Where the images lie."""
        return self.root / (self.image.folder or "")

    @property
    def file_format(self) -> FileFormat:
        """Of the images."""
        if self.level == "image":
            return "picture"
        return "dicom" if self.image.folder is None else "nifti"

    @property
    def segments(self) -> LabelSet | None:
        """What makes the classes of slices; None: something else does."""
        return self.label.segments if self.label.source == "segment" else None

    @property
    def by_patient(self) -> bool:
        """Whether it is known whose the images are: outside DICOM only a table says it."""
        return self.file_format == "dicom" or bool(self.same_person)


@dataclass(frozen=True)
class Classified:
    """Cases with their classes.

    Parameters
    ----------
    cases
        All that can be used.
    classes
        Names, in the order of their ids.
    holds
        How many of them hold for a case.
    targets
        What is known of each class, by pseudonym; empty where the voxels of a segment decide, slice by
        slice.
    findings
        Of cases that are left out, by pseudonym.
    clinical
        What is known of a case besides its image, by pseudonym.
    refused
        Series of the wanted kind that make no volume: their findings are among the others.
    """

    cases: tuple[Case, ...]
    classes: tuple[str, ...]
    holds: Holds
    targets: Mapping[str, Target]
    findings: tuple[tuple[str, Finding], ...]
    clinical: Mapping[str, ClinicalRow] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


def collect_classified(
    choice: ClassChoice, pseudonyms: Pseudonyms, progress: Progress = SILENT
) -> Classified:
    """Look through the root and make cases with classes; no pixels are read.

    Raises
    ------
    InputError
        Nothing there makes a case, or there are fewer than two classes, or far too many.
    ConfigError
        A table can't be read.
    """
    if choice.level == "image":
        collection = Collection(tuple(_pictures(choice, pseudonyms)), ())
    else:
        collection = collect(_series_choice(choice), pseudonyms, progress)
    cases, findings, refused = collection.cases, list(collection.findings), collection.refused
    clinical = clinical_rows(cases, choice.clinical, choice.folder) if choice.clinical else {}
    if choice.label.source == "segment":
        (name,) = choice.label.segments.names
        return Classified(cases, (f"no {name}", name), "one", {}, tuple(findings), clinical, refused)
    holds: Holds
    if choice.label.columns:
        classes, holds = choice.label.columns, "any"
        targets = _said(cases, _telling(choice), findings)
    else:
        named = _said(cases, _naming(choice), findings)
        if choice.level == "study":
            named = _without_contradictions(cases, named, findings)
        classes, holds = choice.label.classes or _found_classes(named, choice.label), "one"
        unwanted = {name for _, finding in findings for name in finding.names}
        _require_two(classes, named, choice.root, unwanted)
        one_hot = np.eye(len(classes), dtype=np.float32)
        targets = {case: one_hot[classes.index(name)] for case, name in named.items()}
    used = tuple(case for case in cases if case.pseudonym in targets)
    if not used:
        there = f"{counted(len(cases), 'case')} in {choice.root}"
        message = f"The table {choice.label.table} says nothing of the {there}."
        raise InputError(message)
    return Classified(used, classes, holds, targets, tuple(findings), clinical, refused)


def _said(
    cases: Sequence[Case], says: Callable[[Case], Said | Finding], findings: list[tuple[str, Finding]]
) -> dict[str, Said]:
    """Return what is said of the cases by pseudonym; of whom nothing is, becomes a finding."""
    found: dict[str, Said] = {}
    for case in cases:
        said = says(case)
        if isinstance(said, Finding):
            findings.append((case.pseudonym, said))
        else:
            found[case.pseudonym] = said
    return found


def _without_contradictions(
    cases: Sequence[Case], named: Mapping[str, str], findings: list[tuple[str, Finding]]
) -> dict[str, str]:
    """Leave out the series of studies that are said to be of more than one class."""
    said: dict[str, set[str]] = {}
    used = [case for case in cases if case.pseudonym in named]
    for case in used:
        said.setdefault(case.study, set()).add(named[case.pseudonym])
    for case in used:
        if len(said[case.study]) > 1:
            message = f"The series of its study say {' and '.join(sorted(said[case.study]))}."
            findings.append((case.pseudonym, Finding("class_ambiguous", message)))
    return {case.pseudonym: named[case.pseudonym] for case in used if len(said[case.study]) == 1}


def _found_classes(named: Mapping[str, str], label: ClassLabels) -> tuple[str, ...]:
    found = tuple(sorted(set(named.values())))
    if len(found) > MOST_CLASSES:
        where = {"table": f"The column `{label.column}`", "tag": f"The tag {label.keyword}"}
        message = (
            f"{where.get(label.source, 'The names of the subfolders')} would make {len(found)} classes of "
            f"{len(named)} cases; without a list (data.labels.classes) at most {MOST_CLASSES} are taken. "
            "Are they names or ids?"
        )
        raise InputError(message)
    return found


def _require_two(classes: Sequence[str], named: Mapping[str, str], root: Path, unwanted: set[str]) -> None:
    if len(classes) < 2:
        message = f"Two classes are needed; {root} holds {', '.join(classes) or 'none'}."
        raise InputError(message)
    counts = Counter(named.values())
    lacking = [name for name in classes if not counts[name]]
    if lacking:
        message = f"No case is of the class {', '.join(lacking)}; there are {', '.join(sorted(counts))}."
        raise InputError(message).beside(most_alike(lacking[0], unwanted))


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
    label, image = choice.label, choice.image
    kind = label.annotation
    if choice.file_format == "nifti":
        kind = "nifti"
        image = replace(image, pattern="*/*") if label.source == "folder" else image
    # Without a segment no label object is wanted, and every image makes a case.
    wanted = LabelChoice(kind, label.segments, label.source != "segment", label.folder)
    return DataChoice(choice.root, choice.exclude, image, wanted, choice.same_person)


def _naming(choice: ClassChoice) -> Callable[[Case], str | Finding]:
    label = choice.label
    table = read_classes(label.table, label.by, label.column) if label.table is not None else {}

    def name_of(case: Case) -> str | Finding:
        try:
            name = _name(case, choice, table)
        except FileRefused as refusal:
            return refusal.finding
        if not name:
            return Finding("class_absent", f"Nothing says its class ({label.source}).")
        if label.classes and name not in label.classes:
            message = "Its class is none of those that the config lists."
            return Finding("class_not_wanted", message, names=(name,))
        return name

    return name_of


def _telling(choice: ClassChoice) -> Callable[[Case], Target | Finding]:
    label = choice.label
    table = read_targets(label.table, label.by, label.columns) if label.table is not None else {}

    def target_of(case: Case) -> Target | Finding:
        target = table.get(_key(case, choice))
        return Finding("class_absent", "The table says nothing of it.") if target is None else target

    return target_of


def _name(case: Case, choice: ClassChoice, table: Mapping[str, str]) -> str:
    if choice.label.source == "tag":
        return read_coded(file_of(case), choice.label.keyword)
    if choice.label.source == "folder":
        parts = file_of(case).relative_to(choice.folder).parts
        return parts[0] if len(parts) > 1 else ""
    return table.get(_key(case, choice), "")


def _key(case: Case, choice: ClassChoice) -> str:
    """Return what a row of the table of classes calls a case."""
    return row_key(case, choice.label.by, choice.folder)
