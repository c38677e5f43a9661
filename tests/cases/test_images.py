"""Which images make a case: nothing but a common frame of reference says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from lepton_monai.cases.images import ImageChoice, join_images, places_of
from lepton_monai.core.findings import Finding
from lepton_monai.dicom import Series, scan
from sample_data.dicom_files import Identity, SeriesOptions, identity, uid, write_series
from tests.verbs.exports import AFFINE, SHAPE

CT = ImageChoice("ct", "CT", None, None)
WHO = identity("somebody")


def write(folder: Path, modality: str, who: Identity = WHO, description: str = "A") -> list[Path]:
    values = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    return write_series(
        folder, values, AFFINE, who, SeriesOptions(modality=modality, description=description)
    )


def joined(root: Path, *choices: ImageChoice) -> tuple[Series, ...] | Finding:
    """Join to the PET of a folder."""
    index = scan([root])
    (pet,) = (one for one in index.series if one.modality == "PT")
    return join_images(pet, choices, places_of(index))


def test_the_images_of_one_frame_of_reference_go_together_in_the_order_of_the_config(
    tmp_path: Path,
) -> None:
    for modality in ("MR", "PT", "CT"):
        write(tmp_path / modality, modality)
    found = joined(tmp_path, CT, ImageChoice("mr", "MR", None, None))
    assert not isinstance(found, Finding)
    assert [one.modality for one in found] == ["CT", "MR"]


def test_an_image_of_another_frame_or_of_another_patient_is_none(tmp_path: Path) -> None:
    write(tmp_path / "pet", "PT")
    write(tmp_path / "moved", "CT", replace(WHO, frame_of_reference_uid=uid("another")))
    write(tmp_path / "other", "CT", replace(WHO, patient_id="OTHER", study_uid=uid("other")))
    found = joined(tmp_path, CT)
    assert isinstance(found, Finding)
    assert found.code == "image_absent"
    assert found.message.endswith("is `ct` (CT): nothing lies beside it.")
    found = joined(tmp_path, replace(CT, modality="MR", description="*T1*"))
    assert isinstance(found, Finding)
    assert "(MR, by its description)" in found.message


def test_an_image_without_a_frame_of_reference_goes_with_none(tmp_path: Path) -> None:
    nowhere = replace(WHO, frame_of_reference_uid="")
    write(tmp_path / "pet", "PT", nowhere)
    write(tmp_path / "ct", "CT", nowhere)
    found = joined(tmp_path, CT)
    assert isinstance(found, Finding)
    assert found.code == "image_absent"
    assert "has no frame of reference" in found.message


def test_one_series_is_never_two_images(tmp_path: Path) -> None:
    """The image before contrast is missing: that after it fits both patterns."""
    write(tmp_path / "pet", "PT")
    write(tmp_path / "post", "MR", WHO, "T1 post")
    choices = ImageChoice("t1", "MR", "*T1*", None), ImageChoice("t1c", "MR", "*post*", None)
    found = joined(tmp_path, *choices)
    assert isinstance(found, Finding)
    assert (found.code, found.message) == ("image_ambiguous", "One series fits both `t1` and `t1c`.")


def test_a_refused_image_is_not_replaced_by_that_of_another_study(tmp_path: Path) -> None:
    write(tmp_path / "pet", "PT")
    write(tmp_path / "here", "CT", WHO, "HERE")[5].unlink()
    write(tmp_path / "before", "CT", replace(WHO, study_uid=uid("before")), "BEFORE")
    found = joined(tmp_path, CT)
    assert isinstance(found, Finding)
    assert "nothing but 1 refused series: missing_slice" in found.message


def test_of_several_that_of_the_same_study_is_taken_and_two_are_no_guess(tmp_path: Path) -> None:
    write(tmp_path / "pet", "PT")
    write(tmp_path / "here", "CT", WHO, "HERE")
    write(tmp_path / "before", "CT", replace(WHO, study_uid=uid("before")), "BEFORE")
    found = joined(tmp_path, CT)
    assert not isinstance(found, Finding)
    assert [one.description for one in found] == ["HERE"]
    write(tmp_path / "thin", "CT", WHO, "THIN")
    found = joined(tmp_path, CT)
    assert isinstance(found, Finding)
    assert (found.code, found.message) == ("image_ambiguous", "2 series fit `ct`.")
    assert not isinstance(joined(tmp_path, replace(CT, description="thin")), Finding)


def test_why_there_is_none_is_told(tmp_path: Path) -> None:
    write(tmp_path / "pet", "PT")
    write(tmp_path / "ct", "CT")[5].unlink()
    found = joined(tmp_path, CT)
    assert isinstance(found, Finding)
    assert "nothing but 1 refused series: missing_slice" in found.message
