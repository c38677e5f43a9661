"""NIfTI images: as nibabel and SimpleITK have them, and nothing that isn't there."""

import gzip
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lepton_monai.core.errors import GeometryError, InputError
from lepton_monai.core.grid import LPS_TO_RAS, Grid
from lepton_monai.images.nifti import read_nifti, stem
from tests.phantoms import SHAPE, oblique_affine, orientations, unique_values

AFFINE = oblique_affine()


def _save(path: Path, array: NDArray[np.generic], affine_lps: NDArray[np.float64] = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, LPS_TO_RAS @ affine_lps), path)
    return path


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.nii", "a"),
        ("a.nii.gz", "a"),
        ("case_0000.nii.gz", "case"),
        ("case_0001.nii.gz", "case_0001"),
        ("v1.2_0000.nii", "v1.2"),
        ("_0000.nii.gz", ""),
    ],
)
def test_a_stem_has_no_suffix_and_no_channel(name: str, expected: str) -> None:
    assert stem(Path("folder") / name) == expected


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_values_and_place_are_those_of_nibabel(tmp_path: Path, dtype: type, suffix: str) -> None:
    path = _save(tmp_path / f"image{suffix}", unique_values().astype(dtype))
    volume, expected = read_nifti(path), nibabel.load(path)
    assert isinstance(expected, nibabel.Nifti1Image)
    np.testing.assert_array_equal(volume.array, np.asarray(expected.dataobj, dtype=np.float32))
    np.testing.assert_allclose(volume.grid.ras(), np.asarray(expected.affine), atol=1e-12)
    assert volume.array.dtype == np.float32
    assert volume.array.flags.f_contiguous
    assert volume.grid.affine.dtype == np.float64
    assert volume.unit == "1"


def test_a_scale_in_the_header_is_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(unique_values(), LPS_TO_RAS @ AFFINE)
    image.header.set_slope_inter(0.5, -7.0)
    nibabel.save(image, tmp_path / "image.nii")
    expected = unique_values() * 0.5 - 7.0  # nibabel stores integers as they are beside a given scale
    np.testing.assert_array_equal(read_nifti(tmp_path / "image.nii").array, expected)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "image.nii"))).T
    np.testing.assert_array_equal(stored, expected)


