"""The plan of a classification, as a file."""

from pathlib import Path

import pytest

from lepton_monai.core.errors import ConfigError
from lepton_monai.plans.classification import read_classification
from lepton_monai.plans.plan import plan_text, read_plan
from lepton_monai.plans.run import CLASSIFICATION, Run
from tests.plans.class_examples import example_classification


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    plan = example_classification()
    (tmp_path / "plan.yaml").write_text(plan_text(plan), encoding="utf-8")
    assert read_classification(tmp_path / "plan.yaml") == plan
    assert Run(tmp_path).task == CLASSIFICATION


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema_version: 2", "schema_version: 1", "schema version 1; this version reads 2"),
        ("batch_size: 4", "batch_size: many", "training.batch_size"),
        ("task: classification", "task: segmentation", "task"),
        ("  - 1.0\n  - 1.0\n  shift", "  - 1.0\n  shift", "a number above 0 for each of 2 classes"),
        ("  - 1.0\n  - 1.0\n  shift", "  - 1.0\n  - 0.0\n  shift", "above 0 .*it has 1.0, 0.0"),
        ("mean:\n    - 0.0\n", "mean:\n    - 0.0\n    - 0.0\n", "scale.mean has 2 numbers; one, or 1, fit"),
        ("deviation:\n    - 1.0\n", "deviation: []\n", "scale.deviation has 0 numbers"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = plan_text(example_classification())
    assert old in text
    (tmp_path / "plan.yaml").write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        read_classification(tmp_path / "plan.yaml")


def test_a_plan_of_one_task_is_none_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan_text(example_classification()), encoding="utf-8")
    with pytest.raises(ConfigError):
        read_plan(tmp_path / "plan.yaml")
