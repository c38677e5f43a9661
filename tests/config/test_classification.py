"""The config of a classification: every mistake at once, with its line and what would be right."""

from pathlib import Path

import pytest

from lepton_monai.config.classification import CLASSIFIER_NAMES
from lepton_monai.config.load import load_classification, load_config, load_task, write_config
from lepton_monai.core.errors import ConfigError
from lepton_monai.networks.classifiers import CLASSIFIERS
from lepton_monai.plans.plan import with_values
from tests.plans.class_examples import example_classification

GOOD = """task: classification
data:
  root: here
  level: series
  images: {any: {}}
  labels: {source: tag, keyword: Modality}
"""


def _write(folder: Path, text: str) -> Path:
    (folder / "task.yaml").write_text(text, encoding="utf-8")
    return folder / "task.yaml"


def test_the_names_that_a_config_knows_are_those_that_can_be_built() -> None:
    assert set(CLASSIFIER_NAMES) == set(CLASSIFIERS)


def test_a_config_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    config = load_classification(_write(tmp_path, GOOD), ["train.seed=7", "plan.training.mixup=0.2"])
    assert config.class_choice().label.keyword == "Modality"
    assert config.plan_options().given == {"training.mixup": 0.2}
    write_config(config, tmp_path / "resolved.yaml")
    assert load_task(tmp_path / "resolved.yaml") == config


def test_a_seed_leaves_the_minutes_of_a_classification(tmp_path: Path) -> None:
    assert load_classification(_write(tmp_path, GOOD), ["train.seed=3"]).train.minutes == 5.0


def test_values_of_the_clinical_part_of_a_plan_can_be_given(tmp_path: Path) -> None:
    config = load_classification(_write(tmp_path, GOOD), ["plan.clinical.dropout=0.2"])
    assert config.plan_options().given == {"clinical.dropout": 0.2}
    with pytest.raises(ConfigError, match="this one has none"):
        with_values(example_classification(), config.plan_options().given)


def test_a_config_of_several_labels_is_read_and_written_as_it_was(tmp_path: Path) -> None:
    labels = "source: table, table: t.csv, by: series_uid, columns: [b, a]"
    path = _write(tmp_path, GOOD.replace("source: tag, keyword: Modality", labels))
    config = load_classification(path)
    assert config.class_choice().label.columns == ("b", "a")
    write_config(config, tmp_path / "resolved.yaml")
    assert load_task(tmp_path / "resolved.yaml") == config


def test_all_mistakes_are_told_with_their_lines(tmp_path: Path) -> None:
    text = GOOD.replace("series", "volume").replace("{any: {}}", "{any: {modalty: CT}}")
    with pytest.raises(ConfigError) as told:
        load_task(_write(tmp_path, text))
    assert "2 mistakes" in str(told.value)
    assert "line 4: `data.level`" in str(told.value)
    assert "the nearest is `modality`" in str(told.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("keyword: Modality", "keyword: PatientName", "coded value"),
        (", keyword: Modality", "", "a `keyword` goes with `source: tag`"),
        ("source: tag, keyword: Modality", "source: table", "a `table` goes with"),
        ("level: series", "level: slice", "slices go with `source: segment`"),
        ("level: series", "level: image", "pictures have neither"),
        ("keyword: Modality", "keyword: Modality, columns: [a]", "one a label, go with"),
        ("source: tag, keyword: Modality", "source: table, table: t.csv, columns: [a, a]", "named twice"),
        ("{any: {}}", "{ct: {}, mr: {}}", "exactly one image"),
        ("{any: {}}", "{any: {folder: images}}", "knows neither studies nor DICOM tags"),
        (
            "level: series\n  images: {any: {}}\n  labels: {source: tag, keyword: Modality}",
            "level: series\n  images: {any: {folder: x}}\n  labels: {source: table, table: t.csv}",
            "a table of NIfTI images goes `by: file`",
        ),
        (
            "level: series\n  images: {any: {}}\n  labels: {source: tag, keyword: Modality}",
            "level: slice\n  images: {ct: {folder: x}}\n  labels: {source: segment, classes: {a: 1}}",
            "masks in NIfTI go with a `folder`",
        ),
        (
            "level: series\n  images: {any: {}}\n  labels: {source: tag, keyword: Modality}",
            "level: study\n  images: {any: {}}\n  labels: {source: table, table: t.csv, by: series_uid}",
            "a table of studies goes by study_uid or patient_id",
        ),
        ("keyword: Modality", "keyword: Modality, classes: [CT]", "at least two classes"),
        (
            "level: series\n  images: {any: {}}\n  labels: {source: tag, keyword: Modality}",
            "level: slice\n  images: {ct: {}}\n  labels: {source: segment, classes: {a: x, b: y}}",
            "a segment has one class",
        ),
        ("task: classification", "task: classification\nnetwork: {name: resnet17}", "is no network"),
        (
            "task: classification",
            "task: classification\nnetwork: {name: slices:EfficentNet-b3}",
            "`slices:EfficentNet-b3` is no network; the nearest is `efficientnet-b3`",
        ),
        ("Modality", "Modalty", "`Modalty` is none, the nearest is `Modality`"),
        ("task: classification", "task: clasification", "no task; the nearest is `classification`"),
    ],
)
def test_what_does_not_fit_together_is_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=said):
        load_task(_write(tmp_path, GOOD.replace(old, new)))


