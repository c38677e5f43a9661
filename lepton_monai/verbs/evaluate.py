"""`lepton evaluate`: figures of a run on the source grid, case by case, with intervals."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lepton_monai.cases.case import Case, LoadedCase, load_case
from lepton_monai.cases.collect import DataChoice, collect
from lepton_monai.config.load import load_config
from lepton_monai.core.errors import InputError
from lepton_monai.core.files import write_json, write_text
from lepton_monai.core.findings import Finding, records_of
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.evaluation.baselines import Baselines, above, centred_ellipsoid
from lepton_monai.evaluation.intervals import Interval
from lepton_monai.evaluation.overlap import dice
from lepton_monai.evaluation.segmentation import figures
from lepton_monai.evaluation.summary import CaseFigures, differences, over_patients, summary
from lepton_monai.exports.overlay import write_overlay
from lepton_monai.inference.model import Model, load_model
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.run import Run, open_runs
from lepton_monai.training.devices import choose_device
from lepton_monai.verbs.evaluation_report import WORST, worst_cases, write_evaluation_report
from lepton_monai.verbs.records import told_model
from lepton_monai.verbs.sides import Side, cases_of_side


@dataclass(frozen=True)
class Evaluation:
    """What `lepton evaluate` prints.

    Parameters
    ----------
    cases
        Sorted by name.
    summary
        Of each class, and of all under ``mean``: intervals by the names of the figures.
    baselines
        Of a task with one class.
    findings
        Of cases that are left out, with their name.
    folder
        Where the figures are kept.
    pictures
        Of the worst cases, by name.
    models
        A sentence on each that was judged.
    """

    cases: tuple[CaseFigures, ...]
    summary: dict[str, dict[str, Interval]]
    baselines: Baselines
    findings: tuple[tuple[str, Finding], ...]
    folder: Path
    pictures: Mapping[str, Path]
    models: tuple[str, ...]

    @property
    def dice(self) -> dict[str, Interval]:
        """Mean over patients of each class, and of all classes under ``mean``."""
        return {name: intervals["dice"] for name, intervals in self.summary.items()}


@dataclass(frozen=True)
class Comparison:
    """What `lepton evaluate RUN RUN` prints.

    Parameters
    ----------
    first, second
        Each run by itself.
    differences
        The first's Dice less the second's, of each class, paired by patient.
    """

    first: Evaluation
    second: Evaluation
    differences: dict[str, Interval]


@dataclass(frozen=True)
class Judging:
    """How predictions are judged.

    Parameters
    ----------
    threshold
        Of the baseline; None: without.
    tolerance_mm
        Of the normalised surface Dice.
    hit_iou
        What a component has to exceed to hit a lesion.
    """

    threshold: float | None
    tolerance_mm: float
    hit_iou: float


def compare(
    first: Path,
    second: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    side: Side = "test",
    changes: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = SILENT,
) -> Comparison:
    """Evaluate two runs on the same patients, and pair them.

    Parameters
    ----------
    first, second
        Folders of runs of one task.
    pseudonyms, side, changes, device, progress
        As `evaluate` has them.

    Raises
    ------
    InputError
        The runs have other classes, or no patient in common.
    """
    done = [
        evaluate(
            folder, pseudonyms=pseudonyms, side=side, changes=changes, device=device, progress=progress
        )
        for folder in (first, second)
    ]
    classes = [tuple(dict.fromkeys(row.class_name for row in one.cases)) for one in done]
    found = differences(done[0].cases, done[1].cases, sorted(classes[0]))
    if set(classes[0]) != set(classes[1]) or not any(one.n for one in found.values()):
        message = f"{first} and {second} have no classes and patients in common: they can't be paired."
        raise InputError(message)
    return Comparison(done[0], done[1], found)


def evaluate(
    run_folder: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    side: Side = "test",
    changes: Sequence[str] = (),
    device: str = "auto",
    progress: Progress = SILENT,
) -> Evaluation:
    """Predict the cases of one side of a run's split and compare them with their labels.

    Parameters
    ----------
    run_folder
        Of a run; or of the runs of all folds: each is judged on its own side, and all cases are summed up.
    pseudonyms
        With the salt of the training, so that cases have the same names; None: the user's.
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
    where = choose_device(device)
    names = pseudonyms or load_pseudonyms()
    runs = open_runs(run_folder)
    done = [_evaluated(run, names, side, changes=changes, device=where, progress=progress) for run in runs]
    if len(done) == 1:
        return done[0]
    total = _summed(
        [row for one in done for row in one.cases],
        [finding for one in done for finding in one.findings],
        runs[0].plan().classes,
        threshold=done[0].baselines.threshold_value,
        folder=Run(run_folder).evaluation_folder(side),
        pictures={name: path for one in done for name, path in one.pictures.items()},
        models=[told for one in done for told in one.models],
    )
    _write(total)
    return total


def _evaluated(
    run: Run,
    pseudonyms: Pseudonyms,
    side: Side,
    *,
    changes: Sequence[str],
    device: torch.device,
    progress: Progress,
) -> Evaluation:
    config = load_config(run.config_path, changes)
    data = config.data_choice()
    here = collect(data, pseudonyms, progress)
    judged = cases_of_side(run, side, here.cases, here.findings)
    return evaluate_cases(
        load_model([run], device),
        run,
        side,
        judged.cases,
        data,
        judging=Judging(**config.evaluate.model_dump()),
        trained=judged.trained,
        absent=judged.absent,
        progress=progress,
    )


