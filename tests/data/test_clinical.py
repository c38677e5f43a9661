"""Clinical values as a network is given them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lepton_monai.data.class_sampler import ImageDataset
from lepton_monai.data.clinical import encoded, remarks
from lepton_monai.data.inputs import NO_VALUES, Sample
from lepton_monai.labels.clinical import ClinicalRow
from lepton_monai.plans.classification import CategoryPlan, ClassificationPlan, ClinicalPlan, NumberPlan
from tests.plans.class_examples import example_classification

PLAN = ClinicalPlan(
    by="patient_id",
    numbers=(NumberPlan("age", 60.0, 10.0), NumberPlan("psa", 4.0, 2.0)),
    categories=(CategoryPlan("sex", ("f", "m")), CategoryPlan("stage", ("1", "2", "3"))),
    dropout=0.0,
    features=32,
)
WHOLE = ClinicalRow({"age": 75.0, "psa": 3.0}, {"sex": "m", "stage": "1"})


@pytest.mark.parametrize(
    ("row", "values"),
    [
        (WHOLE, [1.5, 0, -0.5, 0, 0, 1, 1, 0, 0]),
        (ClinicalRow({"psa": 4.0}, {"stage": "3"}), [0, 1, 0, 0, 0, 0, 0, 0, 1]),
        (ClinicalRow({"age": 60.0}, {"sex": "x", "stage": "2"}), [0, 0, 0, 1, 0, 0, 0, 1, 0]),
        (None, [0, 1, 0, 1, 0, 0, 0, 0, 0]),
    ],
)
def test_a_number_has_a_mark_where_it_is_missing_and_a_level_its_place(
    row: ClinicalRow | None, values: list[float]
) -> None:
    found = encoded(row, PLAN)
    assert found.dtype == np.float32
    assert PLAN.width == len(values)
    np.testing.assert_array_equal(found, np.array(values, dtype=np.float32))


def test_without_a_plan_there_are_no_values() -> None:
    assert encoded(WHOLE, None).size == 0


def test_what_a_person_should_know_is_told_and_no_value_with_it() -> None:
    assert remarks(WHOLE, PLAN) == remarks(None, None) == []
    assert [one.code for one in remarks(None, PLAN)] == ["clinical_absent"]
    odd = ClinicalRow({"age": 60.0, "psa": 4711.0}, {"sex": "CANARY"})
    found = remarks(odd, PLAN)
    assert [one.code for one in found] == ["clinical_level_unknown", "clinical_far"]
    said = " ".join(one.sentence() for one in found)
    assert "`sex`" in said
    assert "`psa`" in said
    assert "CANARY" not in said
    assert "4711" not in said


def _plan(dropout: float, **training: object) -> ClassificationPlan:
    return replace(example_classification(**training), clinical=replace(PLAN, dropout=dropout))  # type: ignore[arg-type] # of whatever type it has


def _samples() -> list[Sample]:
    rows = [ClinicalRow({"age": 60.0 + at, "psa": 4.0}, {"sex": "f"}) for at in range(1, 5)]
    image = np.ones((16, 12, 1), dtype=np.float16)
    return [
        Sample(
            f"PIC-{at}",
            "P",
            None,
            0.0,
            np.eye(2, dtype=np.float32)[at % 2],
            image * at,
            values=encoded(row, PLAN),
        )
        for at, row in enumerate(rows)
    ]


def test_an_image_comes_with_its_values_and_alone_without_any() -> None:
    samples = _samples()
    dataset = ImageDataset(samples, _plan(0.0))
    for at in range(8):
        (image, values), _ = dataset[at]
        assert image.shape == (1, 16, 12)
        assert torch.equal(values, torch.from_numpy(samples[dataset.case_number(at)].values))
    bare = [replace(one, values=NO_VALUES) for one in samples]
    alone, _ = ImageDataset(bare, example_classification())[0]
    assert isinstance(alone, torch.Tensor)


def test_all_values_are_missing_as_often_as_the_plan_says() -> None:
    dataset = ImageDataset(_samples(), _plan(0.3, steps=100))
    missing = torch.from_numpy(encoded(None, PLAN))
    dropped = [torch.equal(dataset[at][0][1], missing) for at in range(400)]
    # Three deviations of a binomial of 400 draws.
    assert np.mean(dropped) == pytest.approx(0.3, abs=0.07)
    assert dropped[:40] == [torch.equal(dataset[at][0][1], missing) for at in range(40)]


def test_values_are_mixed_as_their_images_are() -> None:
    plan = _plan(0.0, mixup=1.0, shift=0.0)
    off = {name: 0.0 for name in vars(plan.training.augmentation) if name.endswith("probability")}
    still = replace(plan.training.augmentation, **off)  # type: ignore[arg-type] # floats
    dataset = ImageDataset(_samples(), replace(plan, training=replace(plan.training, augmentation=still)))
    for at in range(24):
        (image, values), _ = dataset[at]
        # The picture of number n is n everywhere, its patient n + 1 tenths of a deviation older.
        assert float(values[0]) == pytest.approx((float(image.mean()) + 1) / 10, abs=1e-3)
