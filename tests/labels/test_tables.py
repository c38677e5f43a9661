"""Classes from a table."""

from pathlib import Path

import numpy as np
import pytest

from lepton_monai.core.errors import ConfigError
from lepton_monai.labels.tables import read_classes, read_targets


def _table(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8-sig")
    return folder / "labels.csv"


def test_rows_are_read_by_their_column_and_those_without_a_class_passed_over(tmp_path: Path) -> None:
    path = _table(tmp_path, "age,patient_id,grade,age\n50, A ,high,1\n60,B,,1\n70,C,low,1\n71,A,high,1\n")
    assert read_classes(path, "patient_id", "grade") == {"A": "high", "C": "low"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient_id,other\nA,high\n", "needs the columns patient_id and grade"),
        ("patient_id,grade\nA,high\nA,low\n", "two classes for one patient_id: line 3"),
        ("patient_id,grade\nA,\n", "names no class"),
        ("patient_id,grade\n,high\n", "line 2: `patient_id` is empty"),
        ("", "names no class"),
        ("patient_id,grade,grade\nA,high,low\n", "has the column grade more than once"),
        ("patient_id,patient_id,grade\nA,B,low\n", "has the column patient_id more than once"),
    ],
)
def test_a_table_that_says_nothing_or_two_things_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        read_classes(_table(tmp_path, text), "patient_id", "grade")


def test_a_table_that_is_absent_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_classes(tmp_path / "labels.csv", "patient_id", "grade")


def test_a_message_holds_no_id(tmp_path: Path) -> None:
    path = _table(tmp_path, "patient_id,grade\nCANARY,high\nCANARY,low\n")
    with pytest.raises(ConfigError) as refused:
        read_classes(path, "patient_id", "grade")
    assert "CANARY" not in str(refused.value)
    path = _table(tmp_path, "patient_id,a\nCANARY,CANARY\n")
    with pytest.raises(ConfigError) as refused:
        read_targets(path, "patient_id", ("a",))
    assert "CANARY" not in str(refused.value)


def test_a_misspelt_column_is_told_with_the_nearest(tmp_path: Path) -> None:
    path = _table(tmp_path, "patient_id,Grade,age\nA,high,50\n")
    with pytest.raises(ConfigError, match=r"; grad \(the nearest is Grade\) is missing") as refused:
        read_classes(path, "patient_id", "grad")
    assert refused.value.names == ("Grade", "patient_id", "age")


def test_a_table_without_a_head_is_told_without_its_first_row(tmp_path: Path) -> None:
    path = _table(tmp_path, "patient_01,high\npatient_02,low\n")
    with pytest.raises(ConfigError) as refused:
        read_classes(path, "patient_id", "grade")
    assert "patient_01" not in str(refused.value)


def test_a_label_is_yes_no_or_unknown_and_rows_of_one_thing_are_joined(tmp_path: Path) -> None:
    path = _table(tmp_path, "a,study_uid,b,c\n1,X,no,\nTRUE,Y,,0\n,Z,,\n,X,,Yes\n1,X,,\n")
    found = read_targets(path, "study_uid", ("b", "a", "c"))
    assert set(found) == {"X", "Y"}
    assert all(one.dtype == np.float32 for one in found.values())
    np.testing.assert_array_equal(found["X"], [0, 1, 1])
    np.testing.assert_array_equal(found["Y"], [np.nan, 1, 0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,a\nx,1\n", r"needs the columns file and a and b; b is missing\."),
        ("file,a,b\nx,1,0\ny,1\n", r"b is missing: line 3"),
        ("file,a,b\nx,1,0\n\ny,2,0\n", r"something else than 1, 0, .* column a: line 4"),
        ("file,a,b\nx,1,0\ny,0,\nx,,yes\n", r"says yes and no of b for one file: line 4"),
        ("file,a,b\nx,,\n", r"says nothing in its columns a, b"),
    ],
)
def test_a_table_of_labels_that_cannot_be_meant_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read_targets(_table(tmp_path, text), "file", ("a", "b"))
