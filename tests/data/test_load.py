from pathlib import Path

import nibabel
import numpy as np
import pytest
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from lepton_monai.core.errors import InputError, SeriesRefused
from lepton_monai.data import LoadDicomd, VolumeReader
from lepton_monai.dicom import read_series, scan
from tests.verbs.exports import AFFINE, SHAPE, ball, write_patient

# MONAI's own readers warn of what they lack and of deprecated arguments.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_folder_is_loaded_with_its_values_and_its_place(tmp_path: Path) -> None:
    who = write_patient(tmp_path, 1, label=False)
    pipeline = Compose([LoadDicomd("image"), EnsureChannelFirstd("image", channel_dim="no_channel")])
    image = pipeline({"image": tmp_path / who.patient_id / "ct"})["image"]
    stored, _ = ball(1)
    assert image.shape == (1, *SHAPE)
    np.testing.assert_array_equal(image[0].numpy(), stored.astype(np.float32) - 1024)
    np.testing.assert_allclose(image.affine.numpy(), np.diag([-1, -1, 1, 1]) @ AFFINE, atol=1e-9)


def test_a_gapped_series_raises_our_error_through_the_transform(tmp_path: Path) -> None:
    who = write_patient(tmp_path, 1, label=False)
    (tmp_path / who.patient_id / "ct" / "IM0006").unlink()
    with pytest.raises(SeriesRefused, match="missing_slice"):
        LoadDicomd("image")({"image": tmp_path / who.patient_id / "ct"})


def test_given_to_monais_constructor_our_refusal_would_be_swallowed(tmp_path: Path) -> None:
    """This is why `LoadDicomd` exists: MONAI's next reader takes the stack with the hole."""
    who = write_patient(tmp_path, 1, label=False)
    (tmp_path / who.patient_id / "ct" / "IM0006").unlink()
    naive = LoadImaged("image", reader=VolumeReader())  # type: ignore[arg-type] # as MONAI documents it
    image = naive({"image": tmp_path / who.patient_id / "ct"})["image"]
    assert image.shape[-1] == SHAPE[2] - 1


def test_a_series_from_an_index_is_loaded_and_names_nobody(tmp_path: Path) -> None:
    who = write_patient(tmp_path, 2, label=False)
    series = scan([tmp_path]).series[0]
    image = LoadDicomd("image")({"image": series})["image"]
    np.testing.assert_array_equal(image.numpy(), read_series(series).array)
    assert image.meta["filename_or_obj"] == "CT series of 14 slices"
    assert who.patient_id not in str(image.meta)


def test_a_folder_of_two_series_is_refused_instead_of_merged(tmp_path: Path) -> None:
    write_patient(tmp_path, 1, label=False)
    write_patient(tmp_path, 2, label=False)
    with pytest.raises(InputError, match="holds 2 volumes"):
        LoadDicomd("image")({"image": tmp_path})


def test_a_folder_without_dicom_is_refused(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 3, 3)), np.eye(4)), tmp_path / "image.nii")
    with pytest.raises(InputError, match="no DICOM series"):
        LoadDicomd("image")({"image": tmp_path})
