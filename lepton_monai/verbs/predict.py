"""`lepton predict`: from a folder of studies to masks on their own grids."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from lepton_monai import __version__
from lepton_monai.cases.case import Case, little_held, load_further, load_image
from lepton_monai.cases.images import ImageChoice
from lepton_monai.config.load import load_config
from lepton_monai.core.errors import (
    ConfigError,
    InputError,
    LockedError,
    OutputFolderError,
    SeriesRefused,
)
from lepton_monai.core.files import claim_folder, locked, require_ours, write_json
from lepton_monai.core.findings import Finding, records_of
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.core.volume import Volume
from lepton_monai.core.wording import nearest
from lepton_monai.dicom import Series
from lepton_monai.evaluation.overlap import volume_ml
from lepton_monai.exports.dicom_object import LONGEST_NAME, Prediction, names_that_do_not_fit
from lepton_monai.exports.formats import FILES, NIFTI, write_objects
from lepton_monai.exports.nifti import write_mask
from lepton_monai.exports.overlay import write_overlay
from lepton_monai.inference.envelope import outside_of
from lepton_monai.inference.model import Model, load_model
from lepton_monai.labels.codes import ClassCodes, coded
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.plan import Plan
from lepton_monai.plans.run import open_runs, write_key
from lepton_monai.training.devices import choose_device
from lepton_monai.verbs.candidates import nifti_candidates, require_no_series, series_candidates

Outside = Literal["mark", "refuse"]


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
        About files.
    unwritten
        Formats that the image of a case doesn't bear, with the reason.
    """

    out: Path
    records: tuple[dict[str, Any], ...]
    failed: tuple[tuple[str, Finding], ...]
    passed_over: tuple[tuple[str, Finding], ...]
    findings: tuple[tuple[str, Finding], ...]
    unwritten: tuple[tuple[str, Finding], ...]


