"""What is printed of classifiers: text for a person, and the same as one document."""

from collections.abc import Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lepton_monai.cli.tables import finding_document, findings_text, refused_text, table
from lepton_monai.core.errors import PartlyDoneError
from lepton_monai.core.wording import counted

if TYPE_CHECKING:  # each verb's own command imports it; the others shall not pay for it
    from lepton_monai.evaluation.classification import ClassFigures
    from lepton_monai.inference.decision import Decision
    from lepton_monai.plans.classification import ClassificationPlan
    from lepton_monai.verbs.check_classifier import ClassCheckReport
    from lepton_monai.verbs.compare_classifiers import ClassComparison
    from lepton_monai.verbs.evaluate_classifier import ClassEvaluation
    from lepton_monai.verbs.predict_classifier import ClassPredictReport
    from lepton_monai.verbs.train import TrainReport

MOST_ROWS = 40
"""Predictions on the terminal; all are in the table on disk."""


def check_text(found: "ClassCheckReport", roots: Sequence[Path] = ()) -> str:
    """Return the classes by side, and the findings."""
    rows = [
        (side, str(found.keys[side]), str(found.samples[side]), *_counts(counts, found.unknown[side]))
        for side, counts in found.counts.items()
    ]
    head = ("side", f"{found.unit}s", "samples", *found.classes)
    note = "" if found.unit == "patient" else "No patients are known: the split is by image."
    note += refused_text(found.refused)
    told = findings_text(found.findings, roots)
    return "\n\n".join(part for part in (told, table(head, rows), note.lstrip()) if part)


def _counts(counts: Sequence[int], unknown: Sequence[int]) -> list[str]:
    return [
        f"{count} ({missing} unknown)" if missing else str(count)
        for count, missing in zip(counts, unknown, strict=True)
    ]


def check_document(found: "ClassCheckReport") -> dict[str, Any]:
    """Return the same as one document."""
    return {
        "schema_version": 2,
        "classes": list(found.classes),
        "split_by": found.unit,
        "sides": {
            side: {
                f"{found.unit}s": found.keys[side],
                "samples": found.samples[side],
                "classes": dict(zip(found.classes, counts, strict=True)),
                "unknown": dict(zip(found.classes, found.unknown[side], strict=True)),
            }
            for side, counts in found.counts.items()
        },
        "findings": [finding_document(name, finding) for name, finding in found.findings],
        "refused": list(found.refused),
    }


def train_text(done: "TrainReport[ClassificationPlan, ClassEvaluation]", roots: Sequence[Path] = ()) -> str:
    """Return what was trained on, the validation figures, and where the run is."""
    training, size = done.plan.training, done.plan.input.size
    sides = " x ".join(str(side) for side in size if side > 1)
    said = (
        f"Trained {counted(training.steps, 'step')} of {counted(training.batch_size, 'image')} of {sides} "
        f"in {training.precision} on {counted(done.trained_on, 'sample')} of "
        f"{counted(len(done.plan.classes), 'class')}."
    )
    parts = [findings_text(done.findings, roots), said]
    if done.validation is not None:
        parts.append(_decisions_text(done))
        parts.append(evaluate_text(done.validation, "validation"))
    parts.append(f"The run is in {done.run.folder}; its test cases were not opened.")
    return "\n\n".join(part for part in parts if part)


def _decisions_text(done: "TrainReport[ClassificationPlan, ClassEvaluation]") -> str:
    from lepton_monai.inference.decision import read_decisions

    several = done.plan.holds == "any"
    lines = []
    names = done.plan.classes if several else ("",)
    for name, one in zip(names, read_decisions(done.run), strict=True):
        threshold = f", the threshold {one.threshold:.2f}" if several or len(done.plan.classes) == 2 else ""
        lines.append(
            f"{name + ': t' if several else 'T'}he temperature is {one.temperature:.2f}{threshold}, "
            f"chosen on {counted(one.n, 'validation sample')}.{_limit_text(one)}"
        )
    return "\n".join(lines)


def _limit_text(one: "Decision") -> str:
    if not one.at_limit:
        return ""
    if one.temperature == 1.0:
        return (
            " They are too few or too easy to tell apart to say how sure the network may be: its own "
            "confidence stays."
        )
    return " It is the highest that is tried: the network hardly tells them apart."


def train_document(done: "TrainReport[ClassificationPlan, ClassEvaluation]") -> dict[str, Any]:
    """Return the outcome of a training as one document."""
    from lepton_monai.inference.decision import read_decisions

    return {
        "schema_version": 2,
        "run": str(done.run.folder),
        "steps": done.plan.training.steps,
        "training_samples": done.trained_on,
        "decisions": [asdict(one) for one in read_decisions(done.run)],
        "validation": evaluate_document(done.validation) if done.validation else None,
        "findings": [finding_document(name, finding) for name, finding in done.findings],
    }


