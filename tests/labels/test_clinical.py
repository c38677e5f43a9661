"""Clinical values from a table."""

from pathlib import Path

import pytest

from lepton_monai.core.errors import ConfigError
from lepton_monai.labels.clinical import ClinicalColumns, ClinicalRow, read_clinical

COLUMNS = ClinicalColumns("patient_id", ("age", "psa"), ("sex",))


def _table(folder: Path, text: str) -> Path:
    (folder / "clinical.csv").write_text(text, encoding="utf-8-sig")
    return folder / "clinical.csv"


def test_an_empty_cell_is_a_missing_value_and_other_columns_are_passed_over(tmp_path: Path) -> None:
    path = _table(tmp_path, "name,psa,patient_id,sex,age\nX, 4.5 ,A,f,\nY,,B,,1e1\nZ,-3,C, m ,70\n")
    assert read_clinical(path, COLUMNS) == {
        "A": ClinicalRow({"psa": 4.5}, {"sex": "f"}),
        "B": ClinicalRow({"age": 10.0}, {}),
        "C": ClinicalRow({"age": 70.0, "psa": -3.0}, {"sex": "m"}),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "patient_id,age,psa\nA,1,2\n",
            r"needs the columns patient_id and age and psa and sex; sex is missing\.",
        ),
        ("patient_id,age,psa,sex\nA,1,2,f\nB,1\n", "psa, sex is missing: line 3"),
        ("patient_id,age,psa,sex\nA,1,2,f\nB,old,2,f\n", "line 3: `age` is no number"),
        ('patient_id,age,psa,sex\nA,1,"2,5",f\n', "line 2: `psa` is no number.*a point"),
        ("patient_id,age,psa,sex\nA,nan,2,f\n", "line 2: `age` is no number"),
        ("patient_id,age,psa,sex\nA,1,inf,f\n", "line 2: `psa` is no number"),
        ("patient_id,age,psa,sex\nA,1,2,f\nA,1,3,f\n", "two rows that differ for one patient_id: line 3"),
        ("patient_id,age,psa,sex\n,1,3,f\n", "line 2: `patient_id` is empty"),
        ("patient_id,age,psa,sex\n", "has no row"),
    ],
)
def test_a_table_that_is_not_understood_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read_clinical(_table(tmp_path, text), COLUMNS)


def test_a_row_that_stands_there_twice_counts_once(tmp_path: Path) -> None:
    path = _table(tmp_path, "patient_id,age,psa,sex\nA,1,2,f\nA,1.0,2,f\n")
    assert read_clinical(path, COLUMNS) == {"A": ClinicalRow({"age": 1.0, "psa": 2.0}, {"sex": "f"})}


@pytest.mark.parametrize("line", ["CANARY,1,CANARY,f", "CANARY,1,2,f\nCANARY,1,3,f"])
def test_a_message_holds_no_id_and_no_cell(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_clinical(_table(tmp_path, f"patient_id,age,psa,sex\n{line}\n"), COLUMNS)
    assert "CANARY" not in str(refused.value)
