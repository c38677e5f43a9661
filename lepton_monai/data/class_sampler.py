"""Samples for a classifier: an image with its class, a function of the seed and its number alone."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lepton_monai.data.augmentation import Placing, RandomValues, box_of, draw_matrix, placed, read_box
from lepton_monai.data.batch import Inputs, joined
from lepton_monai.data.clinical import encoded
from lepton_monai.data.inputs import Sample
from lepton_monai.data.sampler import Share
from lepton_monai.plans.classification import ClassificationPlan

VOXEL = (1.0, 1.0, 1.0)


class ImageDataset(Dataset[tuple[Inputs, torch.Tensor]]):
    """The images of a whole training, in order.

    Parameters
    ----------
    samples
        With targets, of the plan's size.
    plan
        Batch, steps, sampling, augmentation, mixing, clinical values and seed.
    share
        Which of them are made here.
    """

    def __init__(
        self, samples: Sequence[Sample], plan: ClassificationPlan, share: Share | None = None
    ) -> None:
        self._samples = samples
        self._plan = plan
        self._share = share or Share()
        self._random_values = RandomValues(plan.training.augmentation)
        self._missing = torch.from_numpy(encoded(None, plan.clinical))
        self._groups = _groups(samples, plan)
        self._turns: dict[int, tuple[int, NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        """Return the number of samples of all steps that are left."""
        return self._share.count(self._plan.training.steps, self._plan.training.batch_size)

    def __getitem__(self, at: int) -> tuple[Inputs, torch.Tensor]:
        """Return image ``(channel, x, y[, z])`` and the share of each class ``(classes,)``, float32.

        NaN is unknown, and so is what is mixed with it. Where the plan has clinical values, the image comes
        with them ``(values,)``.
        """
        return self.sample(self._share.number(at, self._plan.training.batch_size))

    def case_number(self, at: int) -> int:
        """Return the place of the sample that one is made of."""
        return self._sample_number(self._share.number(at, self._plan.training.batch_size))

    def sample(self, number: int) -> tuple[Inputs, torch.Tensor]:
        """Return the sample of a number, counted over all ranks from the first step on."""
        training = self._plan.training
        generator = np.random.default_rng([training.seed, number])
        image, values, target = self._one(self._sample_number(number), generator)
        if training.mixup:
            # Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.
            share = float(generator.beta(training.mixup, training.mixup))
            group = self._groups[int(generator.integers(len(self._groups)))]
            other = self._one(int(group[generator.integers(len(group))]), generator)
            both = zip((image, values, target), other, strict=True)
            image, values, target = (one.lerp(two, 1 - share) for one, two in both)
        return joined(network_input(image, is_flat=self._plan.input.is_flat), values), target

    def _sample_number(self, number: int) -> int:
        """Return the image of a sample: a group after the other, and of each all before any comes again."""
        seed, count = self._plan.training.seed, len(self._groups)
        round_number, place = divmod(number, count)
        at = (
            int(np.random.default_rng([seed, 2, round_number]).permutation(count)[place])
            if count > 1
            else 0
        )
        group = self._groups[at]
        turn, place = divmod(round_number, len(group))
        if self._turns.get(at, (-1,))[0] != turn:
            self._turns[at] = turn, np.random.default_rng([seed, 1, turn, at]).permutation(group)
        return int(self._turns[at][1][place])

    def _one(
        self, at: int, generator: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return image, clinical values (now and then as if all were missing), and shares of classes."""
        one, clinical = self._samples[at], self._plan.clinical
        values = torch.from_numpy(one.values)
        if clinical is not None and generator.random() < clinical.dropout:
            values = self._missing
        return self._augmented(one.array, generator), values, torch.tensor(one.target)

    def _augmented(self, array: NDArray[np.float16], generator: np.random.Generator) -> torch.Tensor:
        """Turn, move and mirror an image, then change its values."""
        training, flat = self._plan.training, self._plan.input.is_flat
        x, y, z = array.shape
        matrix = draw_matrix(training.augmentation, VOXEL, generator)
        if flat and matrix is not None:
            matrix[2], matrix[:2, 2] = (0.0, 0.0, 1.0), 0.0  # z are colours
        shape = np.array([x, y, z])
        moved = generator.uniform(-1.0, 1.0, 3) * training.shift * shape
        if flat:
            moved[2] = 0.0
        # A whole number of voxels where nothing is interpolated: `box_of` rounds half to even.
        centre = (shape - 1) / 2 + moved if matrix is not None else shape // 2 + np.rint(moved)
        flips = tuple(axis for axis in training.augmentation.flip_axes if generator.random() < 0.5)
        placing = Placing(centre, matrix, flips)
        box = box_of(placing, (x, y, z))
        content = read_box(array, box).astype(np.float32)
        image = placed(content, box, placing, (x, y, z), "bilinear")
        return self._random_values.of(image, int(generator.integers(2**32)))


def _groups(samples: Sequence[Sample], plan: ClassificationPlan) -> list[NDArray[np.int64]]:
    """Return the numbers of the samples that take turns: all of them, or those of each class."""
    if plan.training.sampling == "each once":
        return [np.arange(len(samples))]
    labels = np.array([int(one.target.argmax()) for one in samples if one.target is not None])
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def network_input(image: torch.Tensor, *, is_flat: bool) -> torch.Tensor:
    """Turn ``(1, x, y, z)`` into ``(channel, x, y)`` of a flat image; three axes stay."""
    return image[0].permute(2, 0, 1).contiguous() if is_flat else image.contiguous()
