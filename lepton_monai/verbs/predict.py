"""`lepton predict`: from a folder of studies to masks on their own grids."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lepton_monai import __version__
from lepton_monai.cases.case import Case, load_image
from lepton_monai.cases.collect import ImageChoice
from lepton_monai.core.errors import ConfigError, InputError, LockedError
from lepton_monai.core.files import claim_folder, locked, write_json
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.core.volume import Volume
from lepton_monai.core.wording import nearest
from lepton_monai.evaluation.overlap import volume_ml
from lepton_monai.exports.dicom_object import Maker
from lepton_monai.exports.formats import FILES, write_formats
from lepton_monai.exports.overlay import write_overlay
from lepton_monai.inference.model import Model, load_model
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.run import open_runs, write_key
from lepton_monai.training.devices import choose_device
from lepton_monai.verbs.candidates import nifti_candidates, require_no_series, series_candidates


@dataclass(frozen=True)
class PredictReport:
    """What `lepton predict` prints.

    Parameters
    ----------
    records
        One a predicted series, as `predictions.json` has them.
    failed
        Series that fit the model and could not be predicted, with the reason.
    passed_over
        Series that don't fit the model, with the reason.
    findings
        About files and refused series, and what of a case could not be written.
    """

    out: Path
    records: tuple[dict[str, Any], ...]
    failed: tuple[tuple[str, Finding], ...]
    passed_over: tuple[tuple[str, Finding], ...]
    findings: tuple[tuple[str, Finding], ...]


def predict(
    run_folder: Path,
    folder: Path,
    out: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    series_uid: str | None = None,
    formats: Sequence[str] = ("nifti",),
    device: str = "auto",
    progress: Progress = SILENT,
) -> PredictReport:
    """Segment every image of a folder that fits a model.

    Parameters
    ----------
    run_folder
        Of a run, or of the runs of all folds: then the mean of their networks predicts.
    folder
        Of DICOM studies; of NIfTI files for a model that was trained on such.
    out
        To make, or made by `predict` before: what is missing is done.
    pseudonyms
        Name the folders of the cases; None: by the user's salt.
    series_uid
        Only this series.
    formats
        Of the masks: `nifti`, and `seg`, `rtstruct` and `sr` for a model that was trained on DICOM.
    device
        auto, cpu, cuda, cuda:N, mps.
    progress
        Told of every case.

    Raises
    ------
    ConfigError
        A format that there isn't, or that the model's images don't bear.
    InputError
        Nothing in the folder fits the model: each reason is in the message.
    """
    runs = open_runs(run_folder)
    where = choose_device(device)
    plan = runs[0].plan()
    names = pseudonyms or load_pseudonyms()
    image = plan.image
    _require_formats(formats, image.file_format)
    if image.file_format == "nifti":
        require_no_series(series_uid, "nifti")
        candidates = nifti_candidates(folder, names)
    else:
        choice = ImageChoice(image.name, image.modality, image.description, None)
        candidates = series_candidates(choice, (image.unit,), folder, names, series_uid, progress)
    candidates.require_some(folder)
    claim_folder(out, "predict")
    model = load_model(runs, where)
    failed: list[tuple[str, Finding]] = []
    unwritten: list[tuple[str, Finding]] = []
    for case in progress.track(candidates.cases, "predicting", len(candidates.cases)):
        target = out / case.pseudonym
        target.mkdir(exist_ok=True)
        try:
            with locked(target):
                if not _is_whole(target, formats):
                    found = _predict_case(model, case, target, formats)
                    unwritten += [(case.pseudonym, finding) for finding in found]
        except LockedError:
            progress.say(f"{case.pseudonym} is being predicted by another process")
        except InputError as error:
            finding = getattr(error, "finding", None) or Finding("unit_differs", str(error))
            failed.append((case.pseudonym, finding))
    records = _records(out, candidates.cases)
    write_json(out / "predictions.json", {"schema_version": 1, "predictions": records})
    write_key(out, candidates.cases)
    _write_manifest(out, model, len(records), len(failed))
    findings = (*candidates.findings, *unwritten)
    return PredictReport(out, tuple(records), tuple(failed), candidates.passed_over, findings)


def _require_formats(formats: Sequence[str], file_format: str) -> None:
    for name in formats:
        if name not in FILES:
            near = nearest(name, FILES)
            message = (
                f"`{name}` is no format of a mask; the nearest is `{near}`; there are {', '.join(FILES)}."
            )
            raise ConfigError(message)
        if name != "nifti" and file_format == "nifti":
            message = (
                f"The format {name} takes patient and place from DICOM images; this model is for NIfTI."
            )
            raise ConfigError(message)
    if "sr" in formats and "seg" not in formats:
        message = "The format sr refers to the segments of a SEG: name seg too."
        raise ConfigError(message)
    if not formats:
        message = f"Name at least one format of the masks: {', '.join(FILES)}."
        raise ConfigError(message)


def _is_whole(target: Path, formats: Sequence[str]) -> bool:
    """Tell whether a case was predicted before, in these formats or more."""
    record = target / "mask.json"
    if not record.exists():
        return False
    return set(formats) <= set(json.loads(record.read_text(encoding="utf-8")).get("formats", ["nifti"]))


def _predict_case(model: Model, case: Case, target: Path, formats: Sequence[str]) -> list[Finding]:
    """Write mask and picture, then the record: a folder with one is whole. Return what wasn't written."""
    volume = load_image(case)
    mask = model.predict(volume)
    maker = Maker(model.digest, model.plan.classes)
    files, findings = write_formats(mask, case.image, maker, target, formats)
    write_overlay(volume, mask, target / "overlay.png")
    record = _record(model, case, volume, mask, findings)
    write_json(target / "mask.json", record | {"formats": list(formats), "files": [*files, "overlay.png"]})
    return findings


def _record(
    model: Model, case: Case, volume: Volume, mask: Mask, findings: Sequence[Finding]
) -> dict[str, Any]:
    voxel = volume.grid.voxel_volume_ml
    return {
        "schema_version": 1,
        "case": case.pseudonym,
        "patient": case.patient,
        "labels": {name: at for at, name in enumerate(model.plan.classes, start=1)},
        "volumes_ml": {
            name: round(volume_ml(mask.array == at, voxel), 3)
            for at, name in enumerate(model.plan.classes, start=1)
        },
        "shape": list(volume.grid.shape),
        "spacing_mm": [round(value, 6) for value in volume.grid.spacing_mm],
        "unit": volume.unit,
        "model_sha256": model.digest,
        "findings": [
            {"code": finding.code, "message": finding.sentence()}
            for finding in (*volume.findings, *findings)
        ],
    }


def _records(out: Path, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Read the record of every case that is whole, whoever predicted it."""
    paths = [out / case.pseudonym / "mask.json" for case in cases]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def _write_manifest(out: Path, model: Model, done: int, failed: int) -> None:
    content = {
        "schema_version": 1,
        "lepton_monai": __version__,
        "model_sha256": model.digest,
        "networks": len(model.members),
        "device": str(model.device),
        "predicted": done,
        "failed": failed,
        "written": datetime.now(tz=UTC).isoformat(timespec="seconds"),
    }
    write_json(out / "manifest.json", content)
