"""What `lepton evaluate` tells of a classifier, as one file to read, send and print."""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path

import numpy as np
from scipy import special

from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import counted
from lepton_monai.evaluation.classes import Labels, Scores, reliability, roc
from lepton_monai.evaluation.classification import NAMES_OF_FIGURES, ClassFigures, Judged
from lepton_monai.evaluation.intervals import Interval
from lepton_monai.exports.plots import unit_square
from lepton_monai.exports.report import NO_DEVICE, Picture, Section, Table, left_out, write_report
from lepton_monai.inference.classifier import Answer
from lepton_monai.verbs.class_answers import OperatingPoint
from lepton_monai.verbs.records import made_by

MOST_WRONG = 50
"""Answers that the report lists; `cases.csv` has all."""


def write_classifier_report(
    judged: Judged,
    answers: Sequence[Answer],
    point: OperatingPoint,
    figures: Mapping[str, ClassFigures],
    findings: Sequence[tuple[str, Finding]],
    *,
    unit: str,
    path: Path,
    models: Sequence[str],
    beside: Sequence[str],
) -> None:
    """Write figures with intervals, ROC and calibration, who was taken for what, and the surest mistakes.

    Parameters
    ----------
    judged, answers, point, findings
        As the evaluation has them.
    figures
        By what they are of: all classes, or each label and their mean.
    unit
        Whom the intervals are drawn by.
    path
        To make, or to replace.
    models
        A sentence on each model that was judged.
    beside
        What is told beside the figures.
    """
    keys = {one.patient for one in answers}
    lead = [
        NO_DEVICE,
        f"{counted(len(answers), 'sample')} of {counted(len(keys), unit)}, side {path.parent.name}; "
        f"{made_by()}. All names are pseudonyms. Intervals of 95 % are drawn by {unit}.",
        *models,
    ]
    if unit == "image":
        lead.append("No patients are known: images of one person may stand on both sides.")
    each = list(_each_class(judged, point))
    sections = [
        Section("Figures", beside, [_figures(figures, point)]),
        Section("ROC", parts=[_roc(each)]),
        Section("Calibration", parts=[_calibration(each)]),
        Section("Truth and decision", parts=list(_confusions(figures, point))),
        Section("Mistakes, the surest first", parts=list(_mistakes(answers, point))),
        Section("Left out, and remarks", parts=left_out(findings)),
    ]
    write_report(f"Classification: {', '.join(point.classes)}", lead, sections, path)


def _each_class(judged: Judged, point: OperatingPoint) -> Iterator[tuple[str, Scores, Labels]]:
    """Yield name, log-odds and truth of each class against the rest; of two classes of the second alone."""
    first = 1 if point.holds == "one" and len(point.classes) == 2 else 0
    for at, name in list(enumerate(point.classes))[first:]:
        known = np.isfinite(judged.targets[:, at])
        yield name, judged.log_odds[known, at], judged.targets[known, at].astype(np.int64)


def _figures(figures: Mapping[str, ClassFigures], point: OperatingPoint) -> Table:
    rows = [
        [told, *(_text(one.figures.get(name)) for one in figures.values())]
        for name, told in NAMES_OF_FIGURES.items()
        if any(name in one.figures for one in figures.values())
    ]
    notes = []
    if point.holds == "one" and len(point.classes) == 2:
        first, second = point.classes
        notes.append(f"Sensitivity, AUPRC and F1 are of {second}, specificity of {first}.")
    if any("undefined" in row for row in rows):
        notes.append("Undefined: not every class has samples.")
    return Table(["", *figures], rows, " ".join(notes))


def _text(interval: Interval | None) -> str:
    if interval is None:
        return ""
    return "undefined" if isnan(interval.mean) else interval.text(3)


def _roc(each: Sequence[tuple[str, Scores, Labels]]) -> Picture:
    lines = {name: roc(odds, truth) for name, odds, truth in each}
    drawn = {name: line for name, line in lines.items() if np.isfinite(line).all()}
    caption = "Each class against the rest, over all thresholds. On the diagonal a coin is as good."
    return Picture(unit_square(drawn, "1 - specificity", "sensitivity"), caption)


def _calibration(each: Sequence[tuple[str, Scores, Labels]]) -> Picture:
    lines = {name: reliability(special.expit(odds), truth) for name, odds, truth in each}
    caption = (
        "Samples in ten groups by what the model says, after the temperature. On the diagonal, of those "
        "with 70 % seven in ten hold."
    )
    return Picture(unit_square(lines, "mean probability", "share that holds", "o"), caption)


def _confusions(figures: Mapping[str, ClassFigures], point: OperatingPoint) -> Iterator[Table]:
    several = point.holds == "any"
    for title, one in figures.items():
        if several and (title not in point.classes or not one.rows):
            continue  # the mean over the labels, or a label of which nothing is known
        names = ("no", "yes") if several else point.classes
        rows = [
            [name, *(str(count) for count in counts)]
            for name, counts in zip(names, one.confusion, strict=True)
        ]
        yield Table([f"{title}: truth" if several else "truth", *(f"said {name}" for name in names)], rows)


def _mistakes(answers: Sequence[Answer], point: OperatingPoint) -> Iterator[Table]:
    rows = sorted(_wrong(answers, point), key=lambda row: (-row[0], row[1]))
    if not rows:
        return
    shown = [[*cells, f"{sure:.3f}"] for sure, cells in rows[:MOST_WRONG]]
    more = f"{MOST_WRONG} of {len(rows)}; " if len(rows) > MOST_WRONG else ""
    head = ["case", "patient", "slice", "truth", "decision", "probability of the decision"]
    yield Table(head, shown, f"{more}cases.csv beside this file has every answer.")


def _wrong(answers: Sequence[Answer], point: OperatingPoint) -> Iterator[tuple[float, list[str]]]:
    """Yield how sure a wrong decision was, and its cells; of several labels one for each."""
    for answer in answers:
        if answer.target is None:
            continue
        place = "" if answer.slice_number is None else str(answer.slice_number)
        about = [answer.case, answer.patient, place]
        if point.holds == "one":
            truth, said = int(answer.target.argmax()), int(answer.decided[0].argmax())
            if truth != said:
                words = [point.classes[truth], point.classes[said]]
                yield float(answer.probabilities[said]), [*about, *words]
            continue
        for at, name in enumerate(point.classes):
            holds, said = answer.target[at], bool(answer.decided[0][at])
            if np.isfinite(holds) and bool(holds) != said:
                words = [f"{name}: {'yes' if one else 'no'}" for one in (holds, said)]
                sure = float(answer.probabilities[at])
                yield (sure if said else 1.0 - sure), [*about, *words]
