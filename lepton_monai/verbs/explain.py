"""`lepton explain`: where a classifier looked, on the grid of what it looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lepton_monai import __version__
from lepton_monai.cases.case import Case, load_image
from lepton_monai.cases.classes import Level
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.core.files import claim_folder, locked, require_ours, write_json
from lepton_monai.core.findings import Finding, records_of
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.data.inputs import SourceImage, read_source
from lepton_monai.data.source_maps import as_acquired
from lepton_monai.exports.nifti import write_image
from lepton_monai.exports.overlay import write_heat, write_picture_heat
from lepton_monai.inference.classifier import Answer, Classifier, load_classifier
from lepton_monai.inference.explanation import UNCHANGED, Explanation, explanation_of, untrained
from lepton_monai.inference.saliency import Method
from lepton_monai.plans.run import CLASSIFICATION, open_runs, write_key
from lepton_monai.training.devices import choose_device
from lepton_monai.training.seeds import seeded
from lepton_monai.verbs.candidates import class_candidates
from lepton_monai.verbs.class_answers import OperatingPoint

RECORD = "explanation.json"

RANDOM_SEED = 0
"""Of the weights of the network that nothing was learned by."""


@dataclass(frozen=True, eq=False)
class ExplainReport:
    """What `lepton explain` prints.

    Parameters
    ----------
    out
        Where the maps are.
    records
        One a case, as its `explanation.json` has them.
    failed
        What fits the model and could not be explained, with the reason.
    passed_over
        Series that don't fit the model, with the reason.
    findings
        About maps and files.
    """

    out: Path
    records: tuple[dict[str, Any], ...]
    failed: tuple[tuple[str, Finding], ...]
    passed_over: tuple[tuple[str, Finding], ...]
    findings: tuple[tuple[str, Finding], ...]


@dataclass(frozen=True, eq=False)
class _Asked:
    """What is explained, and by which networks."""

    model: Classifier
    random: Classifier
    method: Method
    class_name: str | None

    @property
    def level(self) -> Level:
        """What one prediction is made for."""
        return self.model.plan.source.level

    @property
    def point(self) -> OperatingPoint:
        """What decides."""
        plan = self.model.plan
        return OperatingPoint(plan.classes, plan.holds, self.model.thresholds)


@dataclass(frozen=True, eq=False)
class _Shown:
    """The answer that a map is of, and for which class."""

    answer: Answer
    class_id: int
    class_name: str

    @property
    def probability(self) -> float:
        """Of the class."""
        return float(self.answer.probabilities[self.class_id])

    @property
    def caption(self) -> str:
        """Says what a picture of the map shows."""
        return f"evidence for {self.class_name} (probability {self.probability:.2f})"


def explain(
    run_folder: Path,
    folder: Path,
    out: Path,
    *,
    method: Method = "gradcam",
    class_name: str | None = None,
    pseudonyms: Pseudonyms | None = None,
    series_uid: str | None = None,
    device: str = "auto",
    progress: Progress = SILENT,
) -> ExplainReport:
    """Write a map of the evidence for a class of every series or picture that fits a classifier.

    Parameters
    ----------
    run_folder
        Of a run, or of the runs of all folds: then the mean of their maps counts.
    folder
        Of DICOM studies, or of pictures.
    out
        To make, or made by `explain` before: the maps are written anew.
    method
        ``gradcam``, or ``occlusion``, which serves every network and takes hundreds of times as long.
    class_name
        For which class; None: the one that is decided for, of slices the last one (the segment).
    pseudonyms
        Name the folders of the cases; None: by the user's salt.
    series_uid
        Only this series.
    device
        auto, cpu, cuda, cuda:N, mps.
    progress
        Told of every case.

    Raises
    ------
    ConfigError
        The run is of a segmentation, it has no such class, or Grad-CAM can't see into its network.
    InputError
        Nothing in the folder fits the model: each reason is in the message.
    """
    runs, where = open_runs(run_folder), choose_device(device)
    if runs[0].task != CLASSIFICATION:
        message = (
            f"{run_folder} is the run of a segmentation: its masks say where. `lepton explain` is for "
            "classifiers; `lepton predict` writes masks."
        )
        raise ConfigError(message)
    require_ours(out, "explain")
    _require_class(class_name, runs[0].classification_plan().classes)
    candidates = class_candidates(
        runs[0].classification_plan().source, folder, pseudonyms or load_pseudonyms(), series_uid, progress
    )
    candidates.require_some(folder)
    model = load_classifier(runs, where)
    with seeded(RANDOM_SEED):
        asked = _Asked(model, untrained(model), method, class_name)
    claim_folder(out, "explain")
    records: list[dict[str, Any]] = []
    failed = list(candidates.refused)
    noted: list[tuple[str, Finding]] = []
    if model.plan.clinical is not None:
        message = "The model knows clinical values: in its maps all of them count as missing."
        noted.append(("clinical values", Finding("clinical_not_given", message)))
    with locked(out):
        for case in progress.track(candidates.cases, "explaining", len(candidates.cases)):
            found = _explain_case(asked, case, out / case.pseudonym)
            if isinstance(found, Finding):
                failed.append((case.pseudonym, found))
                continue
            record, findings = found
            records.append(record)
            noted += [(case.pseudonym, finding) for finding in findings]
        write_key(out, candidates.cases)
        _write_manifest(out, asked, len(records), failed)
    return ExplainReport(
        out, tuple(records), tuple(failed), candidates.passed_over, (*noted, *candidates.findings)
    )


def _require_class(name: str | None, classes: Sequence[str]) -> None:
    if name is not None and name not in classes:
        message = f"The model knows no class `{name}`; its classes are {', '.join(classes)}."
        raise ConfigError(message)


def _explain_case(
    asked: _Asked, case: Case, target: Path
) -> tuple[dict[str, Any], tuple[Finding, ...]] | Finding:
    """Write map and picture, then the record: a folder with a record is whole."""
    (target / RECORD).unlink(missing_ok=True)  # an earlier one would be of another map
    source = read_source(case, asked.level)
    if isinstance(source, Finding):
        return source
    try:
        answers = asked.model.answers(asked.model.score(case, source))
    except InputError as error:
        return Finding("unit_differs", str(error))
    class_id = _class_of(asked, answers)
    found = explanation_of(asked.model, asked.random, case, source, class_id, asked.method)
    answer = max(answers, key=lambda one: float(one.probabilities[class_id]))
    shown = _Shown(answer, class_id, asked.model.plan.classes[class_id])
    written = _write_map(case, asked.level, source, found, shown, target)
    findings = _findings(found)
    record = _record(asked, case, shown, found) | written
    record["findings"] = [{"code": one.code, "message": one.sentence()} for one in findings]
    write_json(target / RECORD, record)
    return record, findings


def _class_of(asked: _Asked, answers: Sequence[Answer]) -> int:
    classes = asked.model.plan.classes
    if asked.class_name is not None:
        return classes.index(asked.class_name)
    if asked.level == "slice":
        return len(classes) - 1
    decided = asked.point.decision(answers[0]) if asked.point.holds == "one" else None
    # Of several labels the one that is surest to hold.
    return int(answers[0].probabilities.argmax()) if decided is None else classes.index(decided)


def _write_map(
    case: Case, level: Level, source: SourceImage, found: Explanation, shown: _Shown, target: Path
) -> dict[str, Any]:
    """Write what belongs to the level; return where the map is highest and what was written."""
    if level == "image":
        peak = _peak(found.array[:, :, 0])
        write_picture_heat(source.array, found.array[:, :, 0], target / "explanation.png", shown.caption)
        return {"peak_voxel": peak, "shape": list(source.array.shape[:2]), "files": ["explanation.png"]}
    volume = load_image(case)
    turned = found.array if level == "slice" else as_acquired(found.array, volume.grid)
    heat = np.asfortranarray(turned)
    k = shown.answer.slice_number
    peak = _peak(heat) if k is None else _peak(heat[:, :, k : k + 1])
    if peak is not None and k is not None:
        peak[2] = k
    i, j, at = peak or [extent // 2 for extent in heat.shape]
    write_image(heat, volume.grid, target / "explanation.nii.gz")
    voxel = (i, j, at if k is None else k)
    write_heat(volume, heat, voxel, target / "explanation.png", shown.caption)
    return {
        "peak_voxel": peak,
        "shape": list(volume.grid.shape),
        "spacing_mm": [round(value, 6) for value in volume.grid.spacing_mm],
        "files": ["explanation.nii.gz", "explanation.png"],
    }


def _peak(heat: np.ndarray[Any, np.dtype[np.float32]]) -> list[int] | None:
    if not heat.any():
        return None
    return [int(at) for at in np.unravel_index(int(heat.argmax()), heat.shape)]


def _findings(found: Explanation) -> tuple[Finding, ...]:
    if not found.array.any():
        return (Finding("explanation_empty", "Nothing in the image speaks for the class."),)
    if found.similarity >= UNCHANGED:
        message = (
            "The map of a network with random weights is much the same (rank correlation "
            f"{found.similarity:.2f}, {UNCHANGED} or more is told)."
        )
        return (Finding("explanation_unchanged", message),)
    return ()


def _record(asked: _Asked, case: Case, shown: _Shown, found: Explanation) -> dict[str, Any]:
    model, point, answer = asked.model, asked.point, shown.answer
    padded = any(member.plan.input.spacing_mm is not None for member in model.members)
    return {
        "schema_version": 1,
        "case": case.pseudonym,
        "patient": answer.patient,
        "slice": answer.slice_number,
        "class": shown.class_name,
        "probability": round(shown.probability, 6),
        "decision": point.label_decisions(answer) if point.holds == "any" else point.decision(answer),
        "method": asked.method,
        "layers": list(found.layers),
        "rank_correlation_random": round(found.similarity, 4),
        **({"share_outside_image": round(found.outside, 4)} if padded else {}),
        "model_sha256": model.digest,
    }


def _write_manifest(out: Path, asked: _Asked, done: int, failed: Sequence[tuple[str, Finding]]) -> None:
    content = {
        "schema_version": 2,
        "lepton_monai": __version__,
        "model_sha256": asked.model.digest,
        "networks": len(asked.model.members),
        "method": asked.method,
        "class": asked.class_name,
        "random_seed": RANDOM_SEED,
        "device": str(asked.model.device),
        "explained": done,
        "failed": records_of(failed),
        "written": datetime.now(tz=UTC).isoformat(timespec="seconds"),
    }
    write_json(out / "manifest.json", content)
