"""Cases with classes: whose they are, what says their class, and what is left out."""

from pathlib import Path

import pytest
from PIL import Image

from lepton_monai.cases.classes import ClassChoice, Classified, ClassLabels, Level, collect_classified
from lepton_monai.cases.collect import ImageChoice
from lepton_monai.cases.split import SplitRule, split_cases
from lepton_monai.core.errors import InputError
from lepton_monai.core.pseudonyms import Pseudonyms
from sample_data.dicom_files import identity
from tests.phantoms import tiny_ct, tiny_mr

NAMES = Pseudonyms(b"s" * 32)


def _collect(
    root: Path, label: ClassLabels, level: Level = "image", persons: dict[str, str] | None = None
) -> Classified:
    image = ImageChoice("any", None, None, None)
    return collect_classified(ClassChoice(root, (), level, image, label, persons or {}), NAMES)


def _pictures(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / name, "PNG")
    return root


def test_the_subfolder_is_the_class_and_a_picture_beside_them_has_none(tmp_path: Path) -> None:
    root = _pictures(tmp_path, "b/1.png", "a/2.png", "a/deep/3.png", "4.png", "a/.5.png")
    found = _collect(root, ClassLabels("folder"))
    assert found.classes == ("a", "b")
    classes = {case.patient_id: found.class_of[case.pseudonym] for case in found.cases}
    assert classes == {"b/1.png": 1, "a/2.png": 0, "a/deep/3.png": 0}
    assert [finding.code for _, finding in found.findings] == ["class_absent"]


def test_classes_keep_the_order_of_the_config_and_others_are_left_out(tmp_path: Path) -> None:
    root = _pictures(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    found = _collect(root, ClassLabels("folder", classes=("c", "a")))
    assert found.classes == ("c", "a")
    assert {case.patient_id: found.class_of[case.pseudonym] for case in found.cases} == {
        "a/1.png": 1,
        "c/3.png": 0,
    }
    assert [finding.code for _, finding in found.findings] == ["class_not_wanted"]


@pytest.mark.parametrize(
    ("classes", "said"), [((), "Two classes are needed"), (("a", "z"), "No case is of the class z")]
)
def test_fewer_than_two_classes_are_refused(tmp_path: Path, classes: tuple[str, ...], said: str) -> None:
    root = _pictures(tmp_path, "a/1.png", "a/2.png")
    with pytest.raises(InputError, match=said):
        _collect(root, ClassLabels("folder", classes=classes))


def test_pictures_that_a_table_gives_to_one_person_stand_on_one_side(tmp_path: Path) -> None:
    names = [f"{side}/{number}.png" for side in "ab" for number in range(6)]
    persons = {name: f"person {at // 2}" for at, name in enumerate(names)}
    found = _collect(_pictures(tmp_path, *names), ClassLabels("folder"), persons=persons)
    split = split_cases(found.cases, SplitRule(None, 0.3, 0.3, 0))
    sides = [{case.person for case in side} for side in (split.train, split.validation, split.test)]
    assert sum(len(side) for side in sides) == 6
    assert all(len(side) > 0 for side in sides)


def test_a_table_names_the_class_of_a_file(tmp_path: Path) -> None:
    root = _pictures(tmp_path / "pictures", "1.png", "more/2.png", "3.png")
    table = tmp_path / "labels.csv"
    table.write_text("file,grade\n1.png,low\nmore/2.png,high\n", encoding="utf-8")
    found = _collect(root, ClassLabels("table", table=table, by="file", column="grade"))
    assert {case.patient_id: found.class_of[case.pseudonym] for case in found.cases} == {
        "1.png": 1,
        "more/2.png": 0,
    }
    assert [finding.code for _, finding in found.findings] == ["class_absent"]


@pytest.mark.parametrize("by", ["patient_id", "series_uid"])
def test_a_table_names_the_class_of_a_series(tmp_path: Path, by: str) -> None:
    rows = []
    for number in range(3):
        image = tiny_ct(tmp_path / "dicom" / str(number), who=identity(f"patient {number}"))
        key = image.who.patient_id if by == "patient_id" else image.series_uid
        rows.append(f"{key},{'high' if number else 'low'}")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join([f"{by},label", *rows]), encoding="utf-8")
    label = ClassLabels("table", table=table, by=by)  # type: ignore[arg-type] # one of its values
    found = _collect(tmp_path / "dicom", label, "series")
    assert sorted(found.class_of.values()) == [0, 0, 1]


def test_a_tag_names_the_class_of_a_series(tmp_path: Path) -> None:
    for number in range(2):
        who = identity(f"patient {number}")
        tiny_ct(tmp_path / f"{number}/ct", who=who)
        tiny_mr(tmp_path / f"{number}/mr", who=who)
    found = _collect(tmp_path, ClassLabels("tag", keyword="Modality"), "series")
    assert found.classes == ("CT", "MR")
    assert sorted(found.class_of.values()) == [0, 0, 1, 1]
    assert len({case.person for case in found.cases}) == 2
