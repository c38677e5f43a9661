from pathlib import Path

import pytest

from lepton_monai.config.load import load_config, load_task, write_config
from lepton_monai.core.errors import ConfigError
from lepton_monai.labels.codes import Code

GOOD = """task: segmentation
data:
  root: images
  images:
    pet: {modality: PT}
  labels:
    source: rtstruct
    classes: {tumour: "GTV*"}
split: {file: split.json, validation: 0}
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / "task.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_config_file(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, GOOD))
    assert config.data.root == tmp_path / "images"
    assert config.split.file == tmp_path / "split.json"


def test_all_mistakes_are_told_at_once_with_their_line_and_the_nearest_key(tmp_path: Path) -> None:
    text = GOOD.replace("modality", "modalty").replace("source: rtstruct", "source: rtstruckt")
    text = text.replace("  root: images\n", "") + "trian: {minutes: 10}\ntrain: {minutes: -1}\n"
    with pytest.raises(ConfigError) as raised:
        load_config(_write(tmp_path, text))
    message = str(raised.value)
    assert "5 mistakes" in message
    assert "line 2: `data.root` is missing; give it in the config or with --set data.root=" in message
    assert "line 4: `data.images.pet.modalty` is no key; the nearest is `modality`" in message
    assert "line 6: `data.labels.source`: input should be 'rtstruct', 'seg'" in message
    assert "line 9: `trian` is no key; the nearest is `train`" in message
    assert "line 10: `train.minutes`" in message


def test_a_misspelt_key_and_the_missing_one_that_it_stands_for_are_one_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(_write(tmp_path, GOOD.replace("  root:", "  roott:")))
    assert str(raised.value).splitlines()[1:] == [
        "  line 3: `data.roott` is no key; the nearest is `root`.",
    ]


def test_a_key_that_stands_for_none_hides_no_missing_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(_write(tmp_path, GOOD.replace("  root: images", "  quux: images")))
    assert "`data.root` is missing" in str(raised.value)
    assert "`data.quux` is no key" in str(raised.value)


@pytest.mark.parametrize(
    ("task", "said"),
    [
        ("task: segmentatoin", "`segmentatoin` is no task; the nearest is `segmentation`"),
        ("", "`task` is missing. Give `task: segmentation` or `task: classification`"),
    ],
)
def test_a_task_that_is_none_is_told_alone_since_all_else_depends_on_it(
    tmp_path: Path, task: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as raised:
        load_task(_write(tmp_path, GOOD.replace("task: segmentation", task)))
    assert "mistakes" not in str(raised.value)


def test_a_misspelt_network_is_told_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`SegResNt` is no network; the nearest is `segresnet`"):
        load_config(_write(tmp_path, GOOD), ["network.name=SegResNt"])


def test_a_value_is_changed_from_the_command_line(tmp_path: Path) -> None:
    config = load_config(
        _write(tmp_path, GOOD), ["train.minutes=0.5", "plan.training.patch_size=[16, 16, 32]"]
    )
    assert config.train.minutes == 0.5
    assert config.plan_options().given == {"training.patch_size": (16, 16, 32)}


def test_a_path_from_the_command_line_is_relative_to_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    config = load_config(_write(tmp_path / "below", GOOD), ["data.root=here"])
    assert config.data.root == tmp_path / "here"


@pytest.mark.parametrize("change", ["train.minutes", "=3", "a..b=1", "task.minutes=1", "x=[1"])
def test_a_change_that_is_none_says_how_it_should_be(tmp_path: Path, change: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        load_config(_write(tmp_path, GOOD), [change])


@pytest.mark.parametrize("text", ["[1, 2", "just words", "\tx: 1", "a: &a [*a]", "{" * 3000])
def test_rubbish_is_refused_with_one_message(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load_config(_write(tmp_path, text))


def test_nifti_masks_want_nifti_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="masks in NIfTI go with"):
        load_config(_write(tmp_path, GOOD.replace("rtstruct", "nifti")))


CODES = "{category: [49755003, SCT, Morphologically Abnormal Structure], type: [4147007, SCT, Mass]}"


def test_codes_say_what_a_class_is(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, GOOD), [f"data.labels.codes.tumour={CODES}"])
    (codes,) = config.class_codes().values()
    assert codes.category == Code("49755003", "SCT", "Morphologically Abnormal Structure")
    assert codes.kind == Code("4147007", "SCT", "Mass")
    write_config(config, tmp_path / "resolved.yaml")
    assert load_config(tmp_path / "resolved.yaml").class_codes() == config.class_codes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (f"codes.tumor={CODES}", "`tumor`, which is no class; the nearest is `tumour`"),
        ("codes.tumour={type: [4147007, SCT, Mass]}", "category"),
        (f"codes.tumour={CODES.replace('4147007', '41470070000000000')}", "at most 16"),
        (f"codes.tumour={CODES.replace('[4147007, SCT, Mass]', 'Mass')}", "codes.tumour.type"),
        (f"codes.tumour={CODES.replace('Mass', 'A' + chr(92) + 'B')}", "codes.tumour.type"),
        (f"codes.tumour={CODES.replace('Mass', chr(39) * 2)}", "codes.tumour.type"),
    ],
)
def test_codes_that_say_nothing_are_a_mistake(tmp_path: Path, change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(_write(tmp_path, GOOD), [f"data.labels.{change}"])


def test_codes_of_a_model_that_writes_no_objects_are_a_mistake(tmp_path: Path) -> None:
    text = GOOD.replace("rtstruct", "nifti").replace("modality: PT", "folder: images")
    with pytest.raises(ConfigError, match="a model of NIfTI images writes none"):
        load_config(_write(tmp_path, text), [f"data.labels.codes.tumour={CODES}"])


def test_a_config_written_as_resolved_reads_as_the_same(tmp_path: Path) -> None:
    config = load_config(_write(tmp_path, GOOD), ["train.seed=7"])
    write_config(config, tmp_path / "resolved.yaml")
    assert load_config(tmp_path / "resolved.yaml") == config


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs").glob("*.yaml")), ids=str)
def test_the_configs_of_the_repository_are_valid_once_the_data_are_named(
    path: Path, tmp_path: Path
) -> None:
    config = load_task(path, [f"data.root={tmp_path}"])
    assert config.split.file is None or config.split.file.is_file()


def test_a_mistake_on_the_command_line_is_not_blamed_on_a_line_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--set: `train\.minuts` is no key; the nearest is `minutes`"):
        load_config(_write(tmp_path, GOOD + "train: {minutes: 3}\n"), ["train.minuts=0.5"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"task: [a,\n", r"is no YAML: line \d+: "),
        (b"\xb9\xff", "is no text in UTF-8"),
    ],
)
def test_a_file_that_is_no_config_is_told_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as raised:
        load_config(path)
    assert "\n" not in str(raised.value)


def test_the_template_is_a_whole_config_wherever_it_is_copied(tmp_path: Path) -> None:
    template = Path(__file__).parents[2] / "configs" / "template.yaml"
    (tmp_path / "task.yaml").write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    config = load_config(tmp_path / "task.yaml", [f"data.root={tmp_path}"])
    assert config.split.file is None
