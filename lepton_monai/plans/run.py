"""A run: the folder that training makes, and how to read it. Knows no torch."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lepton_monai.cases.case import Case
from lepton_monai.cases.split import SIDES, Split
from lepton_monai.core.errors import InputError
from lepton_monai.core.files import digest_of, write_json
from lepton_monai.plans.classification import ClassificationPlan, read_classification
from lepton_monai.plans.plan import Plan, read_plan

SEGMENTATION, CLASSIFICATION = "segmentation", "classification"
"""What a run may be for."""

FOLD = "fold_"
"""Before the number of a fold: the folders of the runs of all folds."""


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
    def log_path(self) -> Path:
        """Step, loss and validation Dice, as CSV."""
        return self.folder / "log.csv"

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

    def classification_plan(self) -> ClassificationPlan:
        """Read the plan of a classification."""
        return read_classification(self.plan_path)

    def weights_path(self) -> Path:
        """Return the newest whole checkpoint's weights.

        Raises
        ------
        InputError
            There is none, or its digest isn't the one that was written with it.
        """
        folders = sorted(self.checkpoints_folder.glob("step-*/state.json"))
        if not folders:
            message = f"The run {self.folder} has no finished checkpoint: train it first."
            raise InputError(message)
        state = json.loads(folders[-1].read_text(encoding="utf-8"))
        weights = folders[-1].with_name("weights.safetensors")
        if digest_of(weights) != state["sha256"][weights.name]:
            message = f"The weights {weights} are damaged: their digest differs from the record."
            raise InputError(message)
        return weights


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
    """Write the one file that links pseudonyms back to patients, mode 0600."""
    content = {case.pseudonym: {"patient_id": case.patient_id} for case in cases}
    write_json(folder / "key.json", content, mode=0o600)
