"""Clinical values as a network is given them: one scale for all numbers, and what is missing marked."""

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.findings import Finding
from lepton_monai.labels.clinical import ClinicalRow
from lepton_monai.plans.classification import ClinicalPlan

FAR = 8.0
"""Deviations from the mean of the training that no patient has, but a value in another unit."""

NOTHING = ClinicalRow({}, {})


def encoded(row: ClinicalRow | None, plan: ClinicalPlan | None) -> NDArray[np.float32]:
    """Return the values of a case.

    Parameters
    ----------
    row
        What is known; None: nothing.
    plan
        The scale of each number, the levels of each category; None: no values are wanted.

    Returns
    -------
    values : float32 ``(plan.width,)``
        Of each number its deviations from the mean of the training, and 0; or 0 and 1 where it is missing.
        Of each category 1 at its level, 0 at the others: 0 at all where it is missing or was never seen.
        Without a plan empty.
    """
    known = row or NOTHING
    values: list[float] = []
    for number in plan.numbers if plan else ():
        value = known.numbers.get(number.name)
        values += (0.0, 1.0) if value is None else ((value - number.mean) / number.deviation, 0.0)
    for category in plan.categories if plan else ():
        values += [float(known.categories.get(category.name) == level) for level in category.levels]
    return np.array(values, dtype=np.float32)


def remarks(row: ClinicalRow | None, plan: ClinicalPlan | None) -> list[Finding]:
    """Return what a person should know of the values of a case; a value itself is never told."""
    if plan is None:
        return []
    if row is None:
        return [Finding("clinical_absent", "The table of clinical values has no row for it.")]
    unknown = [
        Finding("clinical_level_unknown", f"Its `{one.name}` is none that was seen in training.")
        for one in plan.categories
        if row.categories.get(one.name, one.levels[0]) not in one.levels
    ]
    far = [
        Finding(
            "clinical_far", f"Its `{one.name}` lies more than {FAR:g} deviations from the training's mean."
        )
        for one in plan.numbers
        if abs(row.numbers.get(one.name, one.mean) - one.mean) > FAR * one.deviation
    ]
    return unknown + far
