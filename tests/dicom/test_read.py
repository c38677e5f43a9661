"""Every voxel has its value and its place: judged by headers, by SimpleITK, by what was written."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.volume import Volume
from lepton_monai.dicom import Series, read_series
from tests.dicom.changed import change, codes, the_refusal, the_series, the_volume
from tests.phantoms import (
    SHAPE,
    Phantom,
    oblique_affine,
    on_slice,
    orientations,
    tiny_ct,
    tiny_mr,
    tiny_pet,
    unique_values,
)

TINY_MM = 1e-6
SPACING = (0.9, 1.3, 2.7)


def directions() -> list[NDArray[np.float64]]:
    """Return the 48 signed axes, then 24 oblique ones of both hands."""
    oblique = Rotation.random(24, rng=np.random.default_rng(11)).as_matrix()
    oblique[::2, :, 2] *= -1  # slices that were numbered against row x column
    return [*orientations(), *oblique]


def affine_of(axes: NDArray[np.float64]) -> NDArray[np.float64]:
    affine = oblique_affine()
    affine[:3, :3] = axes * SPACING
    return affine


def assert_true(volume: Volume, phantom: Phantom) -> None:
    """Look every voxel of the phantom up by its place."""
    index = np.stack(np.meshgrid(*map(np.arange, phantom.shape), indexing="ij"), axis=-1)
    place = index @ phantom.affine_lps[:3, :3].T + phantom.affine_lps[:3, 3]
    found = volume.grid.to_index(place)
    nearest = np.rint(found).astype(int)
    assert np.abs(found - nearest).max() * max(SPACING) < TINY_MM
    values = volume.array[nearest[..., 0], nearest[..., 1], nearest[..., 2]]
    np.testing.assert_array_equal(values, phantom.values.astype(np.float32))


def assert_as_the_headers_say(series: Series, volume: Volume) -> None:
    """Compare with every file's own header and pixels, as pydicom has them: PS3.3 C.7.6.2.1.1."""
    for k, header in enumerate(series.headers):
        dataset = pydicom.dcmread(header.path)
        row, column = np.split(np.array(dataset.ImageOrientationPatient, dtype=float), 2)
        between_rows, between_columns = map(float, dataset.PixelSpacing)
        for j, i in np.ndindex(dataset.Rows, dataset.Columns):
            place = np.array(dataset.ImagePositionPatient, dtype=float)
            place += row * between_columns * i + column * between_rows * j
            assert np.linalg.norm(volume.grid.to_world([i, j, k]) - place) < TINY_MM
            value = dataset.pixel_array[j, i] * dataset.RescaleSlope + dataset.RescaleIntercept
            assert volume.array[i, j, k] == np.float32(value)


@pytest.mark.parametrize("at", range(72))
def test_every_voxel_is_at_its_place_in_every_orientation(tmp_path: Path, at: int) -> None:
    phantom = tiny_ct(tmp_path, affine_lps=affine_of(directions()[at]))
    series = the_series(tmp_path)
    volume = read_series(series)
    assert_true(volume, phantom)
    if at % 8 == 0:
        assert_as_the_headers_say(series, volume)
    assert volume.array.dtype == np.float32
    assert volume.array.flags.f_contiguous
    assert volume.grid.affine.dtype == np.float64
    assert volume.unit == "HU"
    assert (volume.valid, volume.findings) == (None, ())


@pytest.mark.parametrize("at", [0, 7, 13, 22, 31, 40, 48, 49, 50, 51, 55, 60])
def test_simpleitk_sees_the_same_values_at_the_same_places(tmp_path: Path, at: int) -> None:
    phantom = tiny_ct(tmp_path, affine_lps=affine_of(directions()[at]))
    volume = the_volume(tmp_path)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path), phantom.series_uid))
    image = reader.Execute()
    assert image.GetSize() == volume.array.shape
    for i, j, k in np.ndindex(*volume.array.shape):
        place = image.TransformIndexToPhysicalPoint((i, j, k))
        np.testing.assert_allclose(volume.grid.to_world([i, j, k]), place, atol=1e-5)
        assert volume.array[i, j, k] == image[i, j, k]


def test_nibabel_finds_every_voxel_where_its_own_world_has_it(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path)
    volume = the_volume(tmp_path)
    image = nibabel.Nifti1Image(volume.array, volume.grid.ras())
    left, posterior, superior = phantom.affine_lps[:3] @ [4, 3, 2, 1]
    voxel = np.linalg.inv(image.affine) @ [-left, -posterior, superior, 1]
    i, j, k = np.rint(voxel[:3]).astype(int)
    np.testing.assert_allclose(voxel[:3], [i, j, k], atol=TINY_MM)
    assert image.get_fdata()[i, j, k] == phantom.values[4, 3, 2]


