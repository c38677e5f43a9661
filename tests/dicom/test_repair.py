"""What is made of a refused series on request: exact, marked, or resampled once."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lepton_monai.core.volume import Volume
from lepton_monai.dicom import RefusedSeries, read_series, regularise, repair, scan
from tests.dicom.changed import change
from tests.phantoms import Phantom, oblique_affine, tiny_ct, unique_values

SHAPE = (9, 8, 7)
STEPS = np.array([3.0, 5.0, 7.0])


def _refused(folder: Path, code: str) -> RefusedSeries:
    (refused,) = scan([folder]).refused
    assert refused.finding.code == code
    return refused


def _sheared(degrees: float) -> NDArray[np.float64]:
    """Turn the third column towards the second: a gantry that is tilted."""
    affine = oblique_affine()
    affine[:3, 2] += np.tan(np.radians(degrees)) * 2.7 * affine[:3, 1] / 1.3
    return affine


def _ramp() -> NDArray[np.int16]:
    """Return values that are linear in the index, so linear in space on any lattice."""
    index = np.indices(SHAPE).reshape(3, -1).T
    ramp: NDArray[np.int16] = (100 + index @ STEPS).reshape(SHAPE).astype(np.int16)
    return ramp


def _expected(phantom: Phantom, volume: Volume) -> NDArray[np.float64]:
    """Return the ramp of :func:`_ramp`, after slope and intercept, at every voxel of a volume."""
    index = np.indices(volume.grid.shape).reshape(3, -1).T
    world = volume.grid.to_world(index)
    inverse = np.linalg.inv(phantom.affine_lps)
    there = world @ inverse[:3, :3].T + inverse[:3, 3]
    return np.asarray((100 + there @ STEPS) * 2.0 - 1024.0).reshape(volume.grid.shape)


# ------------------------------------------------------------------------------- tilt
@pytest.mark.parametrize("degrees", [-14.0, 2.5, 20.0])
def test_a_kept_tilt_has_its_exact_sheared_affine_and_every_value(tmp_path: Path, degrees: float) -> None:
    phantom = tiny_ct(tmp_path, stored=unique_values(SHAPE), affine_lps=_sheared(degrees))
    refused = _refused(tmp_path, "gantry_tilt")
    assert repair(refused, {"fill_gaps", "by_instance_number"}) == []
    (series,) = repair(refused, {"keep_tilt"})
    np.testing.assert_allclose(series.grid.affine, phantom.affine_lps, atol=1e-6)
    np.testing.assert_array_equal(read_series(series).array, phantom.values)
    assert [finding.code for finding in series.findings] == ["kept_sheared"]


@pytest.mark.parametrize("degrees", [-14.0, 2.5, 20.0])
def test_a_tilt_that_is_resampled_gives_a_linear_image_back(tmp_path: Path, degrees: float) -> None:
    phantom = tiny_ct(tmp_path, stored=_ramp(), affine_lps=_sheared(degrees))
    volume = regularise(_refused(tmp_path, "gantry_tilt"))
    assert volume is not None
    axes = volume.grid.affine[:3, :3] / volume.grid.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    valid = np.ones(volume.grid.shape, bool) if volume.valid is None else volume.valid
    assert valid.mean() > 0.4
    np.testing.assert_allclose(volume.array[valid], _expected(phantom, volume)[valid], atol=1e-2)
    assert volume.array[~valid].max(initial=-np.inf) <= volume.array[valid].min()
    assert volume.findings[-1].code == "regularised"


# ------------------------------------------------------------------------------- gaps
def test_a_gap_is_filled_by_an_empty_invalid_slice_and_by_nothing_else(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path, stored=unique_values(SHAPE))
    phantom.paths[3].unlink()
    refused = _refused(tmp_path, "missing_slice")
    assert repair(refused, {"keep_tilt"}) == []
    (series,) = repair(refused, {"fill_gaps"})
    volume = read_series(series)
    assert series.gaps == (3,)
    np.testing.assert_allclose(series.grid.affine, phantom.affine_lps, atol=1e-6)
    assert volume.valid is not None
    assert not volume.valid[:, :, 3].any()
    others = [0, 1, 2, 4, 5, 6]
    assert volume.valid[:, :, others].all()
    np.testing.assert_array_equal(volume.array[:, :, others], phantom.values[:, :, others])
    assert (volume.array[:, :, 3] == phantom.values[:, :, others].min()).all()
    uids = [header.identity.instance_uid if header else None for header in series.slices()]
    assert uids == [*phantom.sop_uids[:3], None, *phantom.sop_uids[4:]]


def test_a_tilted_stack_with_a_gap_needs_both(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path, stored=unique_values(SHAPE), affine_lps=_sheared(15.5))
    phantom.paths[2].unlink()
    refused = _refused(tmp_path, "missing_slice")
    assert repair(refused, {"fill_gaps"}) == []
    (series,) = repair(refused, {"fill_gaps", "keep_tilt"})
    np.testing.assert_allclose(series.grid.affine, phantom.affine_lps, atol=1e-6)
    assert series.gaps == (2,)


def test_spacings_that_vary_are_resampled_onto_the_median_and_never_filled(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path, stored=_ramp(), affine_lps=oblique_affine((0.9, 1.3, 2.0)))
    normal = phantom.affine_lps[:3, 2] / 2.0
    # The slices of a linear image may lie where they want: their values go with them.
    for k, path in enumerate(phantom.paths):
        moved = phantom.affine_lps[:3, 3] + normal * (2.0 * k + (0.7 if k > 3 else 0.0))
        change(path, ImagePositionPatient=[round(float(value), 6) for value in moved])
    refused = _refused(tmp_path, "variable_spacing")
    assert repair(refused, {"fill_gaps", "keep_tilt"}) == []
    volume = regularise(refused)
    assert volume is not None
    assert volume.grid.spacing_mm[2] == pytest.approx(2.0, abs=1e-6)
    np.testing.assert_allclose(volume.array[:, :, :4], phantom.values[:, :, :4], atol=1e-3)
    # At 8 mm, between the slices at 6 and 8.7 mm.
    weight = 2.0 / 2.7
    between = phantom.values[:, :, 3] * (1 - weight) + phantom.values[:, :, 4] * weight
    np.testing.assert_allclose(volume.array[:, :, 4], between, atol=1e-3)


def test_nothing_else_is_mended(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path)
    change(phantom.paths[1], RescaleSlope=0)
    refused = _refused(tmp_path, "bad_rescale")
    assert repair(refused, {"fill_gaps", "keep_tilt", "by_instance_number"}) == []
    assert regularise(refused) is None


# ------------------------------------------------------------------------------- time without a tag
def test_volumes_that_only_instance_numbers_tell_apart_are_dealt_on_request(tmp_path: Path) -> None:
    truths = []
    for at in range(3):
        stored = unique_values(SHAPE, lowest=at * 1000)
        phantom = tiny_ct(tmp_path / str(at), stored=stored, series_uid="1.2.9")
        for k, path in enumerate(phantom.paths):
            number = at * len(phantom.paths) + k + 1
            change(path, SOPInstanceUID=f"1.2.9.{number}", InstanceNumber=number)
        truths.append(phantom.values)
    refused = _refused(tmp_path, "conflicting_duplicate")
    found = repair(refused, {"by_instance_number"})
    assert [series.part for series in found] == ["1 of 3", "2 of 3", "3 of 3"]
    for series, truth in zip(found, truths, strict=True):
        np.testing.assert_array_equal(read_series(series).array, truth)
        assert [finding.code for finding in series.findings] == ["split_by_instance_number"]
    next((tmp_path / "1").iterdir()).unlink()
    refused = scan([tmp_path]).refused[0]
    assert repair(refused, {"by_instance_number"}) == []
