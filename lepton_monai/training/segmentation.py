"""What is particular to the training of a segmentation: its loss, its patches."""

from collections.abc import Collection, Mapping
from functools import partial

import torch

from lepton_monai.data.cache import CachedCase
from lepton_monai.data.sampler import PatchDataset
from lepton_monai.plans.plan import Plan
from lepton_monai.training.loop import Source
from lepton_monai.training.losses import LOSSES, supervised_loss
from lepton_monai.training.training import Training


def segmentation_training(
    plan: Plan,
    device: torch.device,
    network: torch.nn.Module,
    pretrained: Collection[str] = (),
) -> Training:
    """Return a training at its first step.

    Parameters
    ----------
    plan
        Every number.
    device
        Where to compute.
    network
        To start from.
    pretrained
        Names of parameters that came from other weights.
    """
    loss = partial(supervised_loss, LOSSES[plan.training.loss]())
    return Training(plan, device, network, loss, pretrained)


def patches_of(cases: Mapping[str, CachedCase], plan: Plan) -> Source:
    """Return the patches of cases, as the plan wants them."""
    return Source(tuple(cases), partial(PatchDataset, list(cases.values()), plan), plan.training.batch_size)
