"""A run: the folder that training makes, and how to read it. Knows no torch."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lepton_monai.cases.case import Case, origin_of
from lepton_monai.cases.split import SIDES, Split
from lepton_monai.core.errors import InputError
from lepton_monai.core.files import digest_of, write_json
from lepton_monai.dicom import Series
from lepton_monai.plans.classification import ClassificationPlan, read_classification
from lepton_monai.plans.plan import Plan, read_plan

SEGMENTATION, CLASSIFICATION = "segmentation", "classification"
"""What a run may be for."""

FOLD = "fold_"
"""Before the number of a fold: the folders of the runs of all folds."""


_STEP = "step-"
WEIGHTS, RECORD = "weights.safetensors", "state.json"
CHECKPOINT_SCHEMA = 2


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint: its record, which was written last, and files with the digests that it names.

    Parameters
    ----------
    folder, step
        Where, and of which step.
    is_finished
        Of the last step: it holds the model alone.
    record
        The step, the log, and what else is no tensor.
    """

    folder: Path
    step: int
    is_finished: bool
    record: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """The paths of a run.

    Parameters
    ----------
    folder
        Made by `lepton train`.
    """

    folder: Path

    @property
    def config_path(self) -> Path:
        """The config as resolved."""
        return self.folder / "config.yaml"

    @property
    def plan_path(self) -> Path:
        """The plan that was trained by."""
        return self.folder / "plan.yaml"

    @property
    def split_path(self) -> Path:
        """Who stood on which side, by pseudonym."""
        return self.folder / "split.json"

    @property
    def cases_path(self) -> Path:
        """Digests of what was read of every case, by pseudonym: a resumed training wants the same."""
        return self.folder / "cases.json"

    @property
    def log_path(self) -> Path:
        """Step, loss and learning rate, as CSV."""
        return self.folder / "log.csv"

    @property
    def tensorboard_folder(self) -> Path:
        """The same as TensorBoard's events, where they were asked for."""
        return self.folder / "tensorboard"

    @property
    def checkpoints_folder(self) -> Path:
        """One folder a checkpoint: the two newest of a running training, the last of a finished one."""
        return self.folder / "checkpoints"

    def evaluation_folder(self, side: str) -> Path:
        """Where the figures of one side of the split are kept."""
        return self.folder / "evaluation" / side

    @property
    def task(self) -> str:
        """What the run is for, as its plan says; a plan that can't be read is told by who wants it."""
        try:
            content = yaml.safe_load(self.plan_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return SEGMENTATION
        is_other = isinstance(content, dict) and content.get("task") == CLASSIFICATION
        return CLASSIFICATION if is_other else SEGMENTATION

    def plan(self) -> Plan:
        """Read the plan of a segmentation."""
        return read_plan(self.plan_path)

    def checkpoint_folder(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.checkpoints_folder / f"{_STEP}{step:09d}"

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the checkpoints that are whole, the newest first; a damaged one is passed over."""
        folders = sorted(self.checkpoints_folder.glob(f"{_STEP}*"), key=_step_of, reverse=True)
        found = (_whole(folder) for folder in folders)
        return tuple(one for one in found if one is not None)

    def classification_plan(self) -> ClassificationPlan:
        """Read the plan of a classification."""
        return read_classification(self.plan_path)

    def weights_path(self) -> Path:
        """Return the weights of the finished training.

        Raises
        ------
        InputError
            It isn't finished, or its weights are damaged.
        """
        found = self.checkpoints()
        if found and found[0].is_finished:
            return found[0].folder / WEIGHTS
        if any(self.checkpoints_folder.glob(f"{_STEP}*")) and not found:
            message = f"The weights of {self.folder} are damaged: their digests differ from the record."
        elif found:
            message = (
                f"The training in {self.folder} isn't finished: it stopped at step {found[0].step}. "
                "`lepton train --resume` goes on."
            )
        else:
            message = f"The run {self.folder} has no checkpoint: train it first."
        raise InputError(message)


def _step_of(folder: Path) -> int:
    number = folder.name.removeprefix(_STEP)
    return int(number) if number.isdigit() else -1


def _whole(folder: Path) -> Checkpoint | None:
    """Read the record of a checkpoint and compare its files with it; None: it isn't whole."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["schema_version"] != CHECKPOINT_SCHEMA:
            return None
        if any(digest_of(folder / name) != digest for name, digest in record["sha256"].items()):
            return None
        return Checkpoint(folder, int(record["step"]), bool(record["finished"]), record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def open_runs(folder: Path) -> tuple[Run, ...]:
    """Open the folder of a run, or of the runs of all folds.

    Raises
    ------
    InputError
        It is none.
    """
    if Run(folder).plan_path.is_file():
        return (Run(folder),)
    folds = [Run(path) for path in sorted(folder.glob(f"{FOLD}*")) if Run(path).plan_path.is_file()]
    if not folds:
        message = f"{folder} is no run: it has no plan.yaml. `lepton train` makes runs."
        raise InputError(message)
    return tuple(folds)


def write_split(run: Run, split: Split, rule: Mapping[str, Any], digests: Mapping[str, str]) -> None:
    """Write who stands on which side, by pseudonym, with the digests of the images trained on."""
    sides = {
        side: [{"case": case.pseudonym, "patient": case.patient} for case in split.side(side)]
        for side in SIDES
    }
    content = {"schema_version": 1, "rule": dict(rule), **sides, "image_sha256": dict(digests)}
    write_json(run.split_path, content)


def read_split(run: Run) -> dict[str, Any]:
    """Read what `write_split` wrote.

    Raises
    ------
    InputError
        The file is absent or damaged.
    """
    message = f"The split of the run {run.folder} can't be read."
    try:
        content = json.loads(run.split_path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(message) from error
    if not isinstance(content, dict) or not {*SIDES, "image_sha256"} <= set(content):
        raise InputError(message)
    return content


def write_key(folder: Path, cases: Iterable[Case]) -> None:
    """Write the one file that links pseudonyms back to patients and series, mode 0600."""
    content: dict[str, dict[str, Any]] = {}
    for case in cases:
        origins = [origin_of(one) for one in (case.image, *case.further) if isinstance(one, Series)]
        content[case.pseudonym] = {**(origins[0] if origins else {}), "patient_id": case.patient_id}
        if origins[1:]:
            content[case.pseudonym]["further"] = origins[1:]
    write_json(folder / "key.json", content, mode=0o600)
