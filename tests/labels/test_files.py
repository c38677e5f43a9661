"""Masks in NIfTI files, written by nibabel and SimpleITK."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from lepton_monai.core.errors import GeometryError, InputError, LabelError
from lepton_monai.core.grid import LPS_TO_RAS, Grid
from lepton_monai.labels.files import read_nifti_labels
from tests.phantoms import SHAPE, oblique_affine

GRID = Grid(SHAPE, oblique_affine())


def _numbers() -> NDArray[np.uint8]:
    return np.random.default_rng(0).choice(np.array([0, 1, 3, 200], dtype=np.uint8), SHAPE)


def _save(path: Path, array: NDArray[np.generic], affine_lps: NDArray[np.float64] = GRID.affine) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, LPS_TO_RAS @ affine_lps), path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_each_number_is_a_region_of_that_name(tmp_path: Path, dtype: type, suffix: str) -> None:
    numbers = _numbers()
    drawn = read_nifti_labels(_save(tmp_path / f"mask{suffix}", numbers.astype(dtype)), GRID)
    assert [region.names for region in drawn.regions] == [("1",), ("3",), ("200",)]
    for region in drawn.regions:
        np.testing.assert_array_equal(region.mask, numbers == int(region.names[0]))


def test_a_mask_of_simpleitk_lies_where_it_says(tmp_path: Path) -> None:
    numbers = _numbers()
    image = sitk.GetImageFromArray(numbers.T)
    image.SetSpacing(GRID.spacing_mm)
    image.SetOrigin(GRID.affine[:3, 3].tolist())
    image.SetDirection((GRID.affine[:3, :3] / GRID.spacing_mm).ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "mask.nii.gz"))
    drawn = read_nifti_labels(tmp_path / "mask.nii.gz", GRID)
    np.testing.assert_array_equal(drawn.regions[1].mask, numbers == 3)


def test_an_empty_mask_has_no_region(tmp_path: Path) -> None:
    drawn = read_nifti_labels(_save(tmp_path / "mask.nii", np.zeros(SHAPE, dtype=np.uint8)), GRID)
    assert drawn.regions == ()


def _moved(mm: float) -> NDArray[np.float64]:
    affine = GRID.affine.copy()
    affine[0, 3] += mm
    return affine


def test_half_a_micrometre_beside_the_image_is_the_same_place(tmp_path: Path) -> None:
    assert len(read_nifti_labels(_save(tmp_path / "mask.nii", _numbers(), _moved(5e-4)), GRID).regions) == 3


@pytest.mark.parametrize("mm", [2e-3, 0.5, -300.0])
def test_a_mask_beside_its_image_is_refused_with_the_distance(tmp_path: Path, mm: float) -> None:
    with pytest.raises(GeometryError, match="corners up to"):
        read_nifti_labels(_save(tmp_path / "mask.nii", _numbers(), _moved(mm)), GRID)


def test_a_mask_that_is_turned_over_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "mask.nii", _numbers(), GRID.affine @ np.diag([1.0, 1.0, -1.0, 1.0]))
    with pytest.raises(GeometryError, match="different grids"):
        read_nifti_labels(path, GRID)


def test_a_mask_of_another_size_is_refused_with_both(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match=r"\(7, 6, 4\).*\(7, 6, 5\)"):
        read_nifti_labels(_save(tmp_path / "mask.nii", _numbers()[:, :, :4]), GRID)


@pytest.mark.parametrize("value", [0.5, -1.0, 1.0001, -0.25])
def test_a_value_that_is_no_label_is_refused(tmp_path: Path, value: float) -> None:
    numbers = _numbers().astype(np.float32)
    numbers[3, 2, 1] = value
    with pytest.raises(LabelError, match="no whole numbers"):
        read_nifti_labels(_save(tmp_path / "mask.nii", numbers), GRID)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mask_that_is_not_finite_is_refused_with_the_count(tmp_path: Path, value: float) -> None:
    numbers = _numbers().astype(np.float32)
    numbers[3, 2, 1] = numbers[0, 0, 0] = value
    with pytest.raises(InputError, match="2 values that aren't finite"):
        read_nifti_labels(_save(tmp_path / "mask.nii", numbers), GRID)


def test_an_image_taken_for_a_mask_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    grid = Grid((20, 20, 20), GRID.affine)
    path = _save(tmp_path / "image.nii", np.arange(8000, dtype=np.int16).reshape(grid.shape))
    with pytest.raises(LabelError, match="8000 different numbers"):
        read_nifti_labels(path, grid)
