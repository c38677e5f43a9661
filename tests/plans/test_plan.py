from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from lepton_monai.core.errors import ConfigError
from lepton_monai.plans.plan import plan_text, read_plan
from tests.plans.examples import example_plan


def test_a_plan_reads_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan_text(example_plan()), encoding="utf-8")
    assert read_plan(tmp_path / "plan.yaml") == example_plan()


def test_a_plan_of_another_schema_is_refused_by_its_version(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text("schema_version: 99\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="schema version 99; this version reads 2"):
        read_plan(tmp_path / "plan.yaml")


@pytest.mark.parametrize(
    ("section", "key", "value", "named"),
    [
        ("training", "steps", "many", "training.steps"),
        ("training", "precision", "float7", "training.precision"),
        ("network", "depth", 3, "network.depth"),
    ],
)
def test_a_plan_with_a_mistake_names_it(
    tmp_path: Path, section: str, key: str, value: object, named: str
) -> None:
    (tmp_path / "plan.yaml").write_text(plan_text(example_plan()), encoding="utf-8")
    content = yaml.safe_load((tmp_path / "plan.yaml").read_text(encoding="utf-8"))
    content[section][key] = value
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=named):
        read_plan(tmp_path / "plan.yaml")


@pytest.mark.parametrize("text", ["", "[1]", "a: [", "plan"])
def test_rubbish_is_no_plan(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        read_plan(tmp_path / "plan.yaml")


def test_every_value_of_a_plan_is_plain(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan_text(example_plan()), encoding="utf-8")
    assert "!!" not in (tmp_path / "plan.yaml").read_text(encoding="utf-8")
    assert set(asdict(example_plan())) >= {"preparation", "network", "training", "prediction"}
