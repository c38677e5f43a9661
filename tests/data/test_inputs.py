"""What a classifier is fed with: where things lie, how bright they are, and which slice they are."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lepton_monai.cases.case import Case, image_digest
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.inputs import SourceImage, fit, measure_source, samples_of, scaled, source_of
from lepton_monai.plans.classification import InputPlan, ScalePlan

NO_SLICES = np.empty(0, dtype=np.bool_)


def _plan(
    size: tuple[int, int, int],
    spacing: tuple[float, float, float] | None = None,
    scale: ScalePlan | None = None,
    channels: int = 1,
) -> InputPlan:
    return InputPlan(size, spacing, channels, scale or ScalePlan("none", 0.0, 1.0, (0.0,), (1.0,)))


def _source(
    array: NDArray[np.float32],
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    present: NDArray[np.bool_] = NO_SLICES,
) -> SourceImage:
    return SourceImage(array, spacing, "1", present, "digest")


def _case() -> Case:
    return Case("CT-1", "P-1", "id", "id", Path("nowhere"), None)


def test_the_middle_stays_in_the_middle_and_a_ramp_a_ramp() -> None:
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None, None], (40, 30, 20))
    found = fit(ramp, (1.0, 1.5, 2.0), _plan((12, 8, 6), (2.0, 2.0, 3.0)))
    # Centres lie 2 mm apart about 19.5: 8.5, 10.5, ...; far from the border the blur keeps a ramp.
    np.testing.assert_allclose(found[:, 4, 3], 8.5 + 2.0 * np.arange(12), atol=1e-4)


def test_what_lies_outside_is_the_border_going_on() -> None:
    array = np.full((4, 4, 1), 3.0, dtype=np.float32)
    assert np.all(fit(array, (1.0, 1.0, 1.0), _plan((32, 32, 1), (1.0, 1.0, 1.0))) == 3.0)


def test_without_a_spacing_the_whole_image_is_made_to_fit() -> None:
    halves = np.zeros((64, 48, 1), dtype=np.float32)
    halves[32:] = 1.0
    found = fit(halves, (1.0, 1.0, 1.0), _plan((16, 16, 1)))
    assert found.shape == (16, 16, 1)
    assert found[:6].max() < 0.01
    assert found[10:].min() > 0.99


def test_stripes_that_are_too_fine_become_grey_and_not_coarse_stripes() -> None:
    stripes = (np.indices((128, 128, 1))[0] % 2).astype(np.float32)
    found = fit(stripes, (1.0, 1.0, 1.0), _plan((16, 16, 1)))
    assert np.abs(found[2:-2] - 0.5).max() < 0.05


def test_a_flat_input_never_mixes_slices_or_colours() -> None:
    colours = np.zeros((20, 20, 3), dtype=np.float32)
    colours[..., 1] = 1.0
    found = fit(colours, (1.0, 1.0, 1.0), _plan((32, 32, 1), channels=3))
    np.testing.assert_array_equal(found[..., 0], 0.0)
    np.testing.assert_array_equal(found[..., 1], 1.0)


def test_a_series_is_turned_to_ras_before_it_is_fed() -> None:
    array = np.arange(5 * 4 * 3, dtype=np.float32).reshape(5, 4, 3)
    flipped = Volume(array, Grid.from_ras((5, 4, 3), np.diag([-2.0, 3.0, 4.0, 1.0])), "HU")
    found = source_of(flipped, "series", NO_SLICES)
    np.testing.assert_array_equal(found.array, array[::-1])
    turned = Volume(
        array.transpose(2, 0, 1).copy(),
        Grid.from_ras((3, 5, 4), [[0, 2, 0, 0], [0, 0, 3, 0], [4, 0, 0, 0], [0, 0, 0, 1]]),
        "HU",
    )
    found = source_of(turned, "series", NO_SLICES)
    np.testing.assert_array_equal(found.array, array)
    assert found.spacing_mm == (2.0, 3.0, 4.0)


def test_slices_know_their_class_and_how_far_they_lie_from_the_end() -> None:
    array = np.random.default_rng(0).random((6, 5, 4)).astype(np.float32)
    present = np.array([False, True, True, False])
    found = samples_of(
        _case(), _source(array, (1.0, 1.0, 2.5), present=present), _plan((32, 32, 1)), "slice", None
    )
    targets = [one.target for one in found if one.target is not None]
    np.testing.assert_array_equal(targets, [[1, 0], [0, 1], [0, 1], [1, 0]])
    assert [one.slice_number for one in found] == [0, 1, 2, 3]
    assert [one.from_end_mm for one in found] == [0.0, 2.5, 2.5, 0.0]
    assert {one.array.shape for one in found} == {(32, 32, 1)}


@pytest.mark.parametrize(
    ("transform", "low", "high", "wanted"),
    [
        ("none", -100.0, 100.0, [0.0, 0.5, 1.0]),
        ("log", 0.0, float(np.log1p(300.0)), [0.0, 0.0, 1.0]),
    ],
)
def test_values_come_between_zero_and_one(
    transform: str, low: float, high: float, wanted: list[float]
) -> None:
    values = np.array([-200.0, 0.0, 300.0], dtype=np.float32)
    plan = ScalePlan(transform, low, high, (0.0,), (1.0,))  # type: ignore[arg-type] # one of its values
    np.testing.assert_allclose(scaled(values, plan), wanted, atol=1e-6)


def test_a_z_score_forgets_unit_and_offset() -> None:
    values = np.random.default_rng(1).random(500).astype(np.float32)
    plan = ScalePlan("zscore", -3.0, 3.0, (0.0,), (1.0,))
    np.testing.assert_allclose(scaled(values, plan), scaled(700.0 * values - 40.0, plan), atol=1e-4)


def test_mean_and_deviation_come_last() -> None:
    array = np.full((32, 32, 1), 0.75, dtype=np.float32)
    scale = ScalePlan("none", 0.0, 1.0, (0.5,), (0.25,))
    (found,) = samples_of(_case(), _source(array), _plan((32, 32, 1), scale=scale), "image", None)
    assert np.all(found.array == 1.0)
    assert found.target is None


def test_a_measurement_is_the_same_each_time() -> None:
    source = _source(np.random.default_rng(2).random((40, 30, 20)).astype(np.float32))
    first, second = measure_source(source), measure_source(source)
    np.testing.assert_array_equal(first.values, second.values)
    assert len(first.values) == 10_000


def test_an_image_is_the_same_whatever_the_task_and_the_level() -> None:
    """Or a test image could slip through that a segmentation, or another level, was trained on."""
    array = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    affine = np.array([[0, 2.0, 0, 0], [1.5, 0, 0, 0], [0, 0, -3.0, 0], [0, 0, 0, 1.0]])
    volume = Volume(np.asfortranarray(array), Grid((4, 5, 6), affine), "HU")
    digests = {source_of(volume, level, NO_SLICES).digest for level in ("series", "study", "slice")}
    assert digests == {image_digest(volume)}
