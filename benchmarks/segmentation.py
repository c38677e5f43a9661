"""Segmentation in the same time: lepton, nnU-Net and a plain UNet, judged by one evaluator.

    python benchmarks/segmentation.py --nnunet FOLDER --out FOLDER [--data FOLDER]

The same patients, cores, threads and minutes for all; preparation counts, the prediction of the test
patients doesn't. A cell is a method, a task and a fold; finished ones are kept as JSON in FOLDER/cells, so
that the same command goes on after an interruption. Every mask is judged as NIfTI on the grid of its image
by `lepton_monai.evaluation.overlap.dice`. Exit code 1: a bound is missed.
"""

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from cells import (
    CONFIGS,
    DATA,
    as_sets,
    begun,
    end_with_the_command,
    keep,
    kept,
    processor,
    run_lepton,
    versions,
)
from comparison import bounds, print_table
from cost import judge
from nnunet_peer import PACKAGES, nnunet_python, told_by
from tasks import TASKS, Sides, copy_images, require_data, sides, write_sources

from lepton_monai.evaluation.overlap import dice
from lepton_monai.images.nifti import read_nifti


@dataclass(frozen=True)
class Setting:
    """What is the same for every cell."""

    data: Path
    out: Path
    nnunet: Path
    minutes: float
    threads: int
    patients: int | None

    def sources(self, task: str) -> Path:
        """Return the folder of a task's images and truths as NIfTI."""
        return self.out / "sources" / task


@dataclass(frozen=True)
class Cell:
    """A method on one fold of a task."""

    method: str
    task: str
    fold: int

    @property
    def name(self) -> str:
        """Return it as a file name."""
        return f"{self.method}-{self.task}-{self.fold}"

    def sides(self, setting: Setting) -> Sides:
        """Return who is trained on and who is tested."""
        return sides(TASKS[self.task], setting.data, self.fold, setting.patients)


@dataclass(frozen=True)
class Outcome:
    """What a method made: the masks of the test patients, and what it took."""

    masks: dict[str, Path]
    told: dict[str, Any]
    versions: dict[str, str]


def main() -> None:
    """Do what is missing and print the tables."""
    end_with_the_command()
    setting, wanted = _arguments()
    require_data(setting.data)
    cells = [Cell(method, task, fold) for task in TASKS for fold in _folds(task) for method in METHODS]
    for cell in cells:
        if wanted in {None, f"{cell.method}:{cell.task}:{cell.fold}"}:
            _finish(cell, setting)
    done = [found for cell in cells if (found := _kept(cell, setting)) is not None]
    whole = [task for task in TASKS if sum(one["task"] == task for one in done) == _count(task)]
    for task in whole:
        print_table(done, task, list(METHODS))
    for task in whole:
        _require_one_processor([one for one in done if one["task"] == task])
    if len(whole) < len(TASKS):
        print(f"{len(done)} of {len(cells)} cells are finished.")  # noqa: T201 - this is a program
        return
    print()  # noqa: T201 - this is a program
    judge([bound for task in whole for bound in bounds(done, task)])


def _require_one_processor(cells: Sequence[Mapping[str, Any]]) -> None:
    """End where a task's cells come from different machines: their minutes aren't the same."""
    of_kind: dict[str, list[str]] = {}
    for cell in cells:
        name = f"{cell['method']} fold {cell['fold']}"
        of_kind.setdefault(cell.get("processor", "an unknown processor"), []).append(name)
    if len(of_kind) > 1:
        found = "; ".join(f"{', '.join(names)} on {kind}" for kind, names in of_kind.items())
        message = f"The cells of {cells[0]['task']} can't be compared: {found}."
        raise SystemExit(message)


def _arguments() -> tuple[Setting, str | None]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="the real data [default: ../shared/data]")
    parser.add_argument("--out", type=Path, required=True, help="for cells, runs and masks")
    parser.add_argument("--nnunet", type=Path, required=True, help="nnU-Net's environment, made if absent")
    parser.add_argument("--minutes", type=float, default=20.0, help="of a cell [default: 20]")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="[default: one a core]")
    parser.add_argument("--patients", type=int, help="at most so many of each side: to try it out")
    names = [f"{method}:{task}:{fold}" for task in TASKS for fold in _folds(task) for method in METHODS]
    parser.add_argument("--only", choices=names, metavar="METHOD:TASK:FOLD", help="one cell")
    given = parser.parse_args()
    setting = Setting(
        given.data.absolute(),
        given.out.absolute(),
        given.nnunet.absolute(),
        given.minutes,
        given.threads,
        given.patients,
    )
    return setting, given.only


def _folds(task: str) -> range:
    return range(TASKS[task].folds)


def _count(task: str) -> int:
    return len(_folds(task)) * len(METHODS)


def _path(cell: Cell, setting: Setting) -> Path:
    return setting.out / "cells" / f"{cell.name}.json"


def _kept(cell: Cell, setting: Setting) -> dict[str, Any] | None:
    return kept(_path(cell, setting), _same_for_all(cell, setting))


def _same_for_all(cell: Cell, setting: Setting) -> dict[str, Any]:
    who = cell.sides(setting)
    return {
        "minutes": setting.minutes,
        "threads": setting.threads,
        "train": list(who.train),
        "test": list(who.test),
    }