def test_known_weights_are_a_name_and_all_else_a_path(tmp_path: Path) -> None:
    known = GOOD + "network: {weights: efficientnet-lite0-imagenet}\n"
    assert load_classification(_write(tmp_path, known)).network.weights == "efficientnet-lite0-imagenet"
    own = GOOD + "network: {weights: mine.pt}\n"
    assert load_classification(_write(tmp_path, own)).network.weights == str(tmp_path / "mine.pt")
    changed = load_classification(_write(tmp_path, GOOD), ["network.weights=efficientnet-lite0-imagenet"])
    assert changed.network.weights == "efficientnet-lite0-imagenet"


def test_a_table_lies_beside_its_config(tmp_path: Path) -> None:
    text = GOOD.replace("source: tag, keyword: Modality", "source: table, table: labels.csv")
    assert load_classification(_write(tmp_path, text)).data.labels.table == tmp_path / "labels.csv"


def test_a_config_of_another_task_is_refused_where_one_task_is_meant(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is of `task: classification`"):
        load_config(_write(tmp_path, GOOD))


@pytest.mark.parametrize("name", ["mednist", "series_modality", "sts_slice_tumour"])
def test_our_own_configs_ask_for_their_data_alone(name: str, tmp_path: Path) -> None:
    path = Path(__file__).parents[2] / "configs" / f"{name}.yaml"
    with pytest.raises(ConfigError, match=r"1 mistake:\n.*data.root"):
        load_task(path)
    assert load_classification(path, [f"data.root={tmp_path}"]).split.file is not None


CLINICAL = GOOD + "  clinical: {table: values.csv, numbers: [age], categories: [sex]}\n"


def test_clinical_values_come_from_a_table_beside_the_config(tmp_path: Path) -> None:
    choice = load_classification(_write(tmp_path, CLINICAL)).class_choice().clinical
    assert choice is not None
    assert choice.table == tmp_path / "values.csv"
    assert (choice.columns.by, choice.columns.names) == ("patient_id", ("age", "sex"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (", numbers: [age], categories: [sex]", "", "at least one column"),
        ("[sex]", "[age]", "a column is either"),
        ("[sex]", "[patient_id]", "a column is either"),
    ],
)
def test_columns_that_make_no_sense_are_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_task(_write(tmp_path, CLINICAL.replace(old, new)))


def test_values_of_a_study_or_a_picture_are_about_one(tmp_path: Path) -> None:
    study = CLINICAL.replace("level: series", "level: study").replace("numbers", "by: series_uid, numbers")
    with pytest.raises(ConfigError, match="a table of studies goes by"):
        load_task(_write(tmp_path, study))
    picture = CLINICAL.replace("level: series\n  images: {any: {}}", "level: image")
    picture = picture.replace("source: tag, keyword: Modality", "source: folder")
    with pytest.raises(ConfigError, match="a table of pictures goes `by: file`"):
        load_task(_write(tmp_path, picture))
