"""From cases with classes to the samples of a training, one case open at a time."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lepton_monai.cases.case import Case
from lepton_monai.cases.classes import ClassChoice, Classified
from lepton_monai.cases.clinical import row_key
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import Progress
from lepton_monai.data.clinical import encoded, remarks
from lepton_monai.data.inputs import (
    Sample,
    SourceImage,
    SourceMeasurement,
    measure_source,
    read_source,
    samples_of,
)
from lepton_monai.plans.classification import ClassificationPlan, ClinicalPlan, SourcePlan
from lepton_monai.training.class_planner import ClassTask
from lepton_monai.training.clinical_planner import plan_clinical
from lepton_monai.verbs.requirements import TWIN


@dataclass(frozen=True, eq=False)
class ReadSide:
    """The samples of one side of the split.

    Parameters
    ----------
    samples
        On the network's size and scale.
    digests
        SHA-256 of the images, by the pseudonym of their cases.
    findings
        Of cases that are left out, or remarks, by pseudonym.
    """

    samples: list[Sample]
    digests: dict[str, str]
    findings: list[tuple[str, Finding]]

    def without_studies(self, studies: Container[str]) -> "ReadSide":
        """Return the side without the samples of some studies: of a study all is known, or nothing is."""
        left = {one.case for one in self.samples if one.study in studies}
        return ReadSide(
            [one for one in self.samples if one.case not in left],
            {name: digest for name, digest in self.digests.items() if name not in left},
            [*self.findings, *((name, TWIN) for name in sorted(left))],
        )


def read_sources(
    cases: Sequence[Case],
    choice: ClassChoice,
    findings: list[tuple[str, Finding]],
    progress: Progress,
    doing: str,
) -> Iterator[tuple[Case, SourceImage]]:
    """Yield cases with their images, one open at a time; what is wrong with the others is added."""
    for case in progress.track(cases, doing, len(cases)):
        source = read_source(case, choice.level, choice.segments)
        if isinstance(source, Finding):
            findings.append((case.pseudonym, source))
        else:
            yield case, source


def measured_sources(
    cases: Sequence[Case], choice: ClassChoice, progress: Progress
) -> dict[str, SourceMeasurement]:
    """Measure the images that can be used, by the pseudonym of their cases."""
    read = read_sources(cases, choice, [], progress, "reading cases")
    return {case.pseudonym: measure_source(source) for case, source in read}


def task_of(
    choice: ClassChoice, classified: Classified, measured: dict[str, SourceMeasurement]
) -> ClassTask:
    """Return what a plan is for, with the classes counted."""
    counts: tuple[int, ...]
    known: tuple[int, ...]
    if choice.label.source == "segment":
        positives = sum(one.positives for one in measured.values())
        slices = sum(one.shape[2] for one in measured.values())
        counts, known = (slices - positives, positives), (slices, slices)
    else:
        targets = np.stack([classified.targets[name] for name in measured])
        counts = tuple(np.sum(targets == 1.0, axis=0).tolist())
        known = tuple(np.sum(~np.isnan(targets), axis=0).tolist())
    source = SourcePlan(
        name=choice.image.name,
        file_format=choice.file_format,
        level=choice.level,
        modality=choice.image.modality,
        description=choice.image.description,
        units=tuple(sorted({one.unit for one in measured.values()})),
    )
    clinical, reasons = clinical_of(choice, classified, measured)
    return ClassTask(classified.classes, classified.holds, counts, known, source, clinical, reasons)


def clinical_of(
    choice: ClassChoice, classified: Classified, training: Container[str]
) -> tuple[ClinicalPlan | None, dict[str, str]]:
    """Plan the clinical values by the rows of the training cases, each once, and say why.

    Parameters
    ----------
    choice, classified
        Which values, and what is known of all cases.
    training
        Pseudonyms of the cases that the plan may know.

    Raises
    ------
    InputError
        A column holds nothing for them, or too much.
    """
    if choice.clinical is None:
        return None, {}
    columns = choice.clinical.columns
    rows = {
        row_key(case, columns.by, choice.folder): classified.clinical.get(case.pseudonym)
        for case in classified.cases
        if case.pseudonym in training
    }
    return plan_clinical(list(rows.values()), columns)


def read_side(
    cases: Sequence[Case],
    choice: ClassChoice,
    classified: Classified,
    plan: ClassificationPlan,
    progress: Progress,
    trained: frozenset[str] = frozenset(),
) -> ReadSide:
    """Read cases and bring them to the network's size; an image of `trained` is left out, and named."""
    side, known = ReadSide([], {}, []), set[str]()
    for case, source in read_sources(cases, choice, side.findings, progress, "preparing cases"):
        if source.digest in trained:
            side.findings.append((case.pseudonym, TWIN))
            known.add(case.study)
            continue
        side.digests[case.pseudonym] = source.digest
        target = classified.targets.get(case.pseudonym)
        row = classified.clinical.get(case.pseudonym)
        side.findings.extend((case.pseudonym, one) for one in remarks(row, plan.clinical))
        values = encoded(row, plan.clinical)
        side.samples.extend(samples_of(case, source, plan.input, choice.level, target, values))
    return side.without_studies(known - {""})
