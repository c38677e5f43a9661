"""What must hold before a training starts or goes on."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from lepton_monai.cases.classes import ClassChoice, Classified
from lepton_monai.cases.split import Split
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.core.findings import Finding
from lepton_monai.labels.clinical import ClinicalColumns
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.plans.plan import Plan
from lepton_monai.plans.run import Run, read_split
from lepton_monai.training.planner import Task
from lepton_monai.verbs.preparing import Measured


def require_some(training: Sequence[Measured]) -> None:
    """Refuse to train on nothing."""
    if not training:
        message = "No training case can be used: `lepton check` says why of each."
        raise InputError(message)


TWIN = Finding("same_image_twice", "The image is trained on under another id: it is left out here.")


def apart(
    training: Sequence[Measured], validation: Sequence[Measured], findings: list[tuple[str, Finding]]
) -> list[Measured]:
    """Return the validation cases whose image isn't trained on too, under whatever ids it was exported."""
    trained = {one.digest for one in training}
    findings += [(one.case.pseudonym, TWIN) for one in validation if one.digest in trained]
    return [one for one in validation if one.digest not in trained]


def require_same_task(plan: Plan, task: Task) -> None:
    """Refuse a plan that was made for other images or classes than the config names."""
    _require_equal({"classes": (plan.classes, task.classes), "images": (plan.images, task.images)})


def require_same_classification(
    plan: ClassificationPlan, classified: Classified, choice: ClassChoice
) -> None:
    """Refuse a plan that was made for other images, classes or clinical values than the config names."""
    source = plan.source
    columns = plan.clinical.columns if plan.clinical else None
    _require_equal(
        {
            "classes": (plan.classes, classified.classes),
            "holds": (plan.holds, classified.holds),
            "level": (source.level, choice.level),
            "image": (source.name, choice.image.name),
            "file format": (source.file_format, choice.file_format),
            "modality": (source.modality, choice.image.modality),
            "description": (source.description, choice.image.description),
            "clinical values": (columns, choice.clinical.columns if choice.clinical else None),
        }
    )


def _require_equal(parts: Mapping[str, tuple[object, object]]) -> None:
    """Refuse what is planned otherwise than the config wants it."""
    for name, (planned, wanted) in parts.items():
        if planned != wanted:
            differing = f"{name} {_said(planned)}, not {_said(wanted)}"
            message = f"The plan is of another task than the config: {differing}."
            raise ConfigError(message)


def _said(value: object) -> str:
    if isinstance(value, ClinicalColumns):
        return ", ".join(value.names)
    return ", ".join(str(one) for one in value) if isinstance(value, tuple) else str(value)


def voxels_of(cases: Sequence[Measured]) -> dict[str, list[str]]:
    """Return what is kept of the cases to know them again: digests by pseudonym."""
    return {one.case.pseudonym: list(one.voxels) for one in cases}


def require_same_cases(run: Run, split: Split, now: Mapping[str, Sequence[str]]) -> None:
    """Refuse to go on with other cases, other sides, or other voxels or labels than the run began with.

    Parameters
    ----------
    run, split
        The run, and who stands where now.
    now
        What stands for voxels and label of every case that was read, by pseudonym.

    Raises
    ------
    InputError
        What differs, by pseudonym.
    """
    kept = read_split(run)
    for side in ("train", "validation"):
        before = sorted(entry["case"] for entry in kept[side])
        if before != sorted(case.pseudonym for case in split.side(side)):
            message = (
                f"The {side} cases of {run.folder} aren't those that are here now: the data or the salt "
                "have changed. Bring them back, or name a new run."
            )
            raise InputError(message)
    began_with = json.loads(run.cases_path.read_text(encoding="utf-8"))
    changed = sorted(name for name in {*began_with, *now} if began_with.get(name) != now.get(name))
    if changed:
        message = (
            f"Images or labels have changed since {run.folder} began: {', '.join(changed[:5])}"
            f"{' and more' if len(changed) > 5 else ''}. Bring them back, or name a new run."
        )
        raise InputError(message)


def trained_before(weights: Path | None) -> dict[str, str]:
    """Return the digests of the images that another run was trained on, whose weights one starts from."""
    if weights is None or not Run(weights).split_path.is_file():
        return {}
    return dict(read_split(Run(weights))["image_sha256"])