def evaluate_cases(
    model: Model,
    run: Run,
    side: str,
    cases: Sequence[Case],
    data: DataChoice,
    *,
    judging: Judging,
    trained: frozenset[str] = frozenset(),
    absent: Sequence[tuple[str, Finding]] = (),
    progress: Progress = SILENT,
) -> Evaluation:
    """Predict cases one by one, compare with their labels, and keep the figures in the run.

    Parameters
    ----------
    model, run, side
        What is judged, and where the figures go.
    cases, data
        What it is judged on.
    judging
        How.
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
    """
    rows: list[CaseFigures] = []
    findings = list(absent)
    folder = run.evaluation_folder(side)
    pictures: dict[str, Path] = {}
    for case in progress.track(cases, "predicting", len(cases)):
        loaded = load_case(case, data.label.labels, empty_is_negative=data.label.empty_is_negative)
        if isinstance(loaded, Finding):
            findings.append((case.pseudonym, loaded))
        elif loaded.digest in trained:
            message = "The image was trained on, under whatever patient id."
            findings.append((case.pseudonym, Finding("training_data_in_test", message)))
        else:
            predicted = _predicted(model, loaded)
            if isinstance(predicted, Finding):
                findings.append((case.pseudonym, predicted))
                continue
            rows += _judged(model, loaded, predicted, judging)
            if case.pseudonym in worst_cases(rows)[:WORST]:
                pictures[case.pseudonym] = folder / "pictures" / f"{case.pseudonym}.png"
                write_overlay(loaded.volume, predicted, pictures[case.pseudonym], loaded.mask)
    if not rows:
        reasons = "; ".join(f"{name}: {finding.sentence()}" for name, finding in findings)
        message = f"No {side} case can be evaluated: {reasons}"
        raise InputError(message)
    evaluation = _summed(
        rows,
        findings,
        model.plan.classes,
        threshold=judging.threshold,
        folder=folder,
        pictures=pictures,
        models=[told_model(run, model.plan, model.digest)],
    )
    _write(evaluation)
    return evaluation


def _predicted(model: Model, loaded: LoadedCase) -> Mask | Finding:
    try:
        return model.predict(loaded.volume, loaded.further)
    except InputError as error:
        return Finding("unit_differs", str(error))


def _summed(
    rows: Sequence[CaseFigures],
    findings: Sequence[tuple[str, Finding]],
    classes: Sequence[str],
    *,
    threshold: float | None,
    folder: Path,
    pictures: Mapping[str, Path],
    models: Sequence[str],
) -> Evaluation:
    single = len(classes) == 1
    return Evaluation(
        cases=tuple(sorted(rows, key=lambda row: (row.name, row.class_name))),
        summary=summary(rows, classes),
        baselines=Baselines(
            ellipsoid=over_patients(rows, "ellipsoid_dice") if single else None,
            threshold=over_patients(rows, "threshold_dice") if single and threshold else None,
            threshold_value=threshold,
        ),
        findings=tuple(findings),
        folder=folder,
        pictures=pictures,
        models=tuple(models),
    )


def _judged(model: Model, one: LoadedCase, mask: Mask, judging: Judging) -> list[CaseFigures]:
    predicted = mask.array
    single = len(model.plan.classes) == 1
    rows = []
    for class_id, name in enumerate(model.plan.classes, start=1):
        truth = one.mask.array == class_id
        found = figures(
            predicted == class_id, truth, one.volume.grid, judging.tolerance_mm, judging.hit_iou
        )
        ellipsoid = simple = float("nan")
        if single:
            ellipsoid = dice(centred_ellipsoid(truth.shape), truth)
        if single and judging.threshold is not None:
            simple = dice(above(one.volume.array, judging.threshold), truth)
        rows.append(CaseFigures(one.case.pseudonym, one.case.patient, name, found, ellipsoid, simple))
    return rows


def _write(evaluation: Evaluation) -> None:
    text = io.StringIO()
    rows = [row.cells() for row in evaluation.cases]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(evaluation.folder / "cases.csv", text.getvalue())
    baselines = evaluation.baselines
    metrics = {
        "schema_version": 2,
        "models": list(evaluation.models),
        "tolerance_mm": evaluation.cases[0].figures.tolerance_mm,
        "figures": {
            name: {figure: asdict(interval) for figure, interval in intervals.items()}
            for name, intervals in evaluation.summary.items()
        },
        "baselines": {
            "centred_ellipsoid": baselines.ellipsoid and asdict(baselines.ellipsoid),
            "threshold": baselines.threshold and asdict(baselines.threshold),
            "threshold_value": baselines.threshold_value,
        },
        "left_out": records_of(evaluation.findings),
    }
    write_json(evaluation.folder / "metrics.json", metrics)
    write_evaluation_report(
        evaluation.cases,
        evaluation.summary,
        evaluation.findings,
        evaluation.pictures,
        evaluation.folder / "report.html",
        models=evaluation.models,
        beside=baselines.sentences(next(iter(evaluation.dice.values()))),
    )
