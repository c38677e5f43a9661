"""Patches: a sample is a function of the seed and its number, and of nothing else."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch.utils.data import Dataset

from lepton_monai.data.transforms import Prepared, augmentation, cropping
from lepton_monai.plans.plan import TrainingPlan


class PatchDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The patches of a whole training, in order.

    Sample `n` belongs to step ``n // batch_size``. Neither workers nor a new start change it.

    Parameters
    ----------
    cases
        Prepared, with labels.
    training
        Patch, batch, steps, augmentation and seed.
    """

    def __init__(self, cases: Sequence[Prepared], training: TrainingPlan) -> None:
        self._cases = cases
        self._training = training
        self._crop = cropping(training)
        self._augment = augmentation(training)

    def __len__(self) -> int:
        """Return the number of samples of all steps."""
        return self._training.steps * self._training.batch_size

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return image ``(1, x, y, z)`` float32 and label ``(1, x, y, z)`` uint8 of one patch."""
        generator = np.random.default_rng([self._training.seed, number])
        case = self._cases[int(generator.integers(len(self._cases)))]
        crop_seed, augment_seed = (int(seed) for seed in generator.integers(2**32, size=2))
        item: dict[Hashable, Any] = {
            "image": case.image,
            "label": case.label,
            "foreground": case.foreground,
            "background": case.background,
        }
        self._crop.set_random_state(seed=crop_seed)
        self._augment.set_random_state(seed=augment_seed)
        patch = self._augment(self._crop(item)[0])
        return _plain(patch["image"]), _plain(patch["label"]).to(torch.uint8)


def _plain(tensor: MetaTensor | torch.Tensor) -> torch.Tensor:
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
