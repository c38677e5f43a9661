"""The table of the chest CT benchmark: AUROC by patient, and what weights are worth beside random ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai.evaluation.classes import Labels, Scores, auroc
from lepton_monai.evaluation.intervals import metric_interval

Cell = Mapping[str, Any]
Start = tuple[str, str]

PAIRS: tuple[tuple[Start, Start], ...] = (
    (("probe", "chest CT"), ("probe", "random")),
    (("probe", "chest CT"), ("values", "grey values and air")),
    (("tuning", "chest CT"), ("tuning", "random")),
    (("tuning", "chest CT"), ("tuning", "last stage random")),
)


def print_table(cells: Sequence[Cell], sides: Sequence[str]) -> None:
    """Print what was found on some sides that share no patient: a line a start, then paired differences.

    A figure is the mean over sides and seeds of the AUROC of one model on its test side.
    """
    found: dict[Start, list[Cell]] = {}
    for cell in cells:
        if cell["side"] in sides:
            found.setdefault((cell["method"], cell["start"]), []).append(cell)
    print(f"\n{', '.join(sides)}")  # noqa: T201 - this is a program
    for start, own in found.items():
        _print_line(" ".join(start), [own], sides)
    for one, other in PAIRS:
        if one in found and other in found:
            _print_line(f"{' '.join(one)} less {' '.join(other)}", [found[one], found[other]], sides)


def _print_line(what: str, groups: Sequence[Sequence[Cell]], sides: Sequence[str]) -> None:
    """Print a mean AUROC with its interval and each model's, or the first group's less the second's."""
    blocks = [_scores(cells, sides) for cells in groups]
    scores = np.concatenate([*blocks, _side_of_row(groups[0], sides)[:, None]], axis=1)
    first = blocks[0].shape[1]

    def figure(drawn: Scores, labels: Labels) -> float:
        rows = [drawn[:, -1] == number for number in range(len(sides))]
        each = [
            np.mean([auroc(drawn[row, column], labels[row]) for row in rows])
            for column in range(drawn.shape[1] - 1)
        ]
        rest = float(np.mean(each[first:])) if each[first:] else 0.0
        return float(np.mean(each[:first])) - rest

    labels = _joined(groups[0], sides, "labels")
    patients = _joined(groups[0], sides, "patients")
    interval = metric_interval(figure, scores, labels, patients.tolist())
    models = ""
    if len(groups) == 1:
        each = [f"{auroc(np.array(cell['scores']), np.array(cell['labels'])):.2f}" for cell in groups[0]]
        models = f"  ({' '.join(each)})"
    print(f"  {what:60} {interval.text(3)}{models}")  # noqa: T201 - this is a program


def _scores(cells: Sequence[Cell], sides: Sequence[str]) -> Scores:
    """Return the scores of a start, crops of all sides by seeds."""
    seeds = sorted({cell["seed"] for cell in cells})
    of = {(cell["side"], cell["seed"]): cell["scores"] for cell in cells}
    columns = [[score for side in sides for score in of[side, seed]] for seed in seeds]
    return np.array(columns, dtype=np.float64).T


def _side_of_row(cells: Sequence[Cell], sides: Sequence[str]) -> Scores:
    lengths = {cell["side"]: len(cell["scores"]) for cell in cells}
    return np.repeat(np.arange(len(sides), dtype=np.float64), [lengths[side] for side in sides])


def _joined(cells: Sequence[Cell], sides: Sequence[str], key: str) -> NDArray[Any]:
    """Return labels or patients of the crops of all sides; they are the same for every seed."""
    of = {cell["side"]: cell[key] for cell in cells}
    return np.array([value for side in sides for value in of[side]])
