"""`lepton evaluate`: figures of a run on the source grid, case by case, with intervals."""

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from lepton_monai.cases.case import Case, LoadedCase, load_case
from lepton_monai.cases.collect import DataChoice, collect
from lepton_monai.config.load import load_config
from lepton_monai.core.errors import InputError
from lepton_monai.core.files import write_json, write_text
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.evaluation.baselines import above, centred_ellipsoid
from lepton_monai.evaluation.intervals import Interval, mean_interval
from lepton_monai.evaluation.overlap import dice, volume_ml
from lepton_monai.inference.model import Model, load_model
from lepton_monai.plans.run import Run, open_runs, read_split
from lepton_monai.training.devices import choose_device

Side = Literal["test", "validation", "all"]


@dataclass(frozen=True)
class CaseFigures:
    """One class of one case.

    Parameters
    ----------
    dice
        NaN where the class is neither there nor found.
    ellipsoid_dice, threshold_dice
        Of the two baselines; NaN where they make no sense.
    """

    name: str
    patient: str
    class_name: str
    dice: float
    volume_ml: float
    truth_ml: float
    ellipsoid_dice: float
    threshold_dice: float


@dataclass(frozen=True)
class Evaluation:
    """What `lepton evaluate` prints.

    Parameters
    ----------
    cases
        Sorted by name.
    dice
        Mean over patients of each class, and of all classes under ``mean``.
    ellipsoid, threshold
        The same of the baselines; empty where they make no sense.
    findings
        Of cases that are left out, with their name.
    folder
        Where the figures are kept.
    """

    cases: tuple[CaseFigures, ...]
    dice: dict[str, Interval]
    ellipsoid: Interval | None
    threshold: Interval | None
    threshold_value: float | None
    findings: tuple[tuple[str, Finding], ...]
    folder: Path


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
        threshold=done[0].threshold_value,
        folder=Run(run_folder).evaluation_folder(side),
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
    split = read_split(run)
    sides = ["validation", "test"] if side == "all" else [side]
    wanted = {entry["case"] for one in sides for entry in split[one]}
    found = collect(data, pseudonyms, progress).cases
    cases = [case for case in found if case.pseudonym in wanted]
    _require_cases(run, side, wanted, found, cases)
    trained = frozenset(split["image_sha256"].values()) if side == "test" else frozenset()
    return evaluate_cases(
        load_model([run], device),
        run,
        side,
        cases,
        data,
        trained=trained,
        threshold=config.evaluate.threshold,
        progress=progress,
    )


def evaluate_cases(
    model: Model,
    run: Run,
    side: str,
    cases: Sequence[Case],
    data: DataChoice,
    *,
    threshold: float | None,
    trained: frozenset[str] = frozenset(),
    progress: Progress = SILENT,
) -> Evaluation:
    """Predict cases one by one, compare with their labels, and keep the figures in the run.

    Parameters
    ----------
    model, run, side
        What is judged, and where the figures go.
    cases, data
        What it is judged on.
    threshold
        Of the baseline; None: without.
    trained
        Digests of images that the model has seen: they are left out, with a finding.
    progress
        Told of every case.

    Raises
    ------
    InputError
        No case can be used.
    """
    figures: list[CaseFigures] = []
    findings: list[tuple[str, Finding]] = []
    for case in progress.track(cases, "predicting", len(cases)):
        loaded = load_case(case, data.label.labels, empty_is_negative=data.label.empty_is_negative)
        if isinstance(loaded, Finding):
            findings.append((case.pseudonym, loaded))
        elif loaded.digest in trained:
            message = "The image was trained on, under whatever patient id."
            findings.append((case.pseudonym, Finding("training_data_in_test", message)))
        else:
            figures += _figures(model, loaded, threshold)
    if not figures:
        reasons = "; ".join(f"{name}: {finding.sentence()}" for name, finding in findings)
        message = f"No {side} case can be evaluated: {reasons}"
        raise InputError(message)
    evaluation = _summed(
        figures,
        findings,
        model.plan.classes,
        threshold=threshold,
        folder=run.evaluation_folder(side),
    )
    _write(evaluation)
    return evaluation


