"""Samples of a classifier: what is drawn, and that nothing but seed and number decides it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lepton_monai.data.batch import Inputs, image_of
from lepton_monai.data.class_sampler import ImageDataset, network_input
from lepton_monai.data.inputs import Sample
from lepton_monai.data.sampler import Share
from lepton_monai.plans.classification import ClassificationPlan
from tests.plans.class_examples import example_classification


def _samples(count: int = 5, channels: int = 1) -> list[Sample]:
    generator = np.random.default_rng(3)
    return [
        Sample(
            f"PIC-{at}",
            f"P-{at}",
            None,
            0.0,
            np.eye(2, dtype=np.float32)[at % 2],
            generator.random((16, 12, channels)).astype(np.float16),
        )
        for at in range(count)
    ]


def _pair(
    dataset: ImageDataset | list[tuple[Inputs, torch.Tensor]], at: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return image and target of a sample without clinical values."""
    inputs, target = dataset[at]
    return image_of(inputs), target


def _still(*, channels: int = 1, **changes: object) -> ClassificationPlan:
    """Return a plan that changes no image."""
    plan = example_classification(channels=channels, shift=0.0, **changes)
    off = {name: 0.0 for name in vars(plan.training.augmentation) if name.endswith("probability")}
    augmentation = replace(plan.training.augmentation, flip_axes=(), **off)  # type: ignore[arg-type]
    return replace(plan, training=replace(plan.training, augmentation=augmentation))


def test_a_sample_is_the_same_whoever_makes_it() -> None:
    samples, plan = _samples(), example_classification(mixup=0.4)
    first = [ImageDataset(samples, plan)[number] for number in range(12)]
    late = ImageDataset(samples, plan, Share(1, 0, 1))
    for number in (3, 0, 7, 3):
        for one, other in zip(_pair(late, number), _pair(first, number + 4), strict=True):
            assert torch.equal(one, other)
    halves = [ImageDataset(samples, plan, Share(0, rank, 2)) for rank in range(2)]
    assert torch.equal(_pair(halves[1], 0)[0], _pair(first, 4)[0])
    other_seed = ImageDataset(samples, example_classification(mixup=0.4, seed=1))
    assert not torch.equal(_pair(other_seed, 0)[0], _pair(first, 0)[0])


def test_every_image_comes_once_before_any_comes_again() -> None:
    dataset = ImageDataset(_samples(5), example_classification(steps=5))
    numbers = [dataset.case_number(at) for at in range(20)]
    for turn in range(4):
        assert sorted(numbers[5 * turn : 5 * turn + 5]) == list(range(5))


def of_class(sample: Sample, number: int) -> Sample:
    return replace(sample, target=np.eye(2, dtype=np.float32)[number])


def test_balanced_sampling_takes_every_class_as_often_and_of_each_all_before_any_comes_again() -> None:
    samples = [of_class(one, int(at >= 5)) for at, one in enumerate(_samples(7))]  # 5 and 2
    plan = example_classification(steps=10, sampling="balanced")
    dataset = ImageDataset(samples, plan)
    numbers = [dataset.case_number(at) for at in range(40)]
    for pair in range(20):
        assert sorted(int(number >= 5) for number in numbers[2 * pair : 2 * pair + 2]) == [0, 1]
    frequent, rare = ([one for one in numbers if (one >= 5) == is_rare] for is_rare in (False, True))
    assert all(sorted(frequent[turn : turn + 5]) == list(range(5)) for turn in range(0, 20, 5))
    assert all(sorted(rare[turn : turn + 2]) == [5, 6] for turn in range(0, 20, 2))
    assert len({tuple(frequent[turn : turn + 5]) for turn in range(0, 20, 5)}) > 1
    firsts = {int(number >= 5) for number in numbers[::2]}
    assert firsts == {0, 1}  # neither class is always the first


def test_a_balanced_sample_is_the_same_whoever_makes_it() -> None:
    samples, plan = _samples(), example_classification(mixup=0.4, sampling="balanced")
    first = [ImageDataset(samples, plan)[number] for number in range(12)]
    late = ImageDataset(samples, plan, Share(1, 0, 1))
    for number in (5, 0, 7, 3):
        for one, other in zip(_pair(late, number), _pair(first, number + 4), strict=True):
            assert torch.equal(one, other)


def test_mixing_keeps_balanced_classes_balanced() -> None:
    samples = [of_class(one, int(at == 8)) for at, one in enumerate(_samples(9))]  # 8 and 1
    dataset = ImageDataset(samples, _still(mixup=1.0, sampling="balanced", steps=100))
    share = float(np.mean([dataset[at][1][1] for at in range(400)]))
    assert share == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("channels", [1, 3])
def test_without_chance_an_image_arrives_as_it_is(channels: int) -> None:
    samples, plan = _samples(channels=channels), _still(channels=channels)
    dataset = ImageDataset(samples, plan)
    for at in range(5):
        image, target = _pair(dataset, at)
        one = samples[dataset.case_number(at)]
        assert image.shape == (channels, 16, 12)
        np.testing.assert_array_equal(image.numpy(), one.array.astype(np.float32).transpose(2, 0, 1))
        np.testing.assert_array_equal(target.numpy(), one.target)


def test_turns_and_zooms_never_mix_colours() -> None:
    array = np.zeros((16, 12, 3), dtype=np.float16)
    array[..., 1] = 1.0
    plan = _still(channels=3)
    turned = replace(plan.training.augmentation, rotation_probability=1.0, zoom_probability=1.0)
    plan = replace(plan, training=replace(plan.training, augmentation=turned, shift=0.2))
    image, _ = _pair(ImageDataset([replace(_samples(1)[0], array=array)], plan), 0)
    assert image[0].abs().max() < 1e-5
    assert (image[1] - 1).abs().max() < 1e-5


def test_mixed_images_have_mixed_classes() -> None:
    flat = [
        replace(one, array=np.full((16, 12, 1), at % 2, dtype=np.float16))
        for at, one in enumerate(_samples(6))
    ]
    dataset = ImageDataset(flat, _still(mixup=1.0))
    shares = []
    for at in range(24):
        image, target = _pair(dataset, at)
        assert target.sum() == pytest.approx(1.0)
        # A picture of class 1 is white: its grey is its share.
        np.testing.assert_allclose(image.numpy(), float(target[1]), atol=1e-3)
        shares.append(float(target[1]))
    assert any(0.05 < share < 0.95 for share in shares)


def test_what_is_mixed_with_an_unknown_label_is_unknown() -> None:
    first, second = _samples(2)
    known = replace(first, target=np.array([1, 0], dtype=np.float32))
    unknown = replace(second, target=np.array([1, np.nan], dtype=np.float32))
    dataset = ImageDataset([known, unknown], replace(_still(mixup=1.0), holds="any"))
    targets = torch.stack([dataset[at][1] for at in range(24)])
    assert torch.all(targets[:, 0] == 1.0)
    assert {True, False} == set(targets[:, 1].isnan().tolist())
    assert torch.all(targets[:, 1].nan_to_num() == 0.0)


def test_three_axes_stay_and_colours_come_first() -> None:
    image = torch.arange(24.0).reshape(1, 4, 3, 2)
    assert torch.equal(network_input(image, is_flat=False), image)
    assert network_input(image, is_flat=True).shape == (2, 4, 3)
