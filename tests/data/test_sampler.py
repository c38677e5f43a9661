"""Patches: what they hold, where they come from, and what decides it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.augmentation import Placing, box_of, draw_matrix, placed, read_box
from lepton_monai.data.cache import CachedCase, add_entry
from lepton_monai.data.sampler import PatchDataset, Share
from lepton_monai.data.transforms import prepare
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.plan import AugmentationPlan, Plan
from tests.plans.examples import example_plan

NOTHING = AugmentationPlan(
    flip_axes=(),
    rotation_probability=0,
    rotation_rad=(0, 0, 0),
    zoom_probability=0,
    zoom=(1, 1),
    noise_probability=0,
    blur_probability=0,
    brightness_probability=0,
    contrast_probability=0,
    low_resolution_probability=0,
    gamma_probability=0,
)


def case_of(folder: Path, values: NDArray[np.float32], mask: NDArray[np.uint8], plan: Plan) -> CachedCase:
    grid = Grid((values.shape[0], values.shape[1], values.shape[2]), np.diag([-2.0, -2.0, 2.0, 1.0]))
    prepared = prepare(Volume(values, grid, "HU"), Mask(mask, grid), plan.preparation)
    return add_entry(folder, f"{len(list(folder.glob('*'))):032x}", prepared)


def noise_cases(folder: Path, plan: Plan, count: int = 3) -> list[CachedCase]:
    generator = np.random.default_rng(3)
    cases = []
    for _ in range(count):
        values = generator.normal(0, 50, size=(20, 22, 18)).astype(np.float32)
        cases.append(case_of(folder, values, (values > 60).astype(np.uint8), plan))
    return cases


def with_training(plan: Plan, **changes: object) -> Plan:
    return replace(plan, training=replace(plan.training, **changes))  # type: ignore[arg-type]


def test_a_sample_depends_on_seed_and_number_alone(tmp_path: Path) -> None:
    plan = example_plan(patch_size=(8, 8, 8))
    cases = noise_cases(tmp_path, plan)
    first = PatchDataset(cases, plan)
    drawn = [first[number] for number in (5, 0, 5, 11)]
    again = [PatchDataset(cases, plan)[number] for number in (5, 0, 5, 11)]
    for (image, label), (image_again, label_again) in zip(drawn, again, strict=True):
        assert torch.equal(image, image_again)
        assert torch.equal(label, label_again)
    assert not torch.equal(drawn[0][0], drawn[1][0])
    other = PatchDataset(cases, with_training(plan, seed=1))[5]
    assert not torch.equal(other[0], drawn[0][0])


def test_a_resumed_training_and_further_ranks_see_the_samples_of_one_process(tmp_path: Path) -> None:
    plan = example_plan(patch_size=(8, 8, 8))
    cases = noise_cases(tmp_path, plan)
    doubled = PatchDataset(cases, with_training(plan, batch_size=4))
    ranks = [PatchDataset(cases, plan, Share(0, rank, 2)) for rank in range(2)]
    late = PatchDataset(cases, plan, Share(2, 1, 2))
    assert len(late) == len(ranks[1]) - 4
    for step in range(4):
        whole = [doubled[4 * step + place] for place in range(4)]
        parts = [ranks[rank][2 * step + place] for rank in range(2) for place in range(2)]
        assert all(torch.equal(one[0], two[0]) for one, two in zip(whole, parts, strict=True))
    assert torch.equal(late[0][0], ranks[1][4][0])


def test_every_case_comes_once_before_any_comes_again(tmp_path: Path) -> None:
    plan = example_plan(patch_size=(8, 8, 8))
    dataset = PatchDataset(noise_cases(tmp_path, plan), with_training(plan, steps=30))
    numbers = [dataset.case_number(at) for at in range(60)]
    assert all(sorted(numbers[start : start + 3]) == [0, 1, 2] for start in range(0, 60, 3))
    assert numbers[:3] != numbers[3:6] or numbers[3:6] != numbers[6:9]


def test_the_planned_share_of_patches_holds_foreground(tmp_path: Path) -> None:
    """A small lesion is in every patch that is centred on it, and in few others."""
    mask = np.zeros((48, 48, 48), np.uint8)
    mask[10:13, 30:33, 20:23] = 1
    plan = with_training(example_plan(patch_size=(8, 8, 8)), steps=200, batch_size=1, augmentation=NOTHING)
    samples = PatchDataset([case_of(tmp_path, mask.astype(np.float32), mask, plan)], plan)
    share = np.mean([bool((samples[number][1] > 0).any()) for number in range(200)])
    assert 0.45 < share < 0.6


def test_rare_classes_are_centred_on_as_often_as_common_ones(tmp_path: Path) -> None:
    mask = np.zeros((40, 40, 40), np.uint8)
    mask[5:20, 5:20, 5:20] = 1
    mask[33, 33, 33] = 2
    plan = replace(example_plan(patch_size=(4, 4, 4)), classes=("large", "small"))
    plan = with_training(plan, steps=200, batch_size=1, foreground_share=1.0, augmentation=NOTHING)
    samples = PatchDataset([case_of(tmp_path, mask.astype(np.float32), mask, plan)], plan)
    share = np.mean([bool((samples[number][1] == 2).any()) for number in range(200)])
    assert 0.4 < share < 0.6


def test_an_image_smaller_than_the_patch_goes_on_with_its_border(tmp_path: Path) -> None:
    plan = with_training(example_plan(patch_size=(16, 8, 8)), augmentation=NOTHING)
    mask = np.zeros((5, 6, 4), np.uint8)
    mask[2, 3, 1] = 1
    values = np.tile(np.arange(5, dtype=np.float32)[:, None, None], (1, 6, 4))
    image, label = PatchDataset([case_of(tmp_path, values, mask, plan)], plan)[1]
    assert image.shape == label.shape == (1, 16, 8, 8)
    found = image[0, :, 4, 4].numpy()
    assert (np.diff(found) != 0).sum() == 4
    assert found[0] == found[:4].max() or found[0] == found[:4].min()


@settings(max_examples=40, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-0.6, 0.6)] * 3),
    zoom=st.floats(0.7, 1.4),
    centre=st.tuples(*[st.floats(8, 24)] * 3),
)
def test_a_turned_patch_says_what_the_image_says_at_its_places(
    angles: tuple[float, float, float], zoom: float, centre: tuple[float, float, float]
) -> None:
    """A linear image is interpolated exactly: the values of the patch know where they were taken."""
    shape, size = (34, 30, 32), (9, 6, 7)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    image = (index @ np.array([1.0, 10.0, 100.0])).astype(np.float32)
    plan = replace(NOTHING, rotation_probability=1, rotation_rad=angles)
    plan = replace(plan, zoom_probability=1, zoom=(zoom, zoom))
    matrix = draw_matrix(plan, (1.0, 1.0, 3.0), np.random.default_rng(0))
    assert matrix is not None
    placing = Placing(np.array(centre), matrix)
    box = box_of(placing, size)
    content = read_box(image, box)
    patch = placed(content, box, placing, size, "bilinear")[0].numpy()
    steps = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in size], indexing="ij"), axis=-1)
    places = steps @ matrix.T + centre
    inside = ((places >= 0) & (places <= np.array(shape) - 1)).all(axis=-1)
    np.testing.assert_allclose(patch[inside], (places @ [1.0, 10.0, 100.0])[inside], atol=0.02)


def test_the_channels_of_a_patch_are_of_one_place_and_change_each_by_itself(tmp_path: Path) -> None:
    """Two images of the same values are alike where they are placed, and not where their values change."""
    turning = replace(NOTHING, rotation_probability=1, rotation_rad=(0.5, 0.5, 0.5), flip_axes=(0, 1, 2))
    plan = with_training(example_plan(patch_size=(8, 8, 8)), augmentation=turning)
    preparation = replace(plan.preparation, further=(plan.preparation.intensity,))
    grid = Grid((20, 22, 18), np.diag([-2.0, -2.0, 2.0, 1.0]))
    values = np.random.default_rng(3).normal(0, 50, size=grid.shape).astype(np.float32)
    volume, mask = Volume(values, grid, "HU"), Mask((values > 60).astype(np.uint8), grid)
    case = add_entry(tmp_path, f"{7:032x}", prepare(volume, mask, preparation, [volume]))
    image, _ = PatchDataset([case], plan)[3]
    assert image.shape == (2, 8, 8, 8)
    torch.testing.assert_close(image[0], image[1], atol=1e-3, rtol=0)
    noisy = with_training(plan, augmentation=replace(NOTHING, noise_probability=1))
    image, _ = PatchDataset([case], noisy)[3]
    assert (image[0] - image[1]).std() > 0.1


def test_a_rotation_turns_millimetres_not_voxels() -> None:
    plan = replace(NOTHING, rotation_probability=1, rotation_rad=(0.5, 0.5, 0.5))
    spacing = np.array([1.0, 2.0, 4.0])
    matrix = draw_matrix(plan, (1.0, 2.0, 4.0), np.random.default_rng(1))
    assert matrix is not None
    in_mm = spacing[:, None] * matrix / spacing[None, :]
    np.testing.assert_allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-12)
    assert np.abs(in_mm - np.eye(3)).max() > 0.01


def test_a_flip_takes_image_and_label_together(tmp_path: Path) -> None:
    plan = with_training(
        example_plan(patch_size=(8, 8, 8)), steps=40, augmentation=replace(NOTHING, flip_axes=(0, 1, 2))
    )
    generator = np.random.default_rng(9)
    mask = (generator.random((20, 20, 20)) > 0.7).astype(np.uint8)
    samples = PatchDataset([case_of(tmp_path, 100.0 * mask.astype(np.float32), mask, plan)], plan)
    for at in range(20):
        image, label = samples[at]
        assert torch.equal(image > image.mean(), label > 0)
