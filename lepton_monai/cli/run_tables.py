"""What is printed of runs: plans, trainings, figures; text for a person, and the same as one document."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_monai.cli import class_tables
from lepton_monai.cli.tables import (
    finding_document,
    findings_text,
    interval_document,
    number_or_null,
    rounded,
    table,
)
from lepton_monai.core.wording import counted

if TYPE_CHECKING:  # each verb's own command imports it; the others shall not pay for it
    from lepton_monai.evaluation.intervals import Interval
    from lepton_monai.plans.classification import ClassificationPlan
    from lepton_monai.plans.plan import Plan
    from lepton_monai.verbs.evaluate import Comparison, Evaluation
    from lepton_monai.verbs.folds import FoldsReport
    from lepton_monai.verbs.train import AnyReport, TrainReport


def plan_text(plan: "Plan | ClassificationPlan") -> str:
    """Return a plan, of any task, as it would be kept: every value, with the reasons at its end."""
    from lepton_monai.plans.plan import plan_text as as_yaml

    return f"{as_yaml(plan)}\nThe steps are measured when the training starts; nothing was trained."


def plan_document(plan: "Plan | ClassificationPlan") -> dict[str, Any]:
    """Return a plan as one document."""
    return asdict(plan)


def train_text(done: "TrainReport[Plan, Evaluation]", roots: Sequence[Path] = ()) -> str:
    """Return what was trained on, the validation figures, and where the run is."""
    training = done.plan.training
    patch = " x ".join(str(side) for side in training.patch_size)
    said = (
        f"Trained {counted(training.steps, 'step')} of {counted(training.batch_size, 'patch')} of {patch} "
        f"voxels in {training.precision} on {counted(done.trained_on, 'case')}."
    )
    parts = [findings_text(done.findings, roots), said]
    if done.validation is not None:
        parts.append(evaluate_text(done.validation, "validation"))
    parts.append(f"The run is in {done.run.folder}; its test cases were not opened.")
    return "\n\n".join(part for part in parts if part)


def train_document(done: "TrainReport[Plan, Evaluation]") -> dict[str, Any]:
    """Return the outcome of a training as one document."""
    return {
        "schema_version": 1,
        "run": str(done.run.folder),
        "steps": done.plan.training.steps,
        "training_cases": done.trained_on,
        "validation": evaluate_document(done.validation) if done.validation else None,
        "findings": [finding_document(name, finding) for name, finding in done.findings],
    }


def folds_text(done: "FoldsReport", roots: Sequence[Path] = ()) -> str:
    """Return what was trained of every fold, and what to do with all of them."""
    parts = [_trained_text(one, roots) for one in done.trained]
    said = f"Trained {counted(len(done.trained), 'fold')}"
    said += f"; {done.already_there} there already." if done.already_there else "."
    parts.append(f"{said} `lepton evaluate {done.folder}` judges each on its own test side.")
    return "\n\n".join(parts)


def _trained_text(one: "AnyReport", roots: Sequence[Path] = ()) -> str:
    return train_text(one, roots) if one.run.task == "segmentation" else class_tables.train_text(one, roots)


def _trained_document(one: "AnyReport") -> dict[str, Any]:
    return train_document(one) if one.run.task == "segmentation" else class_tables.train_document(one)


def folds_document(done: "FoldsReport") -> dict[str, Any]:
    """Return the outcome of all folds as one document."""
    return {
        "schema_version": 1,
        "run": str(done.folder),
        "folds": [_trained_document(one) for one in done.trained],
        "already_there": done.already_there,
    }


def evaluate_text(done: "Evaluation", side: str = "") -> str:
    """Return the figures of every case and the means with intervals."""
    baselines = done.baselines
    above = f"above {baselines.threshold_value:g}" if baselines.threshold is not None else ""
    head = ["case", "patient", "class", "Dice", "surface Dice", "HD95 (mm)", "volume (ml)", "truth (ml)"]
    head += ["ellipsoid"] if baselines.ellipsoid is not None else []
    head += [above] if above else []
    rows = []
    for row in done.cases:
        figures = row.figures
        cells = [row.name, row.patient, row.class_name, rounded(row.dice), rounded(figures.nsd)]
        cells += [f"{figures.hd95_mm:.1f}", f"{figures.volume_ml:.1f}", f"{figures.truth_ml:.1f}"]
        cells += [rounded(row.ellipsoid_dice)] if baselines.ellipsoid is not None else []
        cells += [rounded(row.threshold_dice)] if above else []
        rows.append(cells)
    lines = [f"Mean Dice of {name}: {interval.text()}." for name, interval in done.dice.items()]
    lines += baselines.sentences(next(iter(done.dice.values())))
    lines = [f"{side} - {line}" if side else line for line in lines]
    parts = [findings_text(done.findings), table(head, rows), "\n".join(lines)]
    parts.append(figures_beside_dice(done.summary, done.cases[0].figures.tolerance_mm))
    parts.append(f"Figures are in {done.folder}.")
    return "\n\n".join(part for part in parts if part)


def figures_beside_dice(summary: "Mapping[str, Mapping[str, Interval]]", tolerance_mm: float) -> str:
    """Return the other figures of each class; those that none has stand in one line, with the reason."""
    from lepton_monai.evaluation.summary import FIGURES

    undefined, rows = [], []
    for figure, told in FIGURES.items():
        if figure == "dice":
            continue
        said = told.format(tolerance=tolerance_mm)
        intervals = [of_class.get(figure) for of_class in summary.values()]
        if all(one is None or isnan(one.mean) for one in intervals):
            undefined.append(said)
        else:
            rows.append([said, *("" if one is None else one.text() for one in intervals)])
    parts = [table(["over patients", *summary], rows)] if rows else []
    if undefined:
        why = "since nothing was there or nothing was found"
        parts.append(f"Undefined in every patient, {why}: {', '.join(undefined)}.")
    return "\n".join(parts)


def evaluate_document(done: "Evaluation") -> dict[str, Any]:
    """Return the figures as one document; an undefined one is null."""
    baselines = done.baselines
    return {
        "schema_version": 2,
        "figures": {
            name: {figure: interval_document(interval) for figure, interval in intervals.items()}
            for name, intervals in done.summary.items()
        },
        "centred_ellipsoid": interval_document(baselines.ellipsoid) if baselines.ellipsoid else None,
        "threshold": interval_document(baselines.threshold) if baselines.threshold else None,
        "threshold_value": baselines.threshold_value,
        "cases": [
            {
                name: number_or_null(value) if isinstance(value, float) else value
                for name, value in row.cells().items()
            }
            for row in done.cases
        ],
        "findings": [finding_document(name, finding) for name, finding in done.findings],
        "folder": str(done.folder),
    }


def compare_text(done: "Comparison") -> str:
    """Return both runs, and by how much the first is better."""
    lines = [
        f"Dice of {name}, the first less the second: {interval.text()}."
        for name, interval in done.differences.items()
    ]
    both = [
        f"{which}: {one.folder}\n\n{evaluate_text(one)}"
        for which, one in (("First", done.first), ("Second", done.second))
    ]
    return "\n\n".join([*both, "Paired by patient:", "\n".join(lines)])


def compare_document(done: "Comparison") -> dict[str, Any]:
    """Return both runs and their differences as one document."""
    return {
        "schema_version": 1,
        "first": evaluate_document(done.first),
        "second": evaluate_document(done.second),
        "dice_first_less_second": {
            name: interval_document(interval) for name, interval in done.differences.items()
        },
    }
