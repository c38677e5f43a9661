"""One coded value of a file."""

from pathlib import Path

import pytest

from lepton_monai.core.errors import ConfigError, FileRefused
from lepton_monai.dicom.keyword import read_coded, require_coded
from tests.phantoms import tiny_ct


def test_a_coded_value_is_read_and_an_absent_one_is_empty(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path)
    assert read_coded(image.paths[0], "Modality") == "CT"
    assert read_coded(image.paths[0], "Laterality") == ""


@pytest.mark.parametrize("keyword", ["PatientName", "SeriesDescription", "StudyDate", "NoSuchKeyword"])
def test_what_may_name_somebody_is_no_class(keyword: str) -> None:
    with pytest.raises(ConfigError, match="coded value"):
        require_coded(keyword)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="unreadable_file"):
        read_coded(tmp_path / "absent", "Modality")
