"""What a network of another organ and modality brings a segmentation of few patients, at the same steps.

    python benchmarks/transfer.py --out FOLDER [--data FOLDER]

The source is trained on hippocampi on MR, the target on sarcomas on PET: from the source's weights, and
from random ones of the same network. A cell is a training and its test side, by the real commands. Finished
ones are kept in FOLDER/cells as JSON, so that the same command goes on after an interruption; their runs
stay in FOLDER/work: others start from the source. Nothing is promised of the figures.
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Sequence
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

from lepton_monai.evaluation.intervals import Interval, mean_interval, paired_difference


@dataclass(frozen=True)
class Task:
    """A config, where its data lie below the data folder, and the steps of a training.

    Parameters
    ----------
    changes
        Of the config.
    """

    config: str
    root: str
    steps: int
    changes: dict[str, str]


SOURCE = Task("hippocampus.yaml", "hippocampus", 600, {"plan.network.channels": "[16, 32, 64, 128]"})
# The patch that the plan chooses for the 18 patients, so that a step costs the same with 4.
TARGET = Task("sts_pet.yaml", "sts/dicom", 400, {"plan.training.patch_size": "[40, 32, 56]"})

LOADED = ("channels", "kernels", "strides", "supervised")
"""Of the source's network: the same for all, so that nothing but the weights differs."""

STARTS = {"hippocampus": "from hippocampus", "random": "random"}


@dataclass(frozen=True)
class Cell:
    """A training from a start.

    Parameters
    ----------
    start
        Of `STARTS`.
    size
        How many patients are trained on; 0: it is the source, trained on all of its training side.
    seed
        Of the draw of the patients and of the training.
    """

    start: str
    size: int = 0
    seed: int = 0

    @property
    def task(self) -> Task:
        """Return what it is trained for."""
        return TARGET if self.size else SOURCE

    @property
    def name(self) -> str:
        """Return it as a file name."""
        return f"{self.start}-{self.size}-{self.seed}" if self.size else "source"


ORIGIN = Cell("random")
# The second draws come last: they are what a short time leaves out.
DRAWS = [(4, 0), (8, 0), (18, 0), (4, 1), (8, 1)]
CELLS = [ORIGIN, *(Cell(start, size, seed) for size, seed in DRAWS for start in STARTS)]


@dataclass(frozen=True)
class Setting:
    """What is the same for every cell.

    Parameters
    ----------
    steps
        Of every training, to try the benchmark out; None: those of the task.
    """

    data: Path
    out: Path
    threads: int
    steps: int | None

    def path(self, cell: Cell) -> Path:
        """Return where a finished cell is kept."""
        return self.out / "cells" / f"{cell.name}.json"

    def run(self, cell: Cell) -> Path:
        """Return the run of a cell."""
        return self.out / "work" / cell.name / "run"

    def same(self, cell: Cell) -> dict[str, Any]:
        """Return what a kept cell must have been made with."""
        return {"threads": self.threads, "steps": self.steps or cell.task.steps}


def main() -> None:
    """Do what is missing and print the tables."""
    end_with_the_command()
    setting, wanted = _arguments()
    require_folders(setting.data, [task.root for task in (SOURCE, TARGET)])
    for cell in CELLS:
        if wanted in {None, cell.name}:
            _finish(cell, setting)
    found = [kept(setting.path(cell), setting.same(cell)) for cell in CELLS]
    done = [one for one in found if one is not None]
    _print_tables(done)
    if len(done) < len(CELLS):
        print(f"\n{len(done)} of {len(CELLS)} cells are finished.")  # noqa: T201 - this is a program


def _arguments() -> tuple[Setting, str | None]:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="the real data [default: ../shared/data]")
    parser.add_argument("--out", type=Path, required=True, help="for cells and runs")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="[default: one a core]")
    parser.add_argument("--steps", type=int, help="of every training: to try it out")
    names = [cell.name for cell in CELLS]
    parser.add_argument("--only", choices=names, metavar="NAME", help="one cell, such as random-4-0")
    given = parser.parse_args()
    return Setting(given.data.absolute(), given.out.absolute(), given.threads, given.steps), given.only


def _finish(cell: Cell, setting: Setting) -> None:
    """Train and evaluate a cell that isn't finished, from its start."""
    if kept(setting.path(cell), setting.same(cell)) is not None:
        return
    run = setting.run(cell)
    folder, home = run.parent, setting.out / "home"
    begun(cell.name, folder)
    began = time.monotonic()
    run_lepton(folder, home, "train", *_training(cell, setting))
    trained = time.monotonic()
    run_lepton(folder, home, "evaluate", str(run), "--quiet")
    seconds = {"training": trained - began, "evaluation": time.monotonic() - trained}
    plan = _plan(run)
    report = run / "weights.txt"
    content = {
        **asdict(cell),
        "setting": setting.same(cell),
        "seconds": seconds,
        "plan": {key: plan["training"][key] for key in ("patch_size", "batch_size", "precision")}
        | {key: plan["network"][key] for key in LOADED}
        | {"spacing": plan["preparation"]["spacing_mm"]},
        "versions": versions(),
        "loss": float(_rows(run / "log.csv")[-1]["loss"]),
        "loaded": report.read_text(encoding="utf-8") if report.exists() else None,
        "figures": _rows(run / "evaluation" / "test" / "cases.csv"),
    }
    keep(setting.path(cell), content)
    mean = np.nanmean(list(_dice([content]).values()))
    spent = ", ".join(f"{name} {taken:.0f} s" for name, taken in seconds.items())
    print(f"  Dice {mean:.3f}, {spent}", flush=True)  # noqa: T201 - this is a program


