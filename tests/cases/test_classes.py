"""Cases with classes: whose they are, what says their class, and what is left out."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from lepton_monai.cases.case import Case
from lepton_monai.cases.classes import ClassChoice, Classified, ClassLabels, Level, collect_classified
from lepton_monai.cases.images import ImageChoice
from lepton_monai.cases.split import SplitRule, split_cases
from lepton_monai.core.errors import InputError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.labels.labelset import LabelClass, LabelSet
from sample_data.dicom_files import identity
from tests.phantoms import tiny_ct, tiny_mr

NAMES = Pseudonyms(b"s" * 32)


def _collect(
    root: Path, label: ClassLabels, level: Level = "image", persons: dict[str, str] | None = None
) -> Classified:
    image = ImageChoice("any", None, None, None)
    return collect_classified(ClassChoice(root, (), level, image, label, persons or {}), NAMES)


def _class_of(found: Classified, case: Case) -> int:
    target = found.targets[case.pseudonym]
    assert (found.holds, target.sum(), target.max()) == ("one", 1.0, 1.0)
    return int(target.argmax())


def _pictures(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(root / name, "PNG")
    return root


def test_the_subfolder_is_the_class_and_a_picture_beside_them_has_none(tmp_path: Path) -> None:
    root = _pictures(tmp_path, "b/1.png", "a/2.png", "a/deep/3.png", "4.png", "a/.5.png")
    found = _collect(root, ClassLabels("folder"))
    assert found.classes == ("a", "b")
    classes = {case.patient_id: _class_of(found, case) for case in found.cases}
    assert classes == {"b/1.png": 1, "a/2.png": 0, "a/deep/3.png": 0}
    assert [finding.code for _, finding in found.findings] == ["class_absent"]


def test_classes_keep_the_order_of_the_config_and_others_are_left_out(tmp_path: Path) -> None:
    root = _pictures(tmp_path, "a/1.png", "b/2.png", "c/3.png")
    found = _collect(root, ClassLabels("folder", classes=("c", "a")))
    assert found.classes == ("c", "a")
    assert {case.patient_id: _class_of(found, case) for case in found.cases} == {
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


def test_a_misspelt_class_of_the_config_is_refused_beside_those_that_it_left_out(tmp_path: Path) -> None:
    root = _pictures(tmp_path, "malignant/1.png", "benign/2.png", "other/3.png")
    with pytest.raises(InputError, match="No case is of the class bengin") as refused:
        _collect(root, ClassLabels("folder", classes=("bengin", "malignant")))
    assert refused.value.names == ("benign", "other")
    assert "benign" not in str(refused.value)


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
    assert {case.patient_id: _class_of(found, case) for case in found.cases} == {
        "1.png": 1,
        "more/2.png": 0,
    }
    assert [finding.code for _, finding in found.findings] == ["class_absent"]


def test_a_table_says_which_of_several_labels_hold_and_what_is_not_known(tmp_path: Path) -> None:
    root = _pictures(tmp_path / "pictures", "1.png", "more/2.png", "3.png", "4.png")
    table = tmp_path / "labels.csv"
    rows = ("file,nodule,other,effusion", "1.png,yes,x,0", "more/2.png,,x,1", "4.png,,x,")
    table.write_text("\n".join(rows), encoding="utf-8")
    label = ClassLabels("table", table=table, by="file", columns=("effusion", "nodule"))
    found = _collect(root, label)
    assert (found.classes, found.holds) == (("effusion", "nodule"), "any")
    targets = {case.patient_id: found.targets[case.pseudonym].tolist() for case in found.cases}
    assert targets["1.png"] == [0.0, 1.0]
    assert targets["more/2.png"] == pytest.approx([1.0, float("nan")], nan_ok=True)
    assert set(targets) == {"1.png", "more/2.png"}
    assert [finding.code for _, finding in found.findings] == ["class_absent", "class_absent"]


def test_a_table_of_other_things_is_refused(tmp_path: Path) -> None:
    root = _pictures(tmp_path / "pictures", "1.png")
    table = tmp_path / "labels.csv"
    table.write_text("file,nodule\nother.png,yes\n", encoding="utf-8")
    with pytest.raises(InputError, match="says nothing of the 1 case in"):
        _collect(root, ClassLabels("table", table=table, by="file", columns=("nodule",)))


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
    assert sorted(_class_of(found, case) for case in found.cases) == [0, 0, 1]


def test_a_tag_names_the_class_of_a_series(tmp_path: Path) -> None:
    for number in range(2):
        who = identity(f"patient {number}")
        tiny_ct(tmp_path / f"{number}/ct", who=who)
        tiny_mr(tmp_path / f"{number}/mr", who=who)
    found = _collect(tmp_path, ClassLabels("tag", keyword="Modality"), "series")
    assert found.classes == ("CT", "MR")
    assert sorted(_class_of(found, case) for case in found.cases) == [0, 0, 1, 1]
    assert len({case.person for case in found.cases}) == 2


def test_a_study_that_says_two_classes_is_left_out(tmp_path: Path) -> None:
    for number in range(4):
        who = identity(f"patient {number}")
        for name in ("thin", "thick"):
            side = ("a", "b")[(number + (number == 3 and name == "thin")) % 2]
            tiny_ct(tmp_path / side / str(number) / name, who=who, description=name)
    found = _collect(tmp_path, ClassLabels("folder"), "study")
    assert [finding.code for _, finding in found.findings] == ["class_ambiguous"] * 2
    assert len(found.cases) == 6
    assert len({case.study for case in found.cases}) == 3
    by_study = {(case.study, _class_of(found, case)) for case in found.cases}
    assert len(by_study) == 3


def test_a_table_names_the_class_of_all_series_of_a_study(tmp_path: Path) -> None:
    rows = ["study_uid,label"]
    for number in range(2):
        who = identity(f"patient {number}")
        for name in ("thin", "thick"):
            tiny_ct(tmp_path / "dicom" / str(number) / name, who=who, description=name)
        rows.append(f"{who.study_uid},{'high' if number else 'low'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    label = ClassLabels("table", table=tmp_path / "labels.csv", by="study_uid")
    found = _collect(tmp_path / "dicom", label, "study")
    assert sorted(_class_of(found, case) for case in found.cases) == [0, 0, 1, 1]


def _nifti(root: Path, *names: str) -> Path:
    for at, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        values = np.arange(24, dtype=np.int16).reshape(4, 3, 2) + at
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 2.0, 3.0, 1.0])), root / name)
    return root


def _collect_nifti(root: Path, label: ClassLabels, level: Level = "series") -> Classified:
    image = ImageChoice("ct", None, None, "images")
    return collect_classified(ClassChoice(root, (), level, image, label, {}), NAMES)


def test_nifti_images_have_the_class_of_their_subfolder(tmp_path: Path) -> None:
    root = _nifti(tmp_path, "images/a/1.nii.gz", "images/b/1.nii", "images/b/2.nii.gz")
    found = _collect_nifti(root, ClassLabels("folder"))
    classes = {case.patient_id: _class_of(found, case) for case in found.cases}
    assert classes == {"a/1": 0, "b/1": 1, "b/2": 1}
    assert len({case.pseudonym for case in found.cases}) == 3


def test_a_table_names_the_class_of_a_nifti_image_by_its_path_below_their_folder(tmp_path: Path) -> None:
    root = _nifti(tmp_path, "images/1.nii.gz", "images/2.nii.gz", "images/3.nii.gz")
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n1.nii.gz,low\n2.nii.gz,high\n", encoding="utf-8")
    found = _collect_nifti(root, ClassLabels("table", table=table, by="file"))
    assert {case.patient_id: _class_of(found, case) for case in found.cases} == {"1": 1, "2": 0}
    assert [finding.code for _, finding in found.findings] == ["class_absent"]


def test_slices_of_nifti_images_are_labelled_by_masks_of_the_same_name(tmp_path: Path) -> None:
    root = _nifti(tmp_path, "images/1_0000.nii.gz", "images/2.nii.gz", "masks/1.nii.gz")
    label = ClassLabels(
        "segment", segments=LabelSet((LabelClass("tumour", ("1",)),)), annotation="nifti", folder="masks"
    )
    found = _collect_nifti(root, label, "slice")
    assert [(case.patient_id, case.label) for case in found.cases] == [("1", root / "masks/1.nii.gz")]
    assert found.classes == ("no tumour", "tumour")
    assert [finding.code for _, finding in found.findings] == ["label_absent"]


def test_a_class_for_everybody_is_refused_and_none_named_unless_they_are_listed(tmp_path: Path) -> None:
    rows = [f"{at}.png,CANARY {at}" for at in range(51)]
    root = _pictures(tmp_path / "in", *(f"{at}.png" for at in range(51)))
    (tmp_path / "table.csv").write_text("\n".join(["file,who", *rows]), encoding="utf-8")
    label = ClassLabels("table", table=tmp_path / "table.csv", by="file", column="who")
    with pytest.raises(InputError, match="column `who` would make 51 classes of 51 cases") as refused:
        _collect(root, label)
    assert "CANARY" not in str(refused.value)
    listed = tuple(f"CANARY {at}" for at in range(51))
    assert _collect(root, replace(label, classes=listed)).classes == listed
