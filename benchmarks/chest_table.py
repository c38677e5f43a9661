"""The table of the chest CT benchmark: AUROC by patient, and what weights are worth beside random ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

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


def print_table(cells: Sequence[Cell]) -> None:
    """Print a line for each start of each method, then the paired differences.

    A figure is the mean of the AUROC of each model, a fold and a seed, on the test patients of its fold.
    """
    found: dict[Start, list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell["method"], cell["start"]), []).append(cell)
    print("\nAUROC by patient: mean, 95 % interval (each model)")  # noqa: T201 - this is a program
    for start, own in found.items():
        each = " ".join(f"{auroc(np.array(one['scores']), np.array(one['labels'])):.2f}" for one in own)
        print(f"  {' '.join(start):45} {_interval(own)} ({each})")  # noqa: T201 - this is a program
    for one, other in PAIRS:
        what = f"{' '.join(one)} less {' '.join(other)}"
        print(f"  {what:45} {_interval(found[one], found[other])}")  # noqa: T201 - this is a program


def _interval(cells: Sequence[Cell], others: Sequence[Cell] = ()) -> str:
    """Return a mean AUROC, less that of others where there are some, resampled by patient in pairs."""
    folds = sorted({cell["fold"] for cell in cells})
    own, rest = (_columns(group, folds) for group in (cells, others))
    shown = {cell["fold"]: cell for cell in cells}
    labels, patients = (
        np.concatenate([shown[fold][key] for fold in folds]) for key in ("labels", "patients")
    )
    fold_of = np.concatenate([np.full(len(shown[fold]["labels"]), float(fold)) for fold in folds])
    count = len(own)

    def figure(drawn: Scores, truth: Labels) -> float:
        rows = [drawn[:, -1] == fold for fold in folds]
        each = [np.mean([auroc(column[row], truth[row]) for row in rows]) for column in drawn[:, :-1].T]
        return float(np.mean(each[:count]) - (np.mean(each[count:]) if each[count:] else 0.0))

    scores = np.stack([*own, *rest, fold_of], axis=1)
    return metric_interval(figure, scores, labels, patients.tolist()).text(3)


def _columns(cells: Sequence[Cell], folds: Sequence[int]) -> list[Scores]:
    """Return the scores of all folds, one after the other, for each seed."""
    of = {(cell["fold"], cell["seed"]): cell["scores"] for cell in cells}
    seeds = sorted({cell["seed"] for cell in cells})
    return [np.concatenate([of[fold, seed] for fold in folds]) for seed in seeds]
