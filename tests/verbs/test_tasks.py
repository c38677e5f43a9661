"""Each verb goes to the story of the task at hand."""

from pathlib import Path

import pytest

import lepton_monai
from lepton_monai.cases.classes import ClassChoice, Classified, ClassLabels
from lepton_monai.cases.images import ImageChoice
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.core.progress import SILENT
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.plans.plan import plan_text
from lepton_monai.verbs import tasks
from lepton_monai.verbs.candidates import class_candidates
from lepton_monai.verbs.check_classifier import ClassCheckReport
from lepton_monai.verbs.requirements import require_same_classification
from lepton_monai.verbs.train import plan_only, train
from tests.plans.class_examples import example_classification
from tests.plans.examples import example_plan
from tests.verbs.class_exports import PICTURES, write_pictures, write_task


def test_the_python_calls_are_those_of_every_task() -> None:
    assert lepton_monai.train is train
    assert lepton_monai.predict is tasks.predict


def test_a_plan_is_made_for_the_task_of_the_config(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 8)
    plan = plan_only(write_task(tmp_path, tmp_path / "pictures", PICTURES), device="cpu")
    assert plan.classes == ("bar", "disc")


def test_a_check_counts_classes_by_side(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 8)
    found = tasks.check(write_task(tmp_path, tmp_path / "pictures", PICTURES), pictures=None)
    assert isinstance(found, ClassCheckReport)
    assert sum(sum(counts) for counts in found.counts.values()) == 16
    assert found.unit == "image"


def test_an_option_of_another_task_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan_text(example_plan()), encoding="utf-8")
    with pytest.raises(ConfigError, match="--abstain-below is of another task"):
        tasks.predict(tmp_path, tmp_path, tmp_path / "out", abstain_below=0.5)
    (tmp_path / "pictures").mkdir()
    write_pictures(tmp_path / "pictures" / "in", 2)
    config = write_task(tmp_path, tmp_path / "pictures" / "in", PICTURES)
    with pytest.raises(ConfigError, match="--pictures is of another task"):
        tasks.check(config, pictures=tmp_path / "drawn")


def test_a_run_without_a_model_says_so_whatever_its_task(tmp_path: Path) -> None:
    (tmp_path / "plan.yaml").write_text(plan_text(example_classification()), encoding="utf-8")
    write_pictures(tmp_path / "in", 1)
    with pytest.raises(InputError, match="has no checkpoint: train it first"):
        tasks.predict(tmp_path, tmp_path / "in", tmp_path / "out")


def test_a_series_is_not_looked_for_among_pictures(tmp_path: Path) -> None:
    source = example_classification().source
    write_pictures(tmp_path / "in", 1)
    names = Pseudonyms(b"s" * 32)
    assert source.file_format == "picture"
    assert len(class_candidates(source, tmp_path / "in", names, None, SILENT).cases) == 2
    with pytest.raises(ConfigError, match="--series names a DICOM series; the model is for picture files"):
        class_candidates(source, tmp_path / "in", names, "1.2.3", SILENT)


def test_a_plan_for_another_modality_is_refused() -> None:
    plan = example_classification()
    image = ImageChoice(plan.source.name, "MR", plan.source.description, None)
    choice = ClassChoice(Path(), (), plan.source.level, image, ClassLabels("folder"), {})
    classified = Classified((), plan.classes, plan.holds, {}, ())
    with pytest.raises(ConfigError, match="modality None, not MR"):
        require_same_classification(plan, classified, choice)
