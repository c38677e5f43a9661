"""Patches: a sample is a function of the seed and its number, and of nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from lepton_monai.data.augmentation import (
    Placing,
    RandomValues,
    as_one,
    box_of,
    draw_matrix,
    placed,
    read_box,
)
from lepton_monai.data.cache import CachedCase
from lepton_monai.plans.plan import Plan


@dataclass(frozen=True)
class Share:
    """Which samples of every step a process makes: those of its rank, from a step on.

    Parameters
    ----------
    first_step
        Where a training goes on.
    rank, ranks
        Of this process, and how many there are; a step has `batch_size` samples for each.
    """

    first_step: int = 0
    rank: int = 0
    ranks: int = 1

    def number(self, at: int, batch_size: int) -> int:
        """Return the number of this share's sample `at`, counted over all ranks from the first step on."""
        step, place = divmod(at, batch_size)
        return ((self.first_step + step) * self.ranks + self.rank) * batch_size + place

    def count(self, steps: int, batch_size: int) -> int:
        """Return how many samples of a training of so many steps are left."""
        return (steps - self.first_step) * batch_size


class PatchDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The patches of a whole training, in order.

    Sample `n` of a step has the same voxels whoever makes it: neither workers, nor ranks, nor a new
    start change it.

    Parameters
    ----------
    cases
        Prepared, with labels.
    plan
        Patch, batch, steps, augmentation and seed.
    share
        Which of the samples are made here.
    """

    def __init__(self, cases: Sequence[CachedCase], plan: Plan, share: Share | None = None) -> None:
        self._cases = cases
        self._spacing = plan.preparation.spacing_mm
        self._training = plan.training
        self._share = share or Share()
        self._random_values = RandomValues(plan.training.augmentation)

    def __len__(self) -> int:
        """Return the number of samples of all steps that are left."""
        return self._share.count(self._training.steps, self._training.batch_size)

    def __getitem__(self, at: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return image ``(channel, x, y, z)`` float32 and label ``(1, x, y, z)`` uint8 of one patch."""
        return self.finished(self.drawn(at), torch.device("cpu"))

    def case_number(self, at: int) -> int:
        """Return the place of the case that a patch is cut from."""
        return self._case_number(self._share.number(at, self._training.batch_size))

    def drawn(self, at: int) -> tuple[torch.Tensor, ...]:
        """Return image and label of one patch in its place, and the seed that its values are changed by."""
        training = self._training
        number = self._share.number(at, training.batch_size)
        generator = np.random.default_rng([training.seed, number])
        case = self._cases[self._case_number(number)]
        matrix = draw_matrix(training.augmentation, self._spacing, generator)
        # Evenly among the samples, whatever the batch: with a share of a third every third one.
        wanted = int((number + 1) * training.foreground_share) > int(number * training.foreground_share)
        centre = _centre(case, training.patch_size, wanted, generator)
        flips = tuple(axis for axis in training.augmentation.flip_axes if generator.random() < 0.5)
        placing = Placing(centre, matrix, flips)
        box = box_of(placing, training.patch_size)
        label = placed(np.array(read_box(case.label, box)), box, placing, training.patch_size, "nearest")
        channels = (read_box(one, box).astype(np.float32) for one in case.image)
        image = as_one([placed(one, box, placing, training.patch_size, "bilinear") for one in channels])
        return image, label.contiguous(), torch.tensor(generator.integers(2**32))

    def finished(
        self, drawn: Sequence[torch.Tensor], device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return image and label of a drawn patch on a device, which changes the values."""
        image, label, seed = drawn
        image, label = (one.to(device, non_blocking=True) for one in (image, label))
        return self._random_values.of(image, int(seed)), label

    def _case_number(self, number: int) -> int:
        """Return the case of a sample: every case once before any comes again."""
        turn, place = divmod(number, len(self._cases))
        order = np.random.default_rng([self._training.seed, 1, turn]).permutation(len(self._cases))
        return int(order[place])


def _centre(
    case: CachedCase, patch_size: Sequence[int], wanted: bool, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the middle of a patch: a voxel of a class, each equally often, or any that keeps it inside."""
    size, shape = np.asarray(patch_size), np.asarray(case.label.shape)
    low = np.minimum(size // 2, (shape - 1) // 2)
    high = np.maximum(shape - (size - size // 2), low)
    if wanted and case.places:
        classes = sorted(case.places)
        places = case.places[classes[int(generator.integers(len(classes)))]]
        centre = places[int(generator.integers(len(places)))]
        return np.asarray(np.clip(centre, low, high), dtype=np.float64)
    return np.asarray(generator.integers(low, high, endpoint=True), dtype=np.float64)