def _finish(cell: Cell, setting: Setting) -> None:
    """Run a cell that isn't finished, from its start."""
    if _kept(cell, setting) is not None:
        return
    task = TASKS[cell.task]
    write_sources(task, setting.data, setting.sources(cell.task))
    folder = setting.out / "work" / cell.name
    begun(cell.name, folder)
    outcome = METHODS[cell.method](cell, setting, folder)
    truths = setting.sources(cell.task) / "labels"
    content = {
        **asdict(cell),
        "setting": _same_for_all(cell, setting),
        **outcome.told,
        "versions": outcome.versions,
        "processor": processor(),
        "dice": {
            name: judged(outcome.masks[name], truths / f"{name}.nii.gz", task.classes)
            for name in cell.sides(setting).test
        },
    }
    keep(_path(cell, setting), content)
    seconds = {name: round(value) for name, value in content["seconds"].items()}
    mean = np.nanmean([list(one.values()) for one in content["dice"].values()])
    print(f"  Dice {mean:.3f}, {content['steps']} steps, seconds {seconds}", flush=True)  # noqa: T201


def judged(mask: Path, truth: Path, classes: tuple[str, ...]) -> dict[str, float]:
    """Return the Dice of each class of a mask on the grid of its image."""
    found, true = read_nifti(mask), read_nifti(truth)
    true.grid.require_same(found.grid, f"{mask} and its truth")
    return {
        name: dice(found.array == number, true.array == number)
        for number, name in enumerate(classes, start=1)
    }


def _lepton(cell: Cell, setting: Setting, folder: Path) -> Outcome:
    """Run the real commands, from the raw data, with an empty cache."""
    task, who = TASKS[cell.task], cell.sides(setting)
    split, run, out = folder / "split.json", folder / "run", folder / "predictions"
    split.write_text(json.dumps(asdict(who)), encoding="utf-8")
    copy_images(task, setting.data, who.test, folder / "test")
    changes = {
        "data.root": setting.data / task.root,
        "split.file": split,
        "split.validation": 0,
        "train.minutes": setting.minutes,
        "plan.training.threads": setting.threads,
    }
    began = time.time()
    run_lepton(folder, folder, "train", str(CONFIGS / task.config), "--run", str(run), *as_sets(changes))
    trained = time.time()
    run_lepton(folder, folder, "predict", str(run), str(folder / "test"), "--out", str(out))
    predicted = time.time()
    run_lepton(folder, folder, "evaluate", str(run))
    patient_of = _patients(out / "key.json")
    masks = {patient: out / name / "mask.nii.gz" for name, patient in patient_of.items()}
    _require_same_figures(run, masks, setting.sources(cell.task) / "labels", task.classes)
    plan = yaml.safe_load((run / "plan.yaml").read_text(encoding="utf-8"))
    training = plan["training"]
    told = {
        "steps": training["steps"],
        "seconds": {"total": trained - began, "prediction": predicted - trained},
        "plan": {key: training[key] for key in ("patch_size", "batch_size", "precision")}
        | {"channels": plan["network"]["channels"], "spacing": plan["preparation"]["spacing_mm"]},
    }
    return Outcome(masks, told, versions())


def _patients(key: Path) -> dict[str, str]:
    content = json.loads(key.read_text(encoding="utf-8"))
    return {name: entry["patient_id"] for name, entry in content.items()}


def _require_same_figures(
    run: Path, masks: Mapping[str, Path], truths: Path, classes: tuple[str, ...]
) -> None:
    """Compare what `lepton evaluate` says with what the masks say."""
    patient_of = _patients(run / "key.json")
    rows = csv.DictReader((run / "evaluation" / "test" / "cases.csv").open(encoding="utf-8"))
    for row in rows:
        patient = patient_of[row["case"]]
        said = float(row["dice"])
        found = judged(masks[patient], truths / f"{patient}.nii.gz", classes)[row["class"]]
        if not np.isclose(said, found, rtol=0, atol=1e-9, equal_nan=True):
            message = f"{patient}, {row['class']}: `evaluate` says {said}, its mask {found}."
            raise SystemExit(message)


def _nnunet(cell: Cell, setting: Setting, folder: Path) -> Outcome:
    environment = {
        "nnUNet_raw": str(folder / "raw"),
        "nnUNet_preprocessed": str(folder / "preprocessed"),
        "nnUNet_results": str(folder / "results"),
        "nnUNet_def_n_proc": str(setting.threads),
        "nnUNet_n_proc_DA": str(setting.threads),
        "nnUNet_compile": "false",
        "OMP_NUM_THREADS": "1",  # of its workers, as its own command sets it
    }
    python = nnunet_python(setting.nnunet)
    (folder / "preprocessed").mkdir()
    masks, job = _job(cell, setting, folder)
    told = told_by(python, "nnunet_train.py", str(job), environment=environment)
    return Outcome(masks, told, dict(pin.split("==") for pin in PACKAGES))


def _plain(cell: Cell, setting: Setting, folder: Path) -> Outcome:
    masks, job = _job(cell, setting, folder)
    told = told_by(Path(sys.executable), "plain_unet.py", str(job))
    return Outcome(masks, told, versions())


def _job(cell: Cell, setting: Setting, folder: Path) -> tuple[dict[str, Path], Path]:
    """Write what a peer's program needs to know; return the masks that it will write, and the file."""
    task, who, out = TASKS[cell.task], cell.sides(setting), folder / "predictions"
    sources = setting.sources(cell.task)
    out.mkdir()
    content = {
        **asdict(cell),
        **asdict(who),
        "images": str(sources / "images"),
        "labels": str(sources / "labels"),
        "folder": str(folder),
        "out": str(out),
        "classes": task.classes,
        "channel": task.channel,
        "minutes": setting.minutes,
        "threads": setting.threads,
        "began": time.time(),
    }
    path = folder / "job.json"
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
    return {name: out / f"{name}.nii.gz" for name in who.test}, path


METHODS: dict[str, Callable[[Cell, Setting, Path], Outcome]] = {
    "lepton": _lepton,
    "nnunet": _nnunet,
    "plain": _plain,
}


if __name__ == "__main__":
    main()