@pytest.mark.parametrize("axis", range(3))
def test_half_a_voxel_is_half_a_voxel(tmp_path: Path, axis: int) -> None:
    here, there = oblique_affine(), oblique_affine()
    there[:3, 3] += there[:3, axis] / 2
    first, second = tiny_ct(tmp_path / "1", affine_lps=here), tiny_ct(tmp_path / "2", affine_lps=there)
    one, other = the_volume(tmp_path / "1"), the_volume(tmp_path / "2")
    assert one.grid.corner_distance_mm(other.grid) == pytest.approx(one.grid.spacing_mm[axis] / 2)
    assert_true(one, first)
    assert_true(other, second)


def test_a_narrow_series_keeps_rows_and_columns_apart(tmp_path: Path) -> None:
    """2 columns, 9 rows, 3 slices: a swap would not even fit."""
    phantom = tiny_ct(tmp_path, (2, 9, 3))
    assert the_volume(tmp_path).array.shape == (2, 9, 3)
    assert_true(the_volume(tmp_path), phantom)


# ------------------------------------------------------------------------------- values
def test_an_mr_without_rescale_keeps_its_stored_values_without_a_unit(tmp_path: Path) -> None:
    phantom = tiny_mr(tmp_path)
    volume = the_volume(tmp_path)
    assert_true(volume, phantom)
    assert volume.unit == "1"


def test_every_slice_has_its_own_rescale(tmp_path: Path) -> None:
    slopes, intercepts = (1.5, 0.25, 3.0, 1e-3, 7.0), (-10.0, 0.0, 5.5, 100.0, -1024.0)
    phantom = tiny_ct(tmp_path, rescale_slope=slopes, rescale_intercept=intercepts)
    volume = the_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, phantom.values.astype(np.float32))
    assert codes(volume) == ["rescale_varies"]


def test_a_pet_has_the_slope_of_every_slice(tmp_path: Path) -> None:
    phantom = tiny_pet(tmp_path)
    volume = the_volume(tmp_path)
    assert_true(volume, phantom)
    assert volume.unit == "SUVbw"


def test_a_ct_without_rescale_is_not_said_to_be_in_hu(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path, rescale_slope=None)
    volume = the_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, phantom.stored.astype(np.float32))
    assert volume.unit == "1"


@pytest.mark.parametrize(("slope", "intercept"), [("1e300", "0"), ("1e38", "0"), ("1", "1e39")])
def test_values_beyond_float32_are_refused(tmp_path: Path, slope: str, intercept: str) -> None:
    paths = tiny_ct(tmp_path).paths
    for path in paths:
        change(path, RescaleSlope=slope, RescaleIntercept=intercept)
    with pytest.raises(SeriesRefused, match="not_finite"):
        the_volume(tmp_path)


# ------------------------------------------------------------------------------- padding
@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_padding_is_invalid_and_set_to_the_lowest_value_by_whatever_vr(
    tmp_path: Path, dtype: type, vr: str
) -> None:
    """Writers give 63536 for -2000 and -2000 for 63536."""
    stored = unique_values(dtype=dtype)
    padding = -2000 if dtype is np.int16 else 63536
    stored[0, :, :] = stored[3, 2, 1] = padding

    def with_padding(_k: int, dataset: pydicom.Dataset) -> None:
        dataset.add_new("PixelPaddingValue", vr, 63536 if vr == "US" else -2000)

    tiny_ct(tmp_path, stored=stored, per_slice=with_padding)
    volume = the_volume(tmp_path)
    expected = stored != padding
    assert volume.valid is not None
    np.testing.assert_array_equal(volume.valid, expected)
    values = stored * 2.0 - 1024.0
    np.testing.assert_array_equal(volume.array[expected], values[expected])
    assert (volume.array[~expected] == values[expected].min()).all()
    assert codes(volume) == ["pixel_padding"]
    assert f"{(~expected).sum()} voxels" in volume.findings[-1].message


def test_padding_in_an_implicit_file_has_the_sign_of_the_pixels(tmp_path: Path) -> None:
    stored = unique_values()
    stored[1, 1, :] = -2000
    extra = {"PixelPaddingValue": -2000}
    tiny_ct(tmp_path, stored=stored, extra=extra, transfer_syntax="1.2.840.10008.1.2")
    volume = the_volume(tmp_path)
    assert volume.valid is not None
    assert (~volume.valid).sum() == SHAPE[2]