def _training(cell: Cell, setting: Setting) -> list[str]:
    """Return what follows `lepton train`."""
    task, run = cell.task, setting.run(cell)
    changes: dict[str, object] = {
        **task.changes,
        "data.root": setting.data / task.root,
        "split.validation": 0,  # of four patients none is spared
        "train.seed": cell.seed,
        # With as many steps for all, nothing else may hang on the clock.
        "plan.training.steps": setting.same(cell)["steps"],
        "plan.training.precision": "bfloat16",
        "plan.training.channels_last": "false",
        "plan.training.batch_size": 2,
        "plan.prediction.mirror_axes": "[0, 1, 2]",
        "plan.training.threads": setting.threads,
    }
    start: list[str] = []
    if cell.size:
        if not setting.path(ORIGIN).exists():
            message = f"{cell.name} takes its network from the source: make that cell first."
            raise SystemExit(message)
        network = _plan(setting.run(ORIGIN))["network"]
        changes |= {f"plan.network.{key}": network[key] for key in LOADED}
        changes["split.file"] = _part(cell, run.parent / "split.json")
    if cell.start == "hippocampus":
        start = ["--from", str(setting.run(ORIGIN))]
    return [str(CONFIGS / task.config), "--run", str(run), "--quiet", *start, *as_sets(changes)]


def _part(cell: Cell, path: Path) -> Path:
    """Write a split whose training side is drawn: the larger draw of a seed holds the smaller."""
    split = json.loads((CONFIGS / "sts_split.json").read_text(encoding="utf-8"))
    drawn = np.random.default_rng(cell.seed).permutation(split["train"])[: cell.size]
    content = {"train": sorted(drawn.tolist()), "test": split["test"]}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _plan(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((run / "plan.yaml").read_text(encoding="utf-8"))
    return content


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _dice(cells: Sequence[dict[str, Any]], column: str = "dice") -> dict[str, float]:
    """Return the mean Dice of each test case over its classes and over several trainings."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        for row in cell["figures"]:
            found.setdefault(row["case"], []).append(float(row[column] or "nan"))
    return {case: float(np.mean(values)) for case, values in found.items()}


def _print_tables(cells: Sequence[dict[str, Any]]) -> None:
    """Print what is finished.

    Where two draws stand behind a figure it is their mean, and its interval is drawn by test patient: it
    says nothing of other draws. Each draw stands beside it.
    """
    loaded = [cell["loaded"] for cell in cells if cell["loaded"]]
    if loaded:
        print(f"\nLoaded, the same for all that start from it:\n{loaded[0]}")  # noqa: T201 - a program
    for cell in cells:
        if not cell["size"]:
            _print("The source on its own test side", mean_interval(list(_dice([cell]).values())))
    for size in sorted({size for size, _ in DRAWS}):
        drawn = {
            start: {one["seed"]: one for one in cells if (one["size"], one["start"]) == (size, start)}
            for start in STARTS
        }
        seeds = sorted(set.intersection(*(set(one) for one in drawn.values())))
        if seeds:
            print(f"\nSarcomas on PET, {size} training patients, Dice")  # noqa: T201 - this is a program
            _print_size([[drawn[start][seed] for seed in seeds] for start in STARTS])
    targets = [cell for cell in cells if cell["size"]][:1]
    if targets:
        print("\nWithout any network")  # noqa: T201 - this is a program
        for column, what in (("threshold_dice", "SUV above 2"), ("ellipsoid_dice", "a centred ellipsoid")):
            _print(what, mean_interval(list(_dice(targets, column).values())))


def _print_size(started: Sequence[Sequence[dict[str, Any]]]) -> None:
    """Print the trainings of one size: a list of draws for each start."""
    for start, draws in zip(STARTS.values(), started, strict=True):
        each = [float(np.mean(list(_dice([one]).values()))) for one in draws]
        losses = " ".join(f"{one['loss']:.3f}" for one in draws)
        _print(start, mean_interval(list(_dice(draws).values())), f"{_listed(each)}; last loss {losses}")
    each = [paired_difference(_dice([one]), _dice([two])).mean for one, two in zip(*started, strict=True)]
    difference = paired_difference(*(_dice(draws) for draws in started))
    _print(" less ".join(STARTS.values()), difference, _listed(each))


def _listed(each: Sequence[float]) -> str:
    return f"; each {' '.join(f'{one:.3f}' for one in each)}"


def _print(what: str, found: Interval, more: str = "") -> None:
    print(f"  {what:32} {found.text(3)}{more}")  # noqa: T201 - this is a program


if __name__ == "__main__":
    main()
