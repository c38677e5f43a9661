"""The table of the segmentation benchmark: means, paired differences, and what is promised of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from cost import Bound

from lepton_monai.evaluation.intervals import Interval, mean_interval, paired_difference

LOWER_END = {"sts": -0.05, "hippocampus": -0.01}
"""Of the interval of lepton less nnU-Net."""

WANTED = {"hippocampus": 0.875}

Cell = Mapping[str, Any]


def by_patient(cells: Sequence[Cell], method: str, task: str) -> dict[str, float]:
    """Return each patient's mean Dice over the classes that are defined, of all folds."""
    return {
        name: float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")
        for cell in cells
        if (cell["method"], cell["task"]) == (method, task)
        for name, classes in cell["dice"].items()
        for values in [np.array(list(classes.values()), dtype=float)]
    }


def print_table(cells: Sequence[Cell], task: str, methods: Sequence[str]) -> None:
    """Print means and differences of a task, and each of its runs."""
    print(f"\n{task}")  # noqa: T201 - this is a program
    dice = {method: by_patient(cells, method, task) for method in methods}
    for method in methods:
        interval = mean_interval(list(dice[method].values()))
        print(f"  {method:30} {_text(interval)}")  # noqa: T201 - this is a program
    for other in methods[1:]:
        difference = paired_difference(dice[methods[0]], dice[other])
        print(f"  {methods[0] + ' less ' + other:30} {_text(difference)}")  # noqa: T201 - this is a program
    for cell in cells:
        if cell["task"] == task:
            spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in cell["seconds"].items())
            mean = np.nanmean(list(by_patient([cell], cell["method"], task).values()))
            print(  # noqa: T201 - this is a program
                f"    {cell['method']} fold {cell['fold']}: {mean:.3f}, {cell['steps']} steps, {spent}"
            )


def bounds(cells: Sequence[Cell], task: str) -> list[Bound]:
    """Return what is promised of a task, in points of Dice."""
    lepton, nnunet, plain = (by_patient(cells, method, task) for method in ("lepton", "nnunet", "plain"))
    difference = paired_difference(lepton, nnunet)
    over_plain = paired_difference(lepton, plain).mean
    promised = [
        Bound(f"{task}: lepton less nnU-Net", 100 * difference.mean, 0.0, at_least=True),
        Bound(f"{task}: lower end of it", 100 * difference.low, 100 * LOWER_END[task], at_least=True),
        Bound(f"{task}: lepton less plain", 100 * over_plain, 1.0, at_least=True),
    ]
    if task in WANTED:
        found = 100 * mean_interval(list(lepton.values())).mean
        promised.append(Bound(f"{task}: lepton", found, 100 * WANTED[task], at_least=True))
    return promised


def _text(one: Interval) -> str:
    undefined = f", undefined in {one.undefined}" if one.undefined else ""
    return f"{one.mean:6.3f} [{one.low:.3f}, {one.high:.3f}], n = {one.n}{undefined}"
