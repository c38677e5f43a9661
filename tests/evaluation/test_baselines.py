"""What a model has to beat: simple bodies with a known volume, and the figures on real data."""

import json
from pathlib import Path

import numpy as np
import pytest

from lepton_monai.dicom import read_series, scan
from lepton_monai.evaluation.baselines import Baselines, above, centred_ellipsoid
from lepton_monai.evaluation.intervals import Interval
from lepton_monai.evaluation.overlap import dice
from lepton_monai.labels.rtstruct import rasterise, read_structures


def test_an_ellipsoid_holds_the_centres_within_a_quarter_of_the_extent() -> None:
    shape = (21, 17, 9)
    expected = [
        ((i - 10) / 5) ** 2 + ((j - 8) / 4) ** 2 + ((k - 4) / 2) ** 2 <= 1
        for i in range(21)
        for j in range(17)
        for k in range(9)
    ]
    np.testing.assert_array_equal(centred_ellipsoid(shape), np.reshape(expected, shape))


@pytest.mark.parametrize("shape", [(8, 9, 10), (21, 17, 9), (40, 3, 6)])
def test_an_ellipsoid_lies_in_the_middle_and_looks_the_same_from_all_sides(
    shape: tuple[int, int, int],
) -> None:
    body = centred_ellipsoid(shape)
    assert body.shape == shape
    for axis in range(3):
        np.testing.assert_array_equal(body, np.flip(body, axis))


def test_an_ellipsoid_has_its_volume() -> None:
    body = centred_ellipsoid((161, 121, 201))
    expected = 4 / 3 * np.pi * 40 * 30 * 50
    assert body.sum() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 30, 20), (30, 1, 1)])
def test_an_image_of_one_slice_has_an_ellipse(shape: tuple[int, int, int]) -> None:
    assert 0 < centred_ellipsoid(shape).sum() <= np.prod(shape)


def test_above_means_more_than_the_value() -> None:
    values = np.array([[[1.9, 2.0, 2.1, -3.0]]], dtype=np.float32)
    np.testing.assert_array_equal(above(values, 2.0), [[[False, False, True, False]]])


@pytest.mark.parametrize(("dice", "is_told"), [(0.5, False), (0.3, True), (0.1, True)])
def test_a_model_that_is_no_better_is_told(dice: float, is_told: bool) -> None:
    ellipsoid, threshold = (Interval(mean, mean, mean, 4, 0) for mean in (0.2, 0.3))
    lines = Baselines(ellipsoid, threshold, 2.0).sentences(Interval(dice, dice, dice, 4, 0))
    assert lines[:2] == [
        f"A centred ellipsoid of half the extent has {ellipsoid.text()}.",
        f"Every voxel above 2 has {threshold.text()}.",
    ]
    assert any("no better" in line for line in lines[2:]) == is_told
    assert Baselines(None, None, None).sentences(ellipsoid) == []


@pytest.mark.data
def test_the_known_figures_of_sts_are_reached(data_folder: Path) -> None:
    """PET on the source grid: the README beside the data names these four means."""
    folder = data_folder / "sts"
    figures: dict[str, tuple[float, float]] = {}
    for patient in sorted((folder / "dicom").iterdir()):
        index = scan([patient / "PET"])
        (series,), (annotation,) = index.series, index.annotations
        volume = read_series(series)
        (region,) = rasterise(read_structures(annotation.path), series.grid).regions
        truth = region.mask
        figures[patient.name] = (
            dice(centred_ellipsoid(series.grid.shape), truth),
            dice(above(volume.array, 2.0), truth),
        )
    test = json.loads((folder / "split.json").read_text(encoding="utf-8"))["test"]
    assert len(figures) == 24
    np.testing.assert_allclose(np.mean([figures[name] for name in test], axis=0), [0.641, 0.575], atol=1e-3)
    np.testing.assert_allclose(np.mean(list(figures.values()), axis=0), [0.584, 0.586], atol=1e-3)