def evaluate_text(done: "ClassEvaluation", side: str = "") -> str:
    """Return every figure with its interval, and who was taken for what; of several labels, of each."""
    figures = done.figures
    parts = [findings_text(done.findings)]
    for name, one in done.labels.items():
        parts.append(table((name, "said no", "said yes"), _confusion(one, ("no", "yes"))))
        parts.append(figure_lines(one, side))
    if done.labels:
        parts.append("The mean over the labels:")
    else:
        classes = done.point.classes
        parts.append(table(("truth", *classes), _confusion(figures, classes)))
        if len(classes) == 2:
            parts.append(f"Sensitivity, AUPRC and F1 are of `{classes[1]}`, specificity of `{classes[0]}`.")
    lines = [figure_lines(figures, side)]
    lines += [f"{side} - {line}" if side else line for line in done.sentences()]
    drawn = (
        f"{counted(figures.rows, 'sample')} of {counted(figures.keys, done.unit)}; intervals (95 %) are "
        f"drawn by {done.unit}."
    )
    if done.unit == "image":
        drawn += " No patients are known: images of one person may stand on both sides."
    parts += ["\n".join(lines), drawn]
    return "\n\n".join([*(part for part in parts if part), f"Figures are in {done.folder}."])


def figure_lines(figures: "ClassFigures", side: str) -> str:
    """Return one line a figure that is defined, and one for all that are not, with the reason."""
    from lepton_monai.evaluation.classification import NAMES_OF_FIGURES

    if not figures.rows:
        return "It is known of no sample."
    known = {
        told: figures.figures[name] for name, told in NAMES_OF_FIGURES.items() if name in figures.figures
    }
    undefined = [told for told, interval in known.items() if isnan(interval.mean)]
    lines = [f"{told}: {interval.text(3)}." for told, interval in known.items() if told not in undefined]
    if undefined:
        lines.append(f"Undefined, for want of samples of every class: {', '.join(undefined)}.")
    return "\n".join(f"{side} - {line}" if side else line for line in lines)


def _confusion(figures: "ClassFigures", names: Sequence[str]) -> list[tuple[str, ...]]:
    rows = zip(names, figures.confusion, strict=True)
    return [(name, *(str(count) for count in counts)) for name, counts in rows]


def evaluate_document(done: "ClassEvaluation") -> dict[str, Any]:
    """Return the figures as one document; an undefined one is null."""
    from lepton_monai.core.files import without_nan
    from lepton_monai.verbs.evaluate_classifier import evaluation_content

    content: dict[str, Any] = without_nan(evaluation_content(done))
    return content | {"folder": str(done.folder)}


def compare_text(done: "ClassComparison") -> str:
    """Return both runs, and by how much the first is better."""
    from lepton_monai.evaluation.classification import NAMES_OF_FIGURES

    both = [
        f"{which}: {one.folder}\n\n{evaluate_text(one)}"
        for which, one in (("First", done.first), ("Second", done.second))
    ]
    lines = [
        f"{NAMES_OF_FIGURES[name]}, the first less the second: {interval.text(3)}."
        for name, interval in done.differences.items()
    ]
    paired = f"Paired by {done.first.unit} on {counted(done.samples, 'sample')}:"
    return "\n\n".join([*both, paired, "\n".join(lines)])


def compare_document(done: "ClassComparison") -> dict[str, Any]:
    """Return both runs and their differences as one document."""
    from lepton_monai.core.files import without_nan

    differences = {name: asdict(interval) for name, interval in done.differences.items()}
    return {
        "schema_version": 1,
        "first": evaluate_document(done.first),
        "second": evaluate_document(done.second),
        "samples_of_both": done.samples,
        "first_less_second": without_nan(differences),
    }


def predict_text(done: "ClassPredictReport", roots: Sequence[Path] = ()) -> str:
    """Return one line a sample, what was passed over, and where the table is."""
    rows = []
    for record in done.records[:MOST_ROWS]:
        place = "" if record["slice"] is None else str(record["slice"])
        shares = ", ".join(f"{name} {value:.3f}" for name, value in record["probabilities"].items())
        rows.append((record["case"], record["patient"], place, _decision(record["decision"]), shares))
    undecided = sum(_is_open(record["decision"]) for record in done.records)
    left = len(done.records) - len(rows)
    more = f" {left} more are in the table." if left else ""
    ending = (
        f"{len(done.records)} classified, {undecided} of them without a decision; "
        f"{len(done.failed)} failed, {len(done.passed_over)} series passed over.{more} "
        f"The table is {done.out / 'predictions.csv'}."
    )
    named = [*done.failed, *done.findings, *done.passed_over]
    head = ("case", "patient", "slice", "decision", "probabilities")
    return "\n\n".join(part for part in (findings_text(named, roots), table(head, rows), ending) if part)


def _decision(decision: str | dict[str, bool | None] | None) -> str:
    """Return the class, or the labels that hold and those that aren't decided."""
    if not isinstance(decision, dict):
        return decision or "(none)"
    told = [name if holds else f"{name}?" for name, holds in decision.items() if holds is not False]
    return ", ".join(told) or "none of them"


def _is_open(decision: str | dict[str, bool | None] | None) -> bool:
    return None in decision.values() if isinstance(decision, dict) else decision is None


def predict_document(done: "ClassPredictReport") -> dict[str, Any]:
    """Return the predictions as one document."""
    return {
        "schema_version": 1,
        "out": str(done.out),
        "classes": list(done.classes),
        "predictions": list(done.records),
        "failed": [finding_document(name, finding) for name, finding in done.failed],
        "passed_over": [finding_document(name, finding) for name, finding in done.passed_over],
        "findings": [finding_document(name, finding) for name, finding in done.findings],
    }


def require_all_done(done: "ClassPredictReport") -> None:
    """Raise `PartlyDoneError` where something that fits the model failed."""
    if done.failed:
        names = ", ".join(name for name, _ in done.failed)
        message = f"{len(done.failed)} could not be classified: {names}. The rest is done."
        raise PartlyDoneError(message)
