"""The scale of clinical values: what is measured, and of whom."""

import pytest

from lepton_monai.core.errors import InputError
from lepton_monai.labels.clinical import ClinicalColumns, ClinicalRow
from lepton_monai.plans.classification import CategoryPlan, NumberPlan
from lepton_monai.training.clinical_planner import plan_clinical

COLUMNS = ClinicalColumns("patient_id", ("age",), ("sex",))


def _row(age: float | None, sex: str | None) -> ClinicalRow:
    return ClinicalRow({"age": age} if age is not None else {}, {"sex": sex} if sex else {})


def test_known_values_alone_are_counted_and_the_reasons_say_how_many() -> None:
    rows = [_row(50, "m"), _row(70, "f"), _row(None, "m"), None]
    plan, reasons = plan_clinical(rows, COLUMNS)
    assert plan.numbers == (NumberPlan("age", 60.0, 10.0),)
    assert plan.categories == (CategoryPlan("sex", ("f", "m")),)
    assert plan.columns == COLUMNS
    assert reasons["clinical.numbers.age"] == "of the 2 of 4 rows of the training that know it"
    assert reasons["clinical.categories.sex"].endswith(
        "the 3 of 4 rows of the training that know it: f fewer than 2, m 2"
    )
    assert {"clinical.dropout", "clinical.features"} <= set(reasons)


def test_a_number_that_never_changes_keeps_its_size() -> None:
    plan, _ = plan_clinical([_row(0.1, "f")] * 7, COLUMNS)
    assert plan.numbers == (NumberPlan("age", 0.1, 1.0),)


def test_a_column_that_says_nothing_of_the_training_is_refused() -> None:
    with pytest.raises(InputError, match=r"No training case has a clinical value `sex`.*by: patient_id"):
        plan_clinical([_row(50, None), None], COLUMNS)


def test_names_of_a_few_patients_are_refused_and_none_told() -> None:
    names = [_row(50, f"CANARY {at // 2 if at < 4 else at}") for at in range(12)]
    with pytest.raises(InputError, match="`sex` has 10 levels in 12 rows") as refused:
        plan_clinical(names, COLUMNS)
    assert "CANARY" not in str(refused.value)
    plan, _ = plan_clinical([_row(50, "abc"[at % 3]) for at in range(6)], COLUMNS)
    assert plan.categories == (CategoryPlan("sex", ("a", "b", "c")),)


def test_a_category_with_a_level_for_everybody_is_refused_and_no_level_told() -> None:
    with pytest.raises(InputError, match="`sex` has 21 levels in 21 rows") as refused:
        plan_clinical([_row(50, f"CANARY {at}") for at in range(21)], COLUMNS)
    assert "CANARY" not in str(refused.value)
