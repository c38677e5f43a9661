"""The tables of the classification benchmark: what each start reaches, and what is promised of it.

Where several trainings stand behind a figure it is their mean, and its interval is drawn by the images or
patients of the test side: it says nothing of other draws of the training side; each one stands beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cost import Bound
from numpy.typing import NDArray

from lepton_monai.evaluation.classes import Labels, Scores, auroc
from lepton_monai.evaluation.intervals import Interval, mean_interval, metric_interval, paired_difference

Cell = Mapping[str, Any]

WANTED_ACCURACY = 0.99
CPU_SECONDS = 600.0
"""Five minutes of two cores."""

STARTS = {
    "imagenet": "ImageNet",
    "random": "random",
    "mednist": "from MedNIST",
    "ct": "from CT, of the same patients",
}


def print_tables(cells: Sequence[Cell]) -> None:
    """Print what is finished."""
    for task, title in (
        ("mednist", "MedNIST"),
        ("ct", "Tumour on CT slices"),
        ("pet", "Tumour on PET slices"),
    ):
        whole = _chosen(cells, task, size=0)
        print(f"\n{title}, the whole training side")  # noqa: T201 - this is a program
        for cell in whole:
            _print_cell(cell)
        if task != "mednist" and len(whole) == 2:
            _print("ImageNet less random, AUROC", _auroc_difference(whole[:1], whole[1:]))
    for task, of, figure in (("mednist", "images a class", accuracy), ("pet", "patients", mean_auroc)):
        for size in sorted({cell["size"] for cell in cells if cell["task"] == task and cell["size"]}):
            print(f"\n{task}, {size} {of}: {figure.__name__.replace('_', ' ')}")  # noqa: T201 - a program
            for start in STARTS:
                drawn = _chosen(cells, task, size, start)
                if len(drawn) > 1:
                    each = [_value(cell, task) for cell in drawn]
                    _print(STARTS[start], figure(drawn), f"; each {' '.join(f'{one:.3f}' for one in each)}")
            _print_differences(cells, task, size)


def bounds(cells: Sequence[Cell]) -> list[Bound]:
    """Return what is promised, accuracies in points."""
    (whole,) = _chosen(cells, "mednist", 0, "imagenet")
    found = [
        Bound(
            "MedNIST from ImageNet: accuracy",
            100 * whole["figures"]["accuracy"]["mean"],
            100 * WANTED_ACCURACY,
            at_least=True,
        ),
        Bound("the same: CPU seconds of the training", whole["seconds"]["cpu"], CPU_SECONDS),
    ]
    for size in sorted({cell["size"] for cell in cells if cell["task"] == "mednist" and cell["size"]}):
        first, second = (_chosen(cells, "mednist", size, start) for start in ("imagenet", "random"))
        one_answer = 100 / sum(len(cell["answers"]) for cell in first)  # better is more than equal
        difference = 100 * accuracy_difference(first, second).mean
        what = f"MedNIST, {size} a class: ImageNet less random, mean accuracy"
        found.append(Bound(what, difference, one_answer, at_least=True))
    return found


def accuracy(cells: Sequence[Cell]) -> Interval:
    """Return the mean accuracy of several trainings, drawn by test image."""
    return mean_interval(list(_right(cells).values()))


def accuracy_difference(first: Sequence[Cell], second: Sequence[Cell]) -> Interval:
    """Return the mean accuracy of `first` less that of `second`, paired by test image."""
    return paired_difference(_right(first), _right(second))


def mean_auroc(cells: Sequence[Cell]) -> Interval:
    """Return the mean AUROC of several trainings, drawn by test patient."""
    return metric_interval(_mean_auroc, _scores(cells), _labels(cells), _patients(cells))


def _auroc_difference(first: Sequence[Cell], second: Sequence[Cell]) -> Interval:
    """Return the mean AUROC of `first` less that of `second`, paired by test patient."""

    def less(scores: Scores, labels: Labels) -> float:
        return _mean_auroc(scores[:, : len(first)], labels) - _mean_auroc(scores[:, len(first) :], labels)

    cells = [*first, *second]
    return metric_interval(less, _scores(cells), _labels(cells), _patients(cells))


def _mean_auroc(scores: Scores, labels: Labels) -> float:
    return float(np.mean([auroc(column, labels) for column in scores.T]))


def _chosen(cells: Sequence[Cell], task: str, size: int, start: str | None = None) -> list[Cell]:
    return [
        cell
        for cell in cells
        if cell["task"] == task and cell["size"] == size and start in {None, cell["start"]}
    ]


def _value(cell: Cell, task: str) -> float:
    return float(cell["figures"]["accuracy" if task == "mednist" else "auroc"]["mean"])


def _right(cells: Sequence[Cell]) -> dict[str, float]:
    """Return by test image in how many of the trainings it was recognised, as a share."""
    right: dict[str, list[bool]] = {}
    for cell in cells:
        for one in cell["answers"]:
            right.setdefault(one["case"], []).append(one["decision"] == one["class"])
    return {case: float(np.mean(hits)) for case, hits in right.items()}


def _scores(cells: Sequence[Cell]) -> Scores:
    """Return the probability of the last class, a row a sample, a column a training."""
    rows = [[(one["case"], one["slice"]) for one in cell["answers"]] for cell in cells]
    if any(one != rows[0] for one in rows):
        message = "The cells were tested on other samples: make them with one salt, on the same data."
        raise SystemExit(message)
    column = f"p({cells[0]['classes'][-1]})"
    return np.array([[float(one[column]) for one in cell["answers"]] for cell in cells]).T


def _labels(cells: Sequence[Cell]) -> NDArray[np.int64]:
    classes = cells[0]["classes"]
    return np.array([classes.index(one["class"]) for one in cells[0]["answers"]])


def _patients(cells: Sequence[Cell]) -> list[str]:
    return [one["patient"] for one in cells[0]["answers"]]


def _print_cell(cell: Cell) -> None:
    """Print the figures that `lepton evaluate` gives of one training, and what it took."""
    seconds = cell["seconds"]
    taken = f"{cell['steps']} steps, {seconds['cpu']:.0f} s CPU, {seconds['wall']:.0f} s"
    print(f"  {STARTS[cell['start']]}: {taken}")  # noqa: T201 - this is a program
    for name in ("accuracy", "balanced_accuracy", "auroc", "sensitivity_at_95_specificity", "ece"):
        if name in cell["figures"]:
            _print(f"  {name}", _interval(cell["figures"][name]))
    if cell["position"]:
        _print("  auroc of the slice's place", _interval(cell["position"]))


def _print_differences(cells: Sequence[Cell], task: str, size: int) -> None:
    difference = accuracy_difference if task == "mednist" else _auroc_difference
    second = _chosen(cells, task, size, "random")
    for start in STARTS:
        first = _chosen(cells, task, size, start)
        if start != "random" and len(first) == len(second) > 0:
            _print(f"{STARTS[start]} less random", difference(first, second))


def _interval(content: Mapping[str, Any]) -> Interval:
    """Return an interval of a document, where an undefined figure is null."""
    return Interval(**{name: float("nan") if value is None else value for name, value in content.items()})


def _print(what: str, found: Interval, more: str = "") -> None:
    print(f"  {what:42} {found.text(4)}{more}")  # noqa: T201 - this is a program
