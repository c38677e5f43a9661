"""`lepton check` of a classifier: which classes there are, on which side, and what is wrong."""

from dataclasses import dataclass

import numpy as np

from lepton_monai.cases.case import Case
from lepton_monai.cases.classes import collect_classified
from lepton_monai.cases.split import SIDES, split_cases
from lepton_monai.config.classification import ClassificationConfig
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.data.clinical import remarks
from lepton_monai.labels.tables import Target
from lepton_monai.verbs.class_preparing import clinical_of, read_sources


@dataclass(frozen=True)
class ClassCheckReport:
    """What `lepton check` prints of a classification.

    Parameters
    ----------
    classes
        Names by id.
    unit
        What the split parts: `patient`, or `image` where nobody is known.
    counts, unknown
        Samples of each class, and of how many it isn't known, by side.
    samples
        Of all classes, by side.
    keys
        Patients (or images), by side.
    findings
        With the name of their case, the worst first.
    refused
        Series of the wanted kind that make no volume, and so no case.
    """

    classes: tuple[str, ...]
    unit: str
    counts: dict[str, tuple[int, ...]]
    unknown: dict[str, tuple[int, ...]]
    samples: dict[str, int]
    keys: dict[str, int]
    findings: tuple[tuple[str, Finding], ...]
    refused: tuple[str, ...]


def check_classifier(
    config: ClassificationConfig, *, pseudonyms: Pseudonyms | None = None, progress: Progress = SILENT
) -> ClassCheckReport:
    """Read every case and report classes, split, leaks and faults.

    Parameters
    ----------
    config
        Of the task.
    pseudonyms
        Name cases and patients; None: by the user's salt.
    progress
        Told of every case.
    """
    choice = config.class_choice()
    classified = collect_classified(choice, pseudonyms or load_pseudonyms(), progress)
    split = split_cases(classified.cases, config.split.rule())
    findings = [*classified.findings, *(("split", finding) for finding in split.findings)]
    clinical, _ = clinical_of(choice, classified, {case.pseudonym for case in split.train})
    targets: dict[str, list[Target]] = {side: [] for side in SIDES}
    seen: dict[str, Case] = {}
    side_of = {case.pseudonym: side for side in SIDES for case in split.side(side)}
    for case, source in read_sources(classified.cases, choice, findings, progress, "reading cases"):
        known = classified.clinical.get(case.pseudonym)
        findings.extend((case.pseudonym, one) for one in remarks(known, clinical))
        twin = seen.setdefault(source.digest, case)
        if twin.person != case.person:
            message = f"The image equals that of {twin.pseudonym}, under another id."
            findings.append((case.pseudonym, Finding("same_image_twice", message)))
        side = side_of.get(case.pseudonym)
        if side is None:
            continue
        if case.pseudonym in classified.targets:
            targets[side].append(classified.targets[case.pseudonym])
        else:
            targets[side] += source.slice_targets()
    findings.sort(key=lambda pair: (pair[1].severity != "refused", pair[1].action == "used"))
    stacked = {side: np.reshape(rows, (-1, len(classified.classes))) for side, rows in targets.items()}
    return ClassCheckReport(
        classes=classified.classes,
        unit="patient" if choice.by_patient else "image",
        counts={side: tuple(np.sum(rows == 1.0, axis=0).tolist()) for side, rows in stacked.items()},
        unknown={side: tuple(np.sum(np.isnan(rows), axis=0).tolist()) for side, rows in stacked.items()},
        samples={side: len(rows) for side, rows in stacked.items()},
        keys={side: len({case.person for case in split.side(side)}) for side in SIDES},
        findings=tuple(findings),
        refused=classified.refused,
    )
