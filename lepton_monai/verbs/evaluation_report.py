"""What `lepton evaluate` tells of a segmentation, as one file to read, send and print."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from math import isnan
from pathlib import Path

from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import counted
from lepton_monai.evaluation.intervals import Interval
from lepton_monai.evaluation.lesions import count
from lepton_monai.evaluation.summary import ALL_CLASSES, FIGURES, CaseFigures, by_patient
from lepton_monai.exports.plots import Group, agreement, spread
from lepton_monai.exports.report import NO_DEVICE, Picture, Section, Table, left_out, write_report
from lepton_monai.verbs.records import made_by

MEANINGS = {
    "dice": "twice the volume in common over the sum of both volumes; 1 is best",
    "iou": "the volume in common over that of both together; 1 is best",
    "nsd": "share of both surfaces that lies within this distance of the other; 1 is best",
    "hd95_mm": "95 % of both surfaces lie nearer to the other than this; 0 is best",
    "assd_mm": "how far the surfaces lie apart, on average; 0 is best",
    "volume_error_percent": "above 0 the prediction is too large",
    "lesion_sensitivity": "of the truth's separate parts, those that a part of the prediction hits",
    "lesion_precision": "of the prediction's separate parts, those that hit one of the truth's",
}

WORST = 4
"""So many cases are shown: who trusts a model has seen where it fails."""


def write_evaluation_report(
    cases: Sequence[CaseFigures],
    summary: Mapping[str, Mapping[str, Interval]],
    findings: Sequence[tuple[str, Finding]],
    pictures: Mapping[str, Path],
    path: Path,
    *,
    models: Sequence[str],
    beside: Sequence[str],
) -> None:
    """Write figures with intervals, every case, and the worst ones as pictures.

    Parameters
    ----------
    cases, summary, findings
        As the evaluation has them.
    pictures
        PNG files by the name of the case: of the worst ones at least.
    path
        To make, or to replace.
    models
        A sentence on each model that was judged.
    beside
        What is told beside the figures: of baselines.
    """
    classes = [name for name in summary if name != ALL_CLASSES]
    patients = {row.patient for row in cases}
    side = path.parent.name
    lead = [
        NO_DEVICE,
        f"{counted(len({row.name for row in cases}), 'case')} of {counted(len(patients), 'patient')}, side "
        f"{side}; {made_by()}. All names are pseudonyms. Figures are on the grid of the source; means are "
        "over patients, with 95 % intervals (BCa bootstrap).",
        *models,
    ]
    sections = [
        Section("Figures", beside, [_means(summary, cases[0].figures.tolerance_mm)]),
        Section("Dice of each patient", parts=[_dice(cases, summary, classes)]),
        Section("Volumes", parts=[_volumes(cases, classes)]),
        Section("The worst cases", _why_worst(cases), _worst(cases, pictures)),
        Section("Every case, the worst first", parts=[_rows(cases)]),
        Section("Left out", parts=left_out(findings)),
    ]
    write_report(f"Segmentation of {', '.join(classes)}", lead, sections, path)


def worst_cases(cases: Sequence[CaseFigures]) -> list[str]:
    """Return the names of cases by their least Dice, the worst first; those without any are left out."""
    least: dict[str, float] = {}
    for row in cases:
        if not isnan(row.dice):
            least[row.name] = min(row.dice, least.get(row.name, 1.0))
    return sorted(least, key=lambda name: (least[name], name))


def _means(summary: Mapping[str, Mapping[str, Interval]], tolerance_mm: float) -> Table:
    rows = [
        [
            told.format(tolerance=tolerance_mm),
            *(_text(of.get(figure)) for of in summary.values()),
            MEANINGS[figure],
        ]
        for figure, told in FIGURES.items()
    ]
    return Table(["over patients", *summary, "what it is"], rows)


def _text(interval: Interval | None) -> str:
    return "" if interval is None else interval.text()


def _dice(
    cases: Sequence[CaseFigures], summary: Mapping[str, Mapping[str, Interval]], classes: Sequence[str]
) -> Picture:
    groups = {}
    for name in classes:
        mean = summary[name]["dice"]
        values = by_patient([row for row in cases if row.class_name == name], "dice")
        groups[name] = Group(list(values.values()), mean.mean, mean.low, mean.high)
    return Picture(
        spread(groups, "Dice"), "A dot a patient; the diamond is their mean, the line its interval."
    )


def _volumes(cases: Sequence[CaseFigures], classes: Sequence[str]) -> Picture:
    points = {
        name: [(row.figures.truth_ml, row.figures.volume_ml) for row in cases if row.class_name == name]
        for name in classes
    }
    return Picture(agreement(points, "ml"), "On the line, prediction and truth are equally large.")


def _why_worst(cases: Sequence[CaseFigures]) -> list[str]:
    shown = min(WORST, len(worst_cases(cases)))
    return (
        [f"{counted(shown, 'case')} with the least Dice: filled the prediction, dashed in white the truth."]
        if shown
        else []
    )


def _worst(cases: Sequence[CaseFigures], pictures: Mapping[str, Path]) -> list[Picture]:
    dice = {name: [row for row in cases if row.name == name] for name in worst_cases(cases)[:WORST]}
    return [
        Picture(
            pictures[name].read_bytes(),
            f"{name}: " + ", ".join(f"{row.class_name} {_rounded(row.dice)}" for row in rows),
        )
        for name, rows in dice.items()
        if name in pictures
    ]


def _rows(cases: Sequence[CaseFigures]) -> Table:
    order = {name: place for place, name in enumerate(worst_cases(cases))}
    ordered = sorted(cases, key=lambda row: (order.get(row.name, len(order)), row.name, row.class_name))
    head = ["case", "patient", "class", "Dice", "surface Dice", "HD95 (mm)", "volume (ml)", "truth (ml)"]
    head += ["lesions found", "missed", "false"]
    rows = [
        [
            row.name,
            row.patient,
            row.class_name,
            _rounded(row.dice),
            _rounded(row.figures.nsd),
            _rounded(row.figures.hd95_mm, 1),
            f"{row.figures.volume_ml:.1f}",
            f"{row.figures.truth_ml:.1f}",
            *(str(number) for number in astuple(count(row.figures.lesions))),
        ]
        for row in ordered
    ]
    note = "Undefined: the class is neither there nor found, or one of both is empty."
    return Table(head, rows, note if any("undefined" in row for row in rows) else "")


def _rounded(value: float, decimals: int = 3) -> str:
    return "undefined" if isnan(value) else f"{value:.{decimals}f}"