@pytest.mark.parametrize("number", range(48))
def test_simpleitk_finds_every_voxel_at_the_same_place(tmp_path: Path, number: int) -> None:
    affine = oblique_affine((1.0, 1.0, 1.0))
    affine[:3, :3] = affine[:3, :3] @ orientations()[number] * (0.9, 1.3, 2.7)
    path = _save(tmp_path / "image.nii", unique_values(), affine)
    volume, other = read_nifti(path), sitk.ReadImage(str(path))
    for index in ((0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (3, 2, 1)):
        np.testing.assert_allclose(
            volume.grid.to_world(index), other.TransformIndexToPhysicalPoint(index), atol=1e-3
        )
        assert volume.array[index] == other[index]


@pytest.mark.parametrize("unit", ["meter", "micron", "mm", "unknown"])
def test_metres_and_micrometres_become_millimetres(tmp_path: Path, unit: str) -> None:
    per_mm = {"meter": 1e-3, "micron": 1e3}.get(unit, 1.0)
    affine = AFFINE.copy()
    affine[:3] *= per_mm
    image = nibabel.Nifti1Image(unique_values(), LPS_TO_RAS @ affine)
    image.header.set_xyzt_units(unit, "sec")
    nibabel.save(image, tmp_path / "image.nii")
    np.testing.assert_allclose(read_nifti(tmp_path / "image.nii").grid.affine, AFFINE, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("more", [(1,), (1, 1), (1, 1, 1)])
def test_more_axes_of_length_one_are_no_trouble(tmp_path: Path, more: tuple[int, ...]) -> None:
    path = _save(tmp_path / "image.nii", unique_values().reshape(*SHAPE, *more))
    np.testing.assert_array_equal(read_nifti(path).array, unique_values())


@pytest.mark.parametrize("shape", [(7, 6, 5, 2), (7, 6), (42,), (7, 6, 5, 1, 3)])
def test_what_is_no_volume_is_refused_with_its_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = _save(tmp_path / "image.nii", np.zeros(shape, dtype=np.int16))
    with pytest.raises(InputError, match="one volume is needed"):
        read_nifti(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_refused_with_their_count(tmp_path: Path, value: float) -> None:
    array = unique_values().astype(np.float64)
    array[1, 2, 3] = array[0, 0, 0] = value
    with pytest.raises(InputError, match="2 values that aren't finite"):
        read_nifti(_save(tmp_path / "image.nii", array))


def test_complex_numbers_are_refused_instead_of_halved(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="complex64: real numbers are needed"):
        read_nifti(_save(tmp_path / "image.nii", unique_values().astype(np.complex64)))


def test_colours_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros(SHAPE, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="real numbers are needed"):
        read_nifti(_save(tmp_path / "image.nii", rgb))


def _flat(header: nibabel.Nifti1Header) -> None:
    header["srow_z"] = 0


def _infinite(header: nibabel.Nifti1Header) -> None:
    header["srow_x"] = np.inf


@pytest.mark.parametrize("change", [_flat, _infinite])
def test_an_affine_that_can_be_no_grid_is_refused(
    tmp_path: Path, change: Callable[[nibabel.Nifti1Header], None]
) -> None:
    path = _save(tmp_path / "image.nii", unique_values())
    header = nibabel.Nifti1Header(path.read_bytes()[:348])
    change(header)
    path.write_bytes(bytes(header.binaryblock) + path.read_bytes()[348:])
    with pytest.raises(GeometryError):
        read_nifti(path)


def _claiming(path: Path, shape: tuple[int, ...], content: bytes = b"") -> Path:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.float64)
    header["dim"][: len(shape) + 1] = (len(shape), *shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    header.set_sform(np.eye(4), code=1)
    whole = bytes(header.binaryblock) + b"\0" * 4 + content
    path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)
    return path


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
@pytest.mark.parametrize("side", [30000, 4000, 700])
def test_a_header_that_claims_terabytes_is_refused_at_once(tmp_path: Path, name: str, side: int) -> None:
    """nibabel makes room for the claim before it reads: 216 TB, 512 GB, 2.7 GB."""
    path = _claiming(tmp_path / name, (side, side, side), b"\0" * 20_000)
    tracemalloc.start()
    started = time.monotonic()
    try:
        with pytest.raises(InputError, match="claims"):
            read_nifti(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5e6
    assert time.monotonic() - started < 2


def test_a_well_packed_image_is_still_read(tmp_path: Path) -> None:
    """Zeros shrink by nearly as much as gzip can."""
    path = _save(tmp_path / "image.nii.gz", np.zeros((200, 200, 100), dtype=np.uint8))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 9))
    assert path.stat().st_size < 6000
    assert read_nifti(path).array.shape == (200, 200, 100)


@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path, name: str) -> None:
    whole = _save(tmp_path / name, unique_values()).read_bytes()
    for length in [*range(0, len(whole), 7), *range(len(whole) - 9, len(whole))]:
        (tmp_path / name).write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_nifti(tmp_path / name)


@settings(max_examples=250, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 347), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_header_with_any_bytes_changed_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "changed.nii"
    whole = bytearray(_save(path, unique_values()).read_bytes())
    for at, value in changes:
        whole[at] = value
    path.write_bytes(whole)
    with suppress(InputError):
        assert np.isfinite(read_nifti(path).array).all()


def test_a_compressed_file_with_changed_bytes_is_refused(tmp_path: Path) -> None:
    whole = _save(tmp_path / "image.nii.gz", unique_values()).read_bytes()
    generator = np.random.default_rng(3)
    for _ in range(150):
        changed = bytearray(whole)
        for at in generator.integers(10, len(whole), 2):  # behind the head of gzip, where nothing counts
            changed[at] ^= int(generator.integers(1, 256))
        (tmp_path / "image.nii.gz").write_bytes(changed)
        with pytest.raises(InputError):  # the check sum
            read_nifti(tmp_path / "image.nii.gz")


def test_a_stream_without_end_is_refused(tmp_path: Path) -> None:
    path = _save(tmp_path / "image.nii.gz", unique_values())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"\0" * 2**21))
    with pytest.raises(InputError, match="goes on behind its values"):
        read_nifti(path)


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b", b"not a NIfTI file" * 100, b"\0" * 348])
@pytest.mark.parametrize("name", ["image.nii", "image.nii.gz"])
def test_rubbish_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="can't be read"):
        read_nifti(tmp_path / name)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        read_nifti(tmp_path / "absent.nii.gz")


def test_a_volume_no_longer_needs_its_file(tmp_path: Path) -> None:
    path = _save(tmp_path / "image.nii", unique_values().astype(np.float32))
    volume = read_nifti(path)
    path.write_bytes(b"")
    np.testing.assert_array_equal(volume.array, unique_values())


def test_a_left_handed_image_stays_left_handed(tmp_path: Path) -> None:
    affine = AFFINE @ np.diag([-1.0, 1.0, 1.0, 1.0])
    grid = read_nifti(_save(tmp_path / "image.nii", unique_values(), affine)).grid
    assert np.linalg.det(grid.affine[:3, :3]) < 0
    assert grid.corner_distance_mm(Grid(SHAPE, affine)) < 1e-4
