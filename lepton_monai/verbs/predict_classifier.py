"""`lepton predict` of a classifier: from a folder of studies or pictures to one table."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lepton_monai import __version__
from lepton_monai.cases.clinical import ClinicalChoice, clinical_rows
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.core.files import claim_folder, digest_of, locked, require_ours, write_json, write_text
from lepton_monai.core.findings import Finding, records_of
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.data.clinical import remarks
from lepton_monai.data.inputs import read_source
from lepton_monai.inference.classifier import Answer, Classifier, Score, load_classifier
from lepton_monai.plans.classification import ClinicalPlan
from lepton_monai.plans.run import open_runs, write_key
from lepton_monai.training.devices import choose_device
from lepton_monai.verbs.candidates import class_candidates
from lepton_monai.verbs.class_answers import OperatingPoint, answer_records, answers_csv


@dataclass(frozen=True, eq=False)
class ClassPredictReport:
    """What `lepton predict` prints of a classifier.

    Parameters
    ----------
    out
        Where the table is.
    classes
        Names by id.
    records
        One a sample, as `predictions.json` has them.
    failed
        What fits the model and could not be classified, with the reason.
    passed_over
        Series that don't fit the model, with the reason.
    findings
        About files; remarks on clinical values.
    """

    out: Path
    classes: tuple[str, ...]
    records: tuple[dict[str, Any], ...]
    failed: tuple[tuple[str, Finding], ...]
    passed_over: tuple[tuple[str, Finding], ...]
    findings: tuple[tuple[str, Finding], ...]


def predict_classifier(
    run_folder: Path,
    folder: Path,
    out: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    series_uid: str | None = None,
    abstain_below: float = 0.0,
    clinical: Path | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> ClassPredictReport:
    """Classify every series, study, slice or picture of a folder that fits a model.

    Parameters
    ----------
    run_folder
        Of a run, or of the runs of all folds: then the mean of their probabilities counts.
    folder
        Of DICOM studies, of NIfTI files, or of pictures.
    out
        To make, or made by `predict` before: the table is written anew.
    pseudonyms
        Name the cases; None: by the user's salt.
    series_uid
        Only this series.
    abstain_below
        No decision where the probability of the decided class is less.
    clinical
        Table of the clinical values that the model was trained with; None: nothing is known of any case.
    device
        auto, cpu, cuda, cuda:N, mps.
    progress
        Told of every case.

    Raises
    ------
    InputError
        Nothing in the folder fits the model: each reason is in the message.
    ConfigError
        The table can't be read, or the model knows no clinical values.
    """
    runs, where = open_runs(run_folder), choose_device(device)
    require_ours(out, "predict")
    plan = runs[0].classification_plan()
    known = _clinical(plan.clinical, clinical)
    candidates = class_candidates(
        plan.source, folder, pseudonyms or load_pseudonyms(), series_uid, progress
    )
    candidates.require_some(folder)
    rows = clinical_rows(candidates.cases, known, folder) if known else {}
    model = load_classifier(runs, where)
    claim_folder(out, "predict")
    scores: list[Score] = []
    failed = list(candidates.refused)
    findings = list(candidates.findings)
    if known and clinical is None:
        message = "The model knows clinical values, and no table was given (--clinical)."
        findings.append(("clinical values", Finding("clinical_not_given", message)))
    with locked(out):
        for case in progress.track(candidates.cases, "classifying", len(candidates.cases)):
            image = read_source(case, plan.source.level)
            if isinstance(image, Finding):
                failed.append((case.pseudonym, image))
                continue
            row = rows.get(case.pseudonym)
            if clinical is not None:
                findings += [(case.pseudonym, one) for one in remarks(row, model.plan.clinical)]
            try:
                scores += model.score(case, image, clinical=row)
            except InputError as error:
                failed.append((case.pseudonym, Finding("unit_differs", str(error))))
        point = OperatingPoint(model.plan.classes, model.plan.holds, model.thresholds, abstain_below)
        records = _write(out, model.answers(scores), point)
        write_key(out, candidates.cases)
        _write_manifest(out, model, point, clinical, done=len(records), failed=failed)
    return ClassPredictReport(
        out,
        model.plan.classes,
        tuple(records),
        tuple(failed),
        candidates.passed_over,
        tuple(findings),
    )


def _clinical(plan: ClinicalPlan | None, table: Path | None) -> ClinicalChoice | None:
    if plan is None and table is not None:
        message = "The model was trained without clinical values: leave out --clinical."
        raise ConfigError(message)
    return ClinicalChoice(plan.columns, table) if plan is not None else None


def _write(out: Path, answers: Sequence[Answer], point: OperatingPoint) -> list[dict[str, Any]]:
    records = answer_records(answers, point)
    write_text(out / "predictions.csv", answers_csv(answers, point))
    content = {"schema_version": 2, "task": "classification", "predictions": records}
    write_json(out / "predictions.json", content)
    return records


def _write_manifest(
    out: Path,
    model: Classifier,
    point: OperatingPoint,
    clinical: Path | None,
    *,
    done: int,
    failed: Sequence[tuple[str, Finding]],
) -> None:
    content = {
        "schema_version": 2,
        "lepton_monai": __version__,
        "model_sha256": model.digest,
        "networks": len(model.members),
        "thresholds": list(point.thresholds) if point.is_used else None,
        "abstain_below": point.abstain_below,
        "clinical_sha256": digest_of(clinical) if clinical is not None else None,
        "device": str(model.device),
        "predicted": done,
        "failed": records_of(failed),
        "written": datetime.now(tz=UTC).isoformat(timespec="seconds"),
    }
    write_json(out / "manifest.json", content)
