"""From the clinical values of the training patients to the scale that a network is given them on."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from lepton_monai.core.errors import InputError
from lepton_monai.labels.clinical import ClinicalColumns, ClinicalRow
from lepton_monai.plans.classification import CategoryPlan, ClinicalPlan, NumberPlan

DROPOUT = 0.1
"""How often a training sample goes without its values."""

MOST_LEVELS = 20
"""Of a category; more are a free text, or an id, that a plan must not hold."""

FEATURES = 32
"""Of the image: many enough for a class, few enough that some clinical values aren't lost among them."""


def plan_clinical(
    rows: Sequence[ClinicalRow | None], columns: ClinicalColumns
) -> tuple[ClinicalPlan, dict[str, str]]:
    """Choose the scale of each number and the levels of each category, and say why.

    Parameters
    ----------
    rows
        Of the training alone, one a patient, study, series or file; None: the table has none.
    columns
        Which values are wanted.

    Raises
    ------
    InputError
        A column holds nothing for the training, or a category too many levels, or a level for most rows.
    """
    reasons = {}
    numbers, categories = [], []
    for name in columns.numbers:
        values = np.array([row.numbers[name] for row in rows if row is not None and name in row.numbers])
        reasons[f"clinical.numbers.{name}"] = _counted(len(values), len(rows), name, columns)
        deviation = _rounded(float(values.std())) if np.ptp(values) else 1.0
        numbers.append(NumberPlan(name, _rounded(float(values.mean())), deviation))
    for name in columns.categories:
        counts = Counter(row.categories[name] for row in rows if row is not None and name in row.categories)
        said = _counted(counts.total(), len(rows), name, columns)
        if len(counts) > MOST_LEVELS:
            message = (
                f"The clinical category `{name}` has {len(counts)} levels in {len(rows)} rows, at most "
                f"{MOST_LEVELS} make sense: is it a text, an id, or one of the `numbers`?"
            )
            raise InputError(message)
        if len(counts) > max(2, counts.total() / 2):
            message = (
                f"The clinical category `{name}` has {len(counts)} levels in {counts.total()} rows: most "
                "stand for one patient. Is it a name, an id, or one of the `numbers`?"
            )
            raise InputError(message)
        # A plan is handed on: it must not tell that one patient alone is so.
        levels = ", ".join(
            f"{level} {count if count > 1 else 'fewer than 2'}" for level, count in sorted(counts.items())
        )
        reasons[f"clinical.categories.{name}"] = f"{said}: {levels}"
        categories.append(CategoryPlan(name, tuple(sorted(counts))))
    reasons["clinical.dropout"] = "a patient of whom nothing is known shall be predicted too"
    reasons["clinical.features"] = "as many of the image as a few values can stand beside"
    return ClinicalPlan(columns.by, tuple(numbers), tuple(categories), DROPOUT, FEATURES), reasons


def _counted(known: int, total: int, name: str, columns: ClinicalColumns) -> str:
    if not known:
        message = (
            f"No training case has a clinical value `{name}`. Is `data.clinical.by: {columns.by}` what the "
            "rows are about?"
        )
        raise InputError(message)
    return f"of the {known} of {total} rows of the training that know it"


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