@pytest.mark.parametrize(("value", "limit"), [(-30, -10), (-10, -30)])
def test_a_range_of_padding_holds_both_of_its_ends(tmp_path: Path, value: int, limit: int) -> None:
    stored = unique_values(lowest=-50)
    tiny_ct(tmp_path, stored=stored, extra={"PixelPaddingValue": value, "PixelPaddingRangeLimit": limit})
    volume = the_volume(tmp_path)
    assert volume.valid is not None
    np.testing.assert_array_equal(~volume.valid, (stored >= -30) & (stored <= -10))


def test_padding_that_no_voxel_has_is_not_worth_a_word(tmp_path: Path) -> None:
    tiny_ct(tmp_path, extra={"PixelPaddingValue": -2000})
    assert (the_volume(tmp_path).valid, codes(the_volume(tmp_path))) == (None, [])


def test_padding_of_one_slice_is_judged_in_that_slice(tmp_path: Path) -> None:
    stored = unique_values()
    stored[2, 2, :] = -2000

    def flag(dataset: pydicom.Dataset) -> None:
        dataset.PixelPaddingValue = -2000

    tiny_ct(tmp_path, stored=stored, per_slice=on_slice(3, flag))
    volume = the_volume(tmp_path)
    assert volume.valid is not None
    assert np.argwhere(~volume.valid).tolist() == [[2, 2, 3]]


def test_a_series_of_padding_alone_is_refused(tmp_path: Path) -> None:
    stored = np.full(SHAPE, -2000, dtype=np.int16)
    tiny_ct(tmp_path, stored=stored, extra={"PixelPaddingValue": -2000})
    with pytest.raises(SeriesRefused, match="Every voxel is padding"):
        the_volume(tmp_path)


# ------------------------------------------------------------------------------- tables
def with_table(first: int, entries: list[int], bits: int = 16) -> dict[str, object]:
    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.ModalityLUTType = "HU"
    item.add_new("LUTData", "OW", np.array(entries, dtype="<u2").tobytes())
    return {"ModalityLUTSequence": [item]}


@pytest.mark.parametrize(("dtype", "lowest"), [(np.uint16, 0), (np.int16, -90)])
def test_a_modality_lut_is_applied_and_held_at_its_ends(tmp_path: Path, dtype: type, lowest: int) -> None:
    stored = unique_values(dtype=dtype, lowest=lowest)
    entries = np.random.default_rng(4).integers(0, 65536, 100).tolist()
    first = lowest + 30
    tiny_ct(tmp_path, stored=stored, rescale_slope=None, extra=with_table(first, entries))
    volume = the_volume(tmp_path)
    expected = np.array(entries)[np.clip(stored.astype(int) - first, 0, 99)]
    np.testing.assert_array_equal(volume.array, expected.astype(np.float32))
    assert codes(volume) == ["modality_lut"]


def test_a_table_that_lacks_entries_is_refused(tmp_path: Path) -> None:
    table = with_table(0, list(range(300)))
    table["ModalityLUTSequence"][0].LUTDescriptor = [301, 0, 16]  # type: ignore[index] # a list it is
    tiny_ct(tmp_path, rescale_slope=None, extra=table)
    with pytest.raises(SeriesRefused, match="bad_rescale"):
        the_volume(tmp_path)


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    tiny_ct(tmp_path, rescale_slope=None, extra={"ModalityLUTSequence": []})
    with pytest.raises(SeriesRefused, match="bad_rescale"):
        the_volume(tmp_path)


def test_a_table_in_some_slices_alone_is_refused(tmp_path: Path) -> None:
    def add(dataset: pydicom.Dataset) -> None:
        dataset.ModalityLUTSequence = with_table(0, list(range(300)))["ModalityLUTSequence"]

    tiny_ct(tmp_path, per_slice=on_slice(2, add))
    assert the_refusal(tmp_path) == "rescale_incomplete"


@pytest.mark.parametrize(("bits", "kind"), [(16, np.uint16), (8, np.uint8)])
def test_a_falling_line_of_unsigned_values_is_exact_in_the_narrowest_type(
    tmp_path: Path, bits: int, kind: type[np.unsignedinteger[Any]]
) -> None:
    """MONOCHROME1 is often written so: the largest stored value is 0."""
    most = 2**bits - 1
    phantom = tiny_ct(
        tmp_path,
        stored=unique_values(dtype=kind),
        rescale_slope=-1.0,
        rescale_intercept=float(most),
        bits_stored=bits,
    )
    volume = read_series(the_series(tmp_path), dtype=None)
    assert volume.array.dtype == kind
    np.testing.assert_array_equal(volume.array, phantom.values)