def _summed(
    figures: Sequence[CaseFigures],
    findings: Sequence[tuple[str, Finding]],
    classes: Sequence[str],
    *,
    threshold: float | None,
    folder: Path,
) -> Evaluation:
    single = len(classes) == 1
    return Evaluation(
        cases=tuple(sorted(figures, key=lambda row: (row.name, row.class_name))),
        dice=_by_class(figures, classes),
        ellipsoid=_over_patients(figures, "ellipsoid_dice") if single else None,
        threshold=_over_patients(figures, "threshold_dice") if single and threshold else None,
        threshold_value=threshold,
        findings=tuple(findings),
        folder=folder,
    )


def _require_cases(
    run: Run, side: str, wanted: set[str], found: Sequence[Case], cases: Sequence[Case]
) -> None:
    if not wanted:
        message = f"The split of {run.folder} has no {side} case."
        raise InputError(message)
    if not cases:
        message = (
            f"None of the {len(wanted)} {side} cases of the run is among the {len(found)} cases "
            "here. Were the data moved (--set data.root=...), or was another salt used (--salt)?"
        )
        raise InputError(message)


def _figures(model: Model, one: LoadedCase, threshold: float | None) -> list[CaseFigures]:
    predicted = model.predict(one.volume).array
    single = len(model.plan.classes) == 1
    undefined = float("nan")
    rows = []
    for class_id, name in enumerate(model.plan.classes, start=1):
        truth = one.mask.array == class_id
        mask = predicted == class_id
        ellipsoid = dice(centred_ellipsoid(truth.shape), truth) if single else undefined
        simple = single and threshold is not None
        rows.append(
            CaseFigures(
                name=one.case.pseudonym,
                patient=one.case.patient,
                class_name=name,
                dice=dice(mask, truth),
                volume_ml=volume_ml(mask, one.volume.grid.voxel_volume_ml),
                truth_ml=volume_ml(truth, one.volume.grid.voxel_volume_ml),
                ellipsoid_dice=ellipsoid,
                threshold_dice=(
                    dice(above(one.volume.array, threshold), truth)
                    if simple and threshold is not None
                    else undefined
                ),
            )
        )
    return rows


def _by_class(figures: Sequence[CaseFigures], classes: Sequence[str]) -> dict[str, Interval]:
    found = {
        name: _over_patients([row for row in figures if row.class_name == name], "dice") for name in classes
    }
    if len(classes) > 1:
        found["mean"] = _over_patients(figures, "dice")
    return found


def _over_patients(figures: Sequence[CaseFigures], field: str) -> Interval:
    """Average each patient's defined values first, so that nobody counts twice."""
    by_patient: dict[str, list[float]] = defaultdict(list)
    for row in figures:
        by_patient[row.patient].append(float(getattr(row, field)))
    means = [
        float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
        for _, values in sorted(by_patient.items())
    ]
    return mean_interval(means)


def _write(evaluation: Evaluation) -> None:
    text = io.StringIO()
    rows = [asdict(row) for row in evaluation.cases]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(evaluation.folder / "cases.csv", text.getvalue())
    metrics = {
        "schema_version": 1,
        "dice": {name: asdict(interval) for name, interval in evaluation.dice.items()},
        "baselines": {
            "centred_ellipsoid": evaluation.ellipsoid and asdict(evaluation.ellipsoid),
            "threshold": evaluation.threshold and asdict(evaluation.threshold),
            "threshold_value": evaluation.threshold_value,
        },
        "left_out": [
            {"case": name, "code": finding.code, "message": finding.sentence()}
            for name, finding in evaluation.findings
        ],
    }
    write_json(evaluation.folder / "metrics.json", metrics)
