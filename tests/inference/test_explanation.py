"""On volumes whose class depends on one lesion, the map of a trained network peaks inside the lesion."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scipy import ndimage

from lepton_monai.cases.classes import Level
from lepton_monai.data.source_maps import as_acquired
from lepton_monai.inference.classifier import Classifier
from lepton_monai.inference.explanation import Explanation, explanation_of, untrained
from lepton_monai.inference.saliency import Method
from lepton_monai.networks.fusion import FusedClassifier, OfImage
from lepton_monai.training.seeds import seeded
from tests.inference.lesions import CASE, EXTENT_MM, Phantom, learned, lesion_plan, phantom

CASES = 30
RANDOM_NETWORKS = 3

CELL_MM = EXTENT_MM / 16
"""Of occlusion on a flat image: what its map resolves."""


@pytest.fixture(scope="module")
def flat() -> Classifier:
    return learned(lesion_plan("slice"), count=300, steps=300)


@pytest.fixture(scope="module")
def deep() -> Classifier:
    return learned(lesion_plan("series"), count=120, steps=100)


def _random(model: Classifier) -> list[Classifier]:
    found = []
    for seed in range(RANDOM_NETWORKS):
        with seeded(seed):
            found.append(untrained(model))
    return found


def _positives(level: Level, count: int = CASES) -> list[Phantom]:
    return [phantom(number, 1, 2 if level == "slice" else 3) for number in range(count)]


def _explained(model: Classifier, other: Classifier, case: Phantom, method: Method) -> Explanation:
    return explanation_of(model, other, CASE, case.source(model.plan), 1, method)


def _share_inside(
    found: Sequence[Explanation], cases: Sequence[Phantom], level: Level, within_mm: float = 0.0
) -> float:
    """Return how many peaks lie in a voxel of the lesion, or so near to one, on the grid of the source."""
    inside = []
    for one, case in zip(found, cases, strict=True):
        heat = one.array if level == "slice" else as_acquired(one.array, case.volume.grid)
        away = ndimage.distance_transform_edt(~case.lesion, sampling=case.volume.grid.spacing_mm)
        peak = np.unravel_index(int(heat.argmax()), heat.shape)
        inside.append(bool(heat.any()) and bool(away[peak] <= within_mm))
    return float(np.mean(inside))


@pytest.mark.parametrize(
    ("level", "method", "within_mm"), [("series", "gradcam", 0.0), ("slice", "occlusion", CELL_MM)]
)
def test_the_peak_lies_inside_the_lesion_and_with_random_weights_it_does_not(
    level: Level, method: Method, within_mm: float, request: pytest.FixtureRequest
) -> None:
    """Grad-CAM's without tolerance; occlusion's may lie a cell beside it: its boxes have two."""
    model: Classifier = request.getfixturevalue("flat" if level == "slice" else "deep")
    cases, random = _positives(level), _random(model)
    found = [_explained(model, random[0], case, method) for case in cases]
    share = _share_inside(found, cases, level, within_mm)
    by_chance = [
        _share_inside([_explained(one, model, case, method) for case in cases], cases, level, within_mm)
        for one in random
    ]
    print(level, method, _share_inside(found, cases, level), "within a cell", share, by_chance)
    assert share >= 0.9
    assert np.mean(by_chance) <= 0.3


def test_a_map_compared_with_itself_is_unchanged_and_a_mean_of_two_is_theirs(flat: Classifier) -> None:
    (case,) = _positives("slice", 1)
    same = _explained(flat, flat, case, "gradcam")
    assert same.similarity == pytest.approx(1.0)
    twice = Classifier(flat.members * 2, flat.device, "digest")
    np.testing.assert_allclose(_explained(twice, twice, case, "gradcam").array, same.array, atol=1e-6)
    assert same.array.min() >= 0.0
    assert same.array.max() == 1.0
    assert same.outside == 0.0


def test_a_fused_classifier_is_explained_as_a_function_of_its_image() -> None:
    network = FusedClassifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4)), 4, 3, 2)
    image, values = torch.arange(80.0).view(5, 1, 4, 4) / 80, torch.tensor([0.5, 0.0, 1.0])
    found = OfImage(network.eval(), values)(image)
    assert torch.equal(found, network((image, values.repeat(5, 1))))
