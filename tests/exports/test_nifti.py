"""Masks for other programs: nibabel and SimpleITK find every voxel where the image has it."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lepton_monai.core.errors import MachineError
from lepton_monai.core.grid import LPS_TO_RAS, Grid
from lepton_monai.exports.nifti import write_image, write_mask
from lepton_monai.labels.labelset import Mask
from tests.phantoms import SHAPE, oblique_affine, orientations

LARGE = (512, 512, 300)
"""A corner of a large image shows what rounding does to an affine."""


def _mask(affine_lps: NDArray[np.float64]) -> Mask:
    numbers = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
    return Mask(numbers, Grid(SHAPE, affine_lps))


def _itk_affine(image: sitk.Image) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return affine


def _header(path: Path) -> nibabel.Nifti1Header:
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    return image.header


@pytest.mark.parametrize("number", range(48))
@pytest.mark.parametrize("angles_deg", [(0.0, 0.0, 0.0), (11.0, -17.0, 23.0)], ids=["straight", "oblique"])
def test_nibabel_and_simpleitk_find_the_mask_on_its_image(
    tmp_path: Path, number: int, angles_deg: tuple[float, float, float]
) -> None:
    affine = oblique_affine((1.0, 1.0, 1.0), angles_deg)
    affine[:3, :3] = affine[:3, :3] @ orientations()[number] * (0.9, 1.3, 2.7)
    mask, path = _mask(affine), tmp_path / "mask.nii.gz"
    write_mask(mask, path)
    first, second = nibabel.load(path), sitk.ReadImage(str(path))
    assert isinstance(first, nibabel.Nifti1Image)
    np.testing.assert_array_equal(np.asarray(first.dataobj), mask.array)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(second).T, mask.array)
    source = Grid(LARGE, affine)
    assert Grid.from_ras(LARGE, np.asarray(first.affine)).corner_distance_mm(source) < 1e-3
    assert Grid(LARGE, _itk_affine(second)).corner_distance_mm(source) < 1e-3


@settings(max_examples=60, deadline=None)
@given(
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda one: float(np.linalg.norm(one)) > 0.1),
    angle_deg=st.one_of(st.floats(-180, 180), st.floats(179.9, 180.1), st.floats(-0.1, 0.1)),
    mirrored=st.booleans(),
    origin=st.tuples(*[st.floats(-900, 900)] * 3),
)
def test_no_angle_costs_a_thousandth_of_a_millimetre(
    tmp_path_factory: pytest.TempPathFactory,
    axis: tuple[float, float, float],
    angle_deg: float,
    mirrored: bool,
    origin: tuple[float, float, float],
) -> None:
    """A qform close to half a turn loses digits: it may be left out, never be wrong."""
    turn = np.array(axis) / np.linalg.norm(axis) * np.radians(angle_deg)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec(turn).as_matrix() * (0.9, 1.3, -2.7 if mirrored else 2.7)
    affine[:3, 3] = origin
    path = tmp_path_factory.getbasetemp() / "angle.nii.gz"
    write_mask(_mask(affine), path)
    header, source = _header(path), Grid(SHAPE, affine)
    assert Grid(SHAPE, _itk_affine(sitk.ReadImage(str(path)))).corner_distance_mm(source) < 1e-3
    assert header["sform_code"] == 1
    assert Grid.from_ras(SHAPE, header.get_sform()).corner_distance_mm(source) < 1e-3
    if header["qform_code"]:
        assert Grid.from_ras(SHAPE, header.get_qform()).corner_distance_mm(source) < 1e-3


def test_type_and_codes_are_what_other_programs_expect(tmp_path: Path) -> None:
    write_mask(_mask(oblique_affine()), tmp_path / "mask.nii.gz")
    header = _header(tmp_path / "mask.nii.gz")
    assert header.get_data_dtype() == np.uint8
    assert (header["sform_code"], header["qform_code"]) == (1, 1)
    assert header.get_xyzt_units() == ("mm", "unknown")
    np.testing.assert_allclose(header.get_zooms(), (0.9, 1.3, 2.7), rtol=1e-6)


def test_all_256_numbers_are_kept_as_they_are(tmp_path: Path) -> None:
    numbers = np.arange(256, dtype=np.uint8).reshape(16, 4, 4)
    write_mask(Mask(numbers, Grid((16, 4, 4), oblique_affine())), tmp_path / "mask.nii.gz")
    stored = nibabel.load(tmp_path / "mask.nii.gz")
    assert isinstance(stored, nibabel.Nifti1Image)
    slope, intercept = stored.header.get_slope_inter()
    assert (slope or 1.0, intercept or 0.0) == (1.0, 0.0)
    np.testing.assert_array_equal(np.asarray(stored.dataobj), numbers)


@pytest.mark.parametrize("kind", ["int16", "uint16", "int32", "float32"])
def test_several_volumes_are_kept_in_their_order_and_their_type(tmp_path: Path, kind: str) -> None:
    values = np.random.default_rng(0).integers(0, 30000, (*SHAPE, 3)).astype(kind)
    grid = Grid(SHAPE, oblique_affine())
    write_image(values, grid, tmp_path / "image.nii.gz")
    first, second = nibabel.load(tmp_path / "image.nii.gz"), sitk.ReadImage(str(tmp_path / "image.nii.gz"))
    assert isinstance(first, nibabel.Nifti1Image)
    assert first.get_data_dtype() == kind
    np.testing.assert_array_equal(np.asarray(first.dataobj), values)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(second).T, values)
    assert Grid.from_ras(SHAPE, np.asarray(first.affine)).corner_distance_mm(grid) < 1e-4


def test_a_sheared_grid_has_a_sform_alone(tmp_path: Path) -> None:
    """A qform would be read as another grid, without a word."""
    affine = oblique_affine()
    affine[:3, 2] += 0.3 * affine[:3, 0]
    write_mask(_mask(affine), tmp_path / "mask.nii.gz")
    header = _header(tmp_path / "mask.nii.gz")
    assert (header["sform_code"], header["qform_code"]) == (1, 0)
    np.testing.assert_allclose(LPS_TO_RAS @ header.get_sform(), affine, atol=1e-5)


def test_nothing_in_the_file_says_whose_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "DOE^JOHN"
    write_mask(_mask(oblique_affine()), folder / "MILLER.nii.gz")
    whole = (folder / "MILLER.nii.gz").read_bytes()
    assert whole[3:8] == b"\0" * 5  # gzip: no name, no time
    header = _header(folder / "MILLER.nii.gz")
    for field in ("descrip", "db_name", "aux_file", "intent_name", "data_type"):
        assert not bytes(header[field]).strip(b"\0"), field
    assert len(header.extensions) == 0
    assert not any(word in whole + gzip.decompress(whole) for word in (b"MILLER", b"DOE", b"lepton"))


def test_two_writes_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        write_mask(_mask(oblique_affine()), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_no_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mask.nii.gz"
    write_mask(_mask(oblique_affine()), path)
    before = path.read_bytes()

    def half(_: object, target: Path) -> None:
        Path(target).write_bytes(before[:50])
        message = "No space left on device"
        raise OSError(28, message)

    monkeypatch.setattr(nibabel, "save", half)
    with pytest.raises(MachineError, match="No space left"):
        write_mask(_mask(np.eye(4)), path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["mask.nii.gz"]
