"""`lepton evaluate` of a classifier: figures with intervals by patient, never accuracy alone."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lepton_monai.cases.case import Case
from lepton_monai.cases.classes import ClassChoice, Classified, collect_classified
from lepton_monai.config.load import load_classification
from lepton_monai.core.errors import InputError
from lepton_monai.core.files import write_json, write_text
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.data.clinical import remarks
from lepton_monai.data.inputs import read_source
from lepton_monai.evaluation.classes import Labels, decide
from lepton_monai.evaluation.classification import ClassFigures, class_figures, position_baseline
from lepton_monai.evaluation.intervals import Interval
from lepton_monai.evaluation.parts import Judged, figures_alone, paired_figures
from lepton_monai.inference.classifier import Answer, Classifier, load_classifier
from lepton_monai.plans.run import Run, open_runs, read_split
from lepton_monai.training.devices import choose_device
from lepton_monai.verbs.class_preparing import require_same_clinical
from lepton_monai.verbs.evaluate import Side

PARTS = ("image", "values")
"""In the order of `Answer.alone`."""


@dataclass(frozen=True)
class PartEvaluation:
    """The image alone, or its clinical values alone.

    Parameters
    ----------
    threshold
        Of class 1 where there are two, chosen for this part.
    figures
        Of this part.
    gains
        Figures of both together less this part's, paired by patient: above 0 both are better.
    """

    threshold: float
    figures: dict[str, Interval]
    gains: dict[str, Interval]


@dataclass(frozen=True, eq=False)
class ClassEvaluation:
    """What `lepton evaluate` prints of a classifier.

    Parameters
    ----------
    classes
        Names by id.
    unit
        Whom the intervals are drawn by: `patient`, or `image` where nobody is known.
    figures
        With intervals and counts.
    position
        Of slices: the AUROC of a slice's place alone; None otherwise.
    threshold
        Of class 1 where there are two.
    answers
        Sample by sample.
    findings
        Of cases that are left out, or remarks, by pseudonym.
    folder
        Where the figures are kept.
    parts
        Of a model with clinical values: `image` and `values`, each alone.
    """

    classes: tuple[str, ...]
    unit: str
    figures: ClassFigures
    position: Interval | None
    threshold: float
    answers: tuple[Answer, ...]
    findings: tuple[tuple[str, Finding], ...]
    folder: Path
    parts: Mapping[str, PartEvaluation] = field(default_factory=dict)


def evaluate_classifier(
    run_folder: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    side: Side = "test",
    changes: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = SILENT,
) -> ClassEvaluation:
    """Classify the cases of one side of a run's split and compare with their classes.

    Parameters
    ----------
    run_folder
        Of a run; or of the runs of all folds: each is judged on its own side, and all are summed up.
    pseudonyms
        With the salt of the training; None: the user's.
    side
        test, validation, or all: both.
    changes
        ``KEY=VALUE`` over the run's config, for data that has moved.
    device
        auto, cpu, cuda, cuda:N, mps.
    progress
        Told of every case.

    Raises
    ------
    InputError
        The run holds no model, the side no case, or the data aren't where they were.
    """
    where, names = choose_device(device), pseudonyms or load_pseudonyms()
    runs = open_runs(run_folder)
    done = [_evaluated(run, names, side, changes=changes, device=where, progress=progress) for run in runs]
    if len(done) == 1:
        return done[0]
    answers = [answer for one in done for answer in one.answers]
    findings = [finding for one in done for finding in one.findings]
    thresholds = np.mean([(one.threshold, *_alone(one)) for one in done], axis=0).tolist()
    folder = Run(run_folder).evaluation_folder(side)
    return _judged(
        answers, findings, done[0].classes, unit=done[0].unit, thresholds=thresholds, folder=folder
    )


def _alone(done: ClassEvaluation) -> list[float]:
    return [one.threshold for one in done.parts.values()]


def _evaluated(
    run: Run,
    pseudonyms: Pseudonyms,
    side: Side,
    *,
    changes: Sequence[str],
    device: torch.device,
    progress: Progress,
) -> ClassEvaluation:
    choice = load_classification(run.config_path, changes).class_choice()
    split = read_split(run)
    sides = ["validation", "test"] if side == "all" else [side]
    wanted = {entry["case"] for one in sides for entry in split[one]}
    classified = collect_classified(choice, pseudonyms, progress)
    cases = [case for case in classified.cases if case.pseudonym in wanted]
    if not cases:
        message = (
            f"The split of {run.folder} has no {side} case."
            if not wanted
            else f"None of the {len(wanted)} {side} cases of the run is among the {len(classified.cases)} "
            "cases here. Were the data moved (--set data.root=...), or was another salt used (--salt)?"
        )
        raise InputError(message)
    trained = frozenset(split["image_sha256"].values()) if side == "test" else frozenset[str]()
    return evaluate_classified(
        load_classifier([run], device),
        run.evaluation_folder(side),
        cases,
        choice,
        classified,
        trained=trained,
        progress=progress,
    )


def evaluate_classified(
    model: Classifier,
    folder: Path,
    cases: Sequence[Case],
    choice: ClassChoice,
    classified: Classified,
    *,
    trained: frozenset[str] = frozenset(),
    progress: Progress = SILENT,
) -> ClassEvaluation:
    """Classify cases one by one, compare with their classes, and keep the figures.

    Parameters
    ----------
    model, folder
        What is judged, and where the figures go.
    cases, choice, classified
        What it is judged on.
    trained
        Digests of images that the model has seen: they are left out, with a finding.
    progress
        Told of every case.

    Raises
    ------
    InputError
        No case can be used, or the data have other classes than the model.
    """
    if classified.classes != model.plan.classes:
        known, held = (", ".join(names) for names in (model.plan.classes, classified.classes))
        message = f"The model knows {known}; the data hold {held}."
        raise InputError(message)
    require_same_clinical(model.plan, choice)
    answers: list[Answer] = []
    findings: list[tuple[str, Finding]] = []
    for case in progress.track(cases, "classifying", len(cases)):
        source = read_source(case, choice)
        if isinstance(source, Finding):
            findings.append((case.pseudonym, source))
        elif source.digest in trained:
            message = "The image was trained on, under whatever name."
            findings.append((case.pseudonym, Finding("training_data_in_test", message)))
        else:
            known_of = classified.clinical.get(case.pseudonym)
            findings += [(case.pseudonym, one) for one in remarks(known_of, model.plan.clinical)]
            answers += model.predict(case, source, classified.class_of.get(case.pseudonym), known_of)
    if not answers:
        reasons = "; ".join(f"{name}: {finding.sentence()}" for name, finding in findings)
        message = f"No case can be evaluated: {reasons}"
        raise InputError(message)
    unit = "patient" if choice.by_patient else "image"
    thresholds = (model.threshold, *model.alone_thresholds)
    return _judged(answers, findings, model.plan.classes, unit=unit, thresholds=thresholds, folder=folder)


def _judged(
    answers: Sequence[Answer],
    findings: Sequence[tuple[str, Finding]],
    classes: tuple[str, ...],
    *,
    unit: str,
    thresholds: Sequence[float],
    folder: Path,
) -> ClassEvaluation:
    """Judge answers; the first threshold is of the model, the others of its parts alone."""
    threshold = thresholds[0]
    labels = np.array([-1 if one.label is None else one.label for one in answers])
    keys = [one.patient for one in answers]
    both = Judged(np.stack([one.probabilities for one in answers]), threshold)
    figures = class_figures(
        both.probabilities,
        np.stack([one.uncalibrated for one in answers]),
        labels,
        keys,
        threshold,
    )
    sliced = len(classes) == 2 and answers[0].slice_number is not None
    places = np.array([one.from_end_mm for one in answers])
    done = ClassEvaluation(
        classes=classes,
        unit=unit,
        figures=figures,
        position=position_baseline(places, labels, keys) if sliced else None,
        threshold=threshold,
        answers=tuple(answers),
        findings=tuple(findings),
        folder=folder,
        parts=_parts(answers, both, labels, keys, thresholds[1:]),
    )
    write_text(folder / "cases.csv", answers_csv(answers, classes, threshold, abstain_below=0.0))
    write_json(folder / "metrics.json", evaluation_content(done))
    return done


def _parts(
    answers: Sequence[Answer],
    both: Judged,
    labels: Labels,
    keys: Sequence[str],
    thresholds: Sequence[float],
) -> dict[str, PartEvaluation]:
    """Judge image and values alone, where the model has both."""
    found = np.stack([one.alone for one in answers], axis=1)  # (parts, n, classes)
    parts = {}
    for name, probabilities, threshold in zip(PARTS, found, thresholds, strict=False):
        one = Judged(probabilities, threshold)
        gains = paired_figures(both, one, labels, keys)
        parts[name] = PartEvaluation(threshold, figures_alone(one, labels, keys), gains)
    return parts


def evaluation_content(done: ClassEvaluation) -> dict[str, Any]:
    """Return the figures as `metrics.json` keeps them."""
    told = [
        ({"case": name, "code": one.code, "message": one.sentence()}, one.action == "used")
        for name, one in done.findings
    ]
    return {
        "schema_version": 1,
        "task": "classification",
        "classes": list(done.classes),
        "intervals_by": done.unit,
        "samples": done.figures.rows,
        f"{done.unit}s": done.figures.keys,
        "threshold": done.threshold if len(done.classes) == 2 else None,
        "figures": {name: asdict(interval) for name, interval in done.figures.figures.items()},
        "auroc_of_slice_position": done.position and asdict(done.position),
        "confusion": done.figures.confusion.tolist(),
        "alone": {name: asdict(part) for name, part in done.parts.items()},
        "left_out": [entry for entry, is_used in told if not is_used],
        "remarks": [entry for entry, is_used in told if is_used],
    }


def decision_of(answer: Answer, classes: Sequence[str], threshold: float, abstain_below: float) -> str:
    """Return the class that is decided for; empty where its probability is below what is asked for."""
    two = len(classes) == 2
    scores = answer.probabilities[None, 1] if two else answer.probabilities[None]
    decided = int(decide(scores, threshold)[0])
    return classes[decided] if answer.probabilities[decided] >= abstain_below else ""


def answers_csv(
    answers: Sequence[Answer], classes: Sequence[str], threshold: float, *, abstain_below: float
) -> str:
    """Return one row a sample: by pseudonym, with the calibrated probability of each class."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["case", "patient", "slice", "class", "decision", *(f"p({one})" for one in classes)])
    for one in answers:
        writer.writerow(
            [
                one.case,
                one.patient,
                "" if one.slice_number is None else one.slice_number,
                "" if one.label is None else classes[one.label],
                decision_of(one, classes, threshold, abstain_below),
                *(f"{value:.6f}" for value in one.probabilities),
            ]
        )
    return text.getvalue()
