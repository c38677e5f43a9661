"""Classes from a table."""

from pathlib import Path

import pytest

from lepton_monai.core.errors import ConfigError
from lepton_monai.labels.tables import read_classes


def _table(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text, encoding="utf-8-sig")
    return folder / "labels.csv"


def test_rows_are_read_by_their_column_and_those_without_a_class_passed_over(tmp_path: Path) -> None:
    path = _table(tmp_path, "age,patient_id,grade\n50, A ,high\n60,B,\n70,C,low\n71,A,high\n")
    assert read_classes(path, "patient_id", "grade") == {"A": "high", "C": "low"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("patient_id,other\nA,high\n", "needs the columns patient_id and grade"),
        ("patient_id,grade\nA,high\nA,low\n", "two classes for one patient_id: line 3"),
        ("patient_id,grade\nA,\n", "names no class"),
        ("", "names no class"),
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