def predict(
    run_folder: Path,
    folder: Path,
    out: Path,
    *,
    pseudonyms: Pseudonyms | None = None,
    series_uid: str | None = None,
    formats: Sequence[str] = ("nifti",),
    outside: Outside = "mark",
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
        Of the masks: `nifti`, and `seg`, `rtstruct` and `sr` (which brings `seg`) for a model that was
        trained on DICOM.
    outside
        What becomes of a case that is unlike everything in the training: its mask is marked, or refused.
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
    OutputFolderError
        `out` holds something else, or the predictions of another model.
    """
    runs = open_runs(run_folder)
    require_ours(out, "predict")
    where = choose_device(device)
    plan = runs[0].plan()
    names = pseudonyms or load_pseudonyms()
    image = plan.image
    _require_formats(formats, plan)
    if outside not in get_args(Outside):
        message = f"`{outside}` says not what becomes of images unlike the training's: mark or refuse."
        raise ConfigError(message)
    formats = (*formats, "seg") if "sr" in formats else formats
    wants_objects = any(name != NIFTI for name in formats)
    codes = load_config(runs[0].config_path).class_codes() if wants_objects else {}
    if image.file_format == "nifti":
        require_no_series(series_uid, "nifti")
        several = [one.name for one in plan.images] if plan.further else []
        candidates = nifti_candidates(folder, names, several)
    else:
        choices = [ImageChoice(one.name, one.modality, one.description, None) for one in plan.images]
        candidates = series_candidates(choices, (image.unit,), folder, names, series_uid, progress)
    candidates.require_some(folder)
    claim_folder(out, "predict")
    model = load_model(runs, where)
    _require_same_model(out, model)
    _write_manifest(out, model, 0, ())  # before the first mask: a start that is cut off has it too
    failed = list(candidates.refused)
    unwritten: list[tuple[str, Finding]] = []
    for case in progress.track(candidates.cases, "predicting", len(candidates.cases)):
        target = out / case.pseudonym
        target.mkdir(exist_ok=True)
        try:
            with locked(target):
                found = _predict_case(model, case, target, formats, codes, outside)
                unwritten += [(case.pseudonym, finding) for finding in found]
        except LockedError:
            progress.say(f"{case.pseudonym} is being predicted by another process")
        except InputError as error:
            finding = getattr(error, "finding", None) or Finding("unit_differs", str(error))
            failed.append((case.pseudonym, finding))
    refused = {name for name, _ in failed}
    records = _records(out, [case for case in candidates.cases if case.pseudonym not in refused])
    write_json(out / "predictions.json", {"schema_version": 1, "predictions": records})
    write_key(out, candidates.cases)
    _write_manifest(out, model, len(records), failed)
    return PredictReport(
        out,
        tuple(records),
        tuple(failed),
        candidates.passed_over,
        candidates.findings,
        tuple(unwritten),
    )


def _require_formats(formats: Sequence[str], plan: Plan) -> None:
    """Refuse what can't be written of any case, before the first one is predicted."""
    there = ", ".join(FILES)
    if not formats:
        message = f"Name at least one format of the masks: {there}."
        raise ConfigError(message)
    for name in formats:
        if name not in FILES:
            near = nearest(name, FILES)
            message = f"`{name}` is no format of a mask; the nearest is `{near}`; there are {there}."
            raise ConfigError(message)
    objects = [name for name in formats if name != NIFTI]
    if objects and plan.image.file_format == "nifti":
        message = f"The format {objects[0]} refers to DICOM images, and this model is for NIfTI."
        raise ConfigError(message)
    bad = names_that_do_not_fit(plan.classes)
    if objects and bad:
        message = (
            f"No DICOM object can hold the class name {bad[0]!r}: at most {LONGEST_NAME} characters, no "
            "backslash. Ask for --formats nifti alone, or give the class another name in the config."
        )
        raise ConfigError(message)


def _require_same_model(out: Path, model: Model) -> None:
    """Refuse a folder with the masks of another model: what is missing would be made by this one."""
    manifest = out / "manifest.json"
    if not manifest.exists():
        return
    before = json.loads(manifest.read_text(encoding="utf-8")).get("model_sha256")
    if before != model.digest:
        message = f"{out} holds predictions of another model: name another --out."
        raise OutputFolderError(message)


def _predict_case(
    model: Model,
    case: Case,
    target: Path,
    formats: Sequence[str],
    codes: Mapping[str, ClassCodes],
    outside: Outside,
) -> list[Finding]:
    """Do what is missing of a case; return what its image doesn't bear.

    The record is written last: a folder with one holds what the record names.
    """
    record_path = target / "mask.json"
    before: dict[str, Any] = {}
    if record_path.exists():
        before = json.loads(record_path.read_text(encoding="utf-8"))
    there: dict[str, str] = before.get("formats", {NIFTI: FILES[NIFTI]} if before else {})
    wanted = dict.fromkeys(formats)
    if coded(codes) != before.get("codes", {}) and set(formats) != {NIFTI}:
        # Objects that say otherwise what a class is aren't left beside new ones.
        wanted |= dict.fromkeys(there)
        there = {name: file for name, file in there.items() if name == NIFTI}
    missing = [name for name in wanted if name not in there]
    marked = any(found["code"] == "outside_training" for found in before.get("findings", ()))
    if not missing and not (marked and outside == "refuse"):
        return []
    if "sr" in missing:
        missing.append("seg")  # the SR names the SEG of this very mask
    volume = load_image(case)
    further = load_further(case, volume)
    unlike = outside_of([member.plan for member in model.members], (volume, *further))
    if unlike and outside == "refuse":
        raise SeriesRefused(Finding("outside_training", " ".join(one.message for one in unlike)))
    mask = model.predict(volume, further)
    written, findings = [], list[Finding]()
    if NIFTI in missing:
        write_mask(mask, target / FILES[NIFTI])
        written = [NIFTI]
    if isinstance(case.image, Series):
        prediction = Prediction(mask, case.image, model.plan.classes, model.digest, __version__, codes)
        objects, findings = write_objects(prediction, target, missing)
        written += objects
    if not before:
        write_overlay(volume, mask, target / "overlay.png")
    there = {name: FILES[name] for name in FILES if name in {*there, *written}}
    remarks = [*little_held((volume, *further)), *unlike, *findings]
    content = _record(model, case, (volume, *further), mask, remarks) | {
        "codes": coded(codes) if set(formats) != {NIFTI} else before.get("codes", {}),
        "formats": there,
        "files": [*there.values(), "overlay.png"],
    }
    write_json(record_path, content)
    return findings


def _record(
    model: Model, case: Case, volumes: Sequence[Volume], mask: Mask, findings: Sequence[Finding]
) -> dict[str, Any]:
    volume, *further = volumes
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
        "further": [
            {"image": image.name, "shape": list(one.grid.shape), "unit": one.unit}
            for image, one in zip(model.plan.further, further, strict=True)
        ],
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


def _write_manifest(out: Path, model: Model, done: int, failed: Sequence[tuple[str, Finding]]) -> None:
    content = {
        "schema_version": 2,
        "lepton_monai": __version__,
        "model_sha256": model.digest,
        "networks": len(model.members),
        "device": str(model.device),
        "predicted": done,
        "failed": records_of(failed),
        "written": datetime.now(tz=UTC).isoformat(timespec="seconds"),
    }
    write_json(out / "manifest.json", content)
