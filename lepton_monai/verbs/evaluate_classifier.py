"""`lepton evaluate` of a classifier: figures with intervals by patient, never accuracy alone."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
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
from lepton_monai.evaluation.classification import (
    NAMES_OF_FIGURES,
    ClassFigures,
    Judged,
    class_figures,
    label_figures,
    mean_figures,
    position_baseline,
)
from lepton_monai.evaluation.intervals import Interval
from lepton_monai.evaluation.parts import compared_figures, paired_figures
from lepton_monai.inference.classifier import Answer, Classifier, Score, load_classifier
from lepton_monai.plans.classification import PARTS
from lepton_monai.plans.run import Run, open_runs
from lepton_monai.training.devices import choose_device
from lepton_monai.verbs.class_answers import OperatingPoint, answers_csv
from lepton_monai.verbs.class_preparing import read_sources
from lepton_monai.verbs.classifier_report import write_classifier_report
from lepton_monai.verbs.records import told_model
from lepton_monai.verbs.requirements import require_same_classification
from lepton_monai.verbs.sides import Side, cases_of_side


@dataclass(frozen=True)
class PartEvaluation:
    """The image alone, or its clinical values alone.

    Parameters
    ----------
    figures
        Of this part.
    gains
        Figures of both together less this part's, paired by patient: above 0 both are better.
    """

    figures: dict[str, Interval]
    gains: dict[str, Interval]


@dataclass(frozen=True, eq=False)
class ClassEvaluation:
    """What `lepton evaluate` prints of a classifier.

    Parameters
    ----------
    point
        Names of the classes, and what decided for them.
    unit
        Whom the intervals are drawn by: `patient`, or `image` where nobody is known.
    figures
        With intervals and counts; of several labels the mean over them, and the sum of their counts.
    labels
        Of several labels: the figures of each, by its name.
    position
        Of slices: the AUROC of a slice's place alone; None otherwise.
    answers
        Sample by sample.
    findings
        Of cases that are left out, or remarks, by pseudonym.
    folder
        Where the figures are kept.
    parts
        Of a model with clinical values: `image` and `values`, each alone.
    models
        A sentence on each that was judged.
    """

    point: OperatingPoint
    unit: str
    figures: ClassFigures
    labels: dict[str, ClassFigures]
    position: Interval | None
    answers: tuple[Answer, ...]
    findings: tuple[tuple[str, Finding], ...]
    folder: Path
    parts: dict[str, PartEvaluation] = field(default_factory=dict)
    models: tuple[str, ...] = ()

    def sentences(self) -> list[str]:
        """Return what is told beside the figures: thresholds, the place of slices, the parts alone."""
        lines = []
        if self.point.is_used:
            of = self.point.classes if self.point.holds == "any" else self.point.classes[1:]
            chosen = zip(of, self.point.thresholds, strict=True)
            told = ", ".join(f"{name} {threshold:.2f}" for name, threshold in chosen)
            lines.append(f"Decided from a probability on, as chosen on the validation side: {told}.")
        if self.position is not None:
            lines.append(f"AUROC of a slice's place alone, without its image: {self.position.text(3)}.")
        for name, part in self.parts.items():
            alone = "The image alone" if name == "image" else "The clinical values alone"
            lines += [
                f"{alone}: {NAMES_OF_FIGURES[figure]} {interval.text(3)}; both together less it: "
                f"{part.gains[figure].text(3)}."
                for figure, interval in part.figures.items()
            ]
        return lines


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
    # A fold's threshold was chosen on patients who are test patients of another: each keeps its own.
    point = replace(done[0].point, thresholds=())
    folder = Run(run_folder).evaluation_folder(side)
    models = [told for one in done for told in one.models]
    return _judged(answers, findings, point, unit=done[0].unit, folder=folder, models=models)


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
    classified = collect_classified(choice, pseudonyms, progress)
    judged = cases_of_side(run, side, classified.cases, classified.findings)
    return evaluate_classified(
        load_classifier([run], device),
        run,
        side,
        judged.cases,
        choice,
        classified,
        trained=judged.trained,
        absent=judged.absent,
        progress=progress,
    )


def evaluate_classified(
    model: Classifier,
    run: Run,
    side: str,
    cases: Sequence[Case],
    choice: ClassChoice,
    classified: Classified,
    *,
    trained: frozenset[str] = frozenset(),
    absent: Sequence[tuple[str, Finding]] = (),
    progress: Progress = SILENT,
) -> ClassEvaluation:
    """Classify cases one by one, compare with their classes, and keep the figures.

    Parameters
    ----------
    model, run, side
        What is judged, and where the figures go.
    cases, choice, classified
        What it is judged on.
    trained
        Digests of images that the model has seen: they are left out, with a finding.
    absent
        Cases that can't be judged, with the reason.
    progress
        Told of every case.

    Raises
    ------
    InputError
        No case can be used.
    ConfigError
        The data have other classes than the model.
    """
    plan = model.plan
    require_same_classification(plan, classified, choice)
    scores: list[Score] = []
    findings = list(absent)
    known = set[str]()
    for case, source in read_sources(cases, choice, findings, progress, "classifying"):
        if source.digest in trained:
            message = "The image was trained on, under whatever name."
            findings.append((case.pseudonym, Finding("training_data_in_test", message)))
            known.add(case.study)
            continue
        row = classified.clinical.get(case.pseudonym)
        findings += [(case.pseudonym, one) for one in remarks(row, plan.clinical)]
        scores += model.score(case, source, classified.targets.get(case.pseudonym), row)
    known.discard("")
    left = {one.case for one in scores if one.study in known}
    message = "Another image of its study was trained on, under whatever name."
    findings += [(name, Finding("training_data_in_test", message)) for name in sorted(left)]
    scores = [one for one in scores if one.case not in left]
    if not scores:
        reasons = "; ".join(f"{name}: {finding.sentence()}" for name, finding in findings)
        message = f"No case can be evaluated: {reasons}"
        raise InputError(message)
    unit = "patient" if choice.by_patient else "image"
    point = OperatingPoint(plan.classes, plan.holds, model.thresholds)
    folder, models = run.evaluation_folder(side), [told_model(run, plan, model.digest)]
    return _judged(model.answers(scores), findings, point, unit=unit, folder=folder, models=models)


def _judged(
    answers: Sequence[Answer],
    findings: Sequence[tuple[str, Finding]],
    point: OperatingPoint,
    *,
    unit: str,
    folder: Path,
    models: Sequence[str],
) -> ClassEvaluation:
    figures, labels = _figures(answers, point)
    done = ClassEvaluation(
        point=point,
        unit=unit,
        figures=figures,
        labels=labels,
        position=_position(answers) if answers[0].slice_number is not None else None,
        answers=tuple(answers),
        findings=tuple(findings),
        folder=folder,
        parts=_parts(answers, point),
        models=tuple(models),
    )
    write_text(folder / "cases.csv", answers_csv(answers, point))
    write_json(folder / "metrics.json", evaluation_content(done))
    write_classifier_report(
        judged_of(answers, point),
        answers,
        point,
        {**labels, "mean over the labels": figures} if labels else {"all": figures},
        findings,
        unit=unit,
        path=folder / "report.html",
        models=models,
        beside=done.sentences(),
    )
    return done


def _figures(
    answers: Sequence[Answer], point: OperatingPoint
) -> tuple[ClassFigures, dict[str, ClassFigures]]:
    judged, plain = judged_of(answers, point), np.stack([one.uncalibrated for one in answers])
    keys = [one.patient for one in answers]
    if point.holds == "one":
        return class_figures(judged, plain, keys), {}
    labels = label_figures(judged, plain, keys, point.classes)
    means = mean_figures(judged, plain, keys)
    confusion = np.sum([one.confusion for one in labels.values()], axis=0)
    return ClassFigures(means, confusion, len(answers), len(set(keys))), labels


def _parts(answers: Sequence[Answer], point: OperatingPoint) -> dict[str, PartEvaluation]:
    """Judge image and values alone, where the model has both."""
    keys = [one.patient for one in answers]
    both, parts = judged_of(answers, point), {}
    for head, name in enumerate(PARTS[: len(answers[0].log_odds) - 1], start=1):
        part = judged_of(answers, point, head)
        parts[name] = PartEvaluation(compared_figures(part, keys), paired_figures(both, part, keys))
    return parts


def judged_of(answers: Sequence[Answer], point: OperatingPoint, head: int = 0) -> Judged:
    """Return what a head said of samples whose classes are known, and what is true."""
    targets = np.stack([one.target for one in answers if one.target is not None]).astype(np.float64)
    odds = np.stack([one.log_odds[head] for one in answers])
    return Judged(odds, np.stack([one.decided[head] for one in answers]), targets, point.holds)


def _position(answers: Sequence[Answer]) -> Interval:
    labels = np.array([one.target.argmax() for one in answers if one.target is not None])
    places = np.array([one.from_end_mm for one in answers])
    return position_baseline(places, labels, [one.patient for one in answers])


def evaluation_content(done: ClassEvaluation) -> dict[str, Any]:
    """Return the figures as `metrics.json` keeps them."""
    told = [
        ({"case": name, "code": one.code, "message": one.sentence()}, one.action == "used")
        for name, one in done.findings
    ]
    return {
        "schema_version": 2,
        "task": "classification",
        "classes": list(done.point.classes),
        "holds": done.point.holds,
        "models": list(done.models),
        "intervals_by": done.unit,
        "samples": done.figures.rows,
        f"{done.unit}s": done.figures.keys,
        "thresholds": list(done.point.thresholds) if done.point.is_used else None,
        "figures": _intervals(done.figures),
        "labels": {
            name: {
                "samples": one.rows,
                "figures": _intervals(one),
                "confusion": one.confusion.tolist(),
            }
            for name, one in done.labels.items()
        },
        "auroc_of_slice_position": done.position and asdict(done.position),
        "confusion": done.figures.confusion.tolist(),
        "alone": {name: asdict(part) for name, part in done.parts.items()},
        "left_out": [entry for entry, is_used in told if not is_used],
        "remarks": [entry for entry, is_used in told if is_used],
    }


def _intervals(figures: ClassFigures) -> dict[str, Any]:
    return {name: asdict(interval) for name, interval in figures.figures.items()}
