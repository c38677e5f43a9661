"""72 real series: PET with a slope a slice, CT and MR in JPEG-LS, each read as others read it."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lepton_monai.core.grid import Grid
from lepton_monai.dicom import read_series, scan

pytestmark = pytest.mark.data


def test_all_72_series_have_the_grid_of_their_masks_and_the_values_of_simpleitk(data_folder: Path) -> None:
    import nibabel

    index = scan([data_folder / "sts" / "dicom"])
    assert (len(index.series), len(index.refused), len(index.findings)) == (72, 0, 0)
    furthest, largest = 0.0, 0.0
    for series in index.series:
        patient, kind = series.headers[0].path.parts[-4:-2]
        mask = nibabel.Nifti1Image.from_filename(
            data_folder / "sts" / "nifti_masks" / patient / f"{kind}_mask.nii.gz"
        )
        columns, rows, slices = mask.shape
        grid = Grid.from_ras((columns, rows, slices), np.asarray(mask.affine))
        furthest = max(furthest, series.grid.corner_distance_mm(grid))
        volume = read_series(series)
        truth = sitk.GetArrayFromImage(sitk.ReadImage([str(one.path) for one in series.headers])).T
        scale = max(1.0, float(np.abs(truth).max()))
        largest = max(largest, float(np.abs(volume.array - truth).max()) / scale)
    print(f"72 series: corners within {furthest:.2g} mm, values within {largest:.2g} of the largest")
    assert furthest < 1e-3
    assert largest < 2e-7
