"""What is particular to the training of a classifier: its images, its looks at validation, its norms."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.data.class_sampler import ImageDataset
from lepton_monai.data.inputs import Sample
from lepton_monai.inference.classifier import logits_of
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.training.class_losses import loss_of, over_heads
from lepton_monai.training.loop import Feeding, Looking, Source, batches
from lepton_monai.training.stages import all_but_last
from lepton_monai.training.training import Training

SETTLING_STEPS = 50
"""Batches that the norms' mean and variance are taken over at the end."""


def classification_training(
    plan: ClassificationPlan,
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
        Names of parameters that came from other weights. The last layer counts as new all the same: its
        classes are those of this task.
    """
    loss = partial(over_heads, loss_of(plan, device))
    return Training(plan, device, network, loss, all_but_last(network, pretrained))


def images_of(samples: Sequence[Sample], plan: ClassificationPlan) -> Source:
    """Return the images of a training, as the plan wants them."""
    names = tuple(
        one.case if one.slice_number is None else f"{one.case} slice {one.slice_number}" for one in samples
    )
    return Source(names, partial(ImageDataset, samples, plan), plan.training.batch_size)


def looking_at(samples: Sequence[Sample], plan: ClassificationPlan) -> Looking | None:
    """Return the look at validation samples that a plan wants: the training's loss, of whole images.

    Raises
    ------
    ConfigError
        The plan wants one, and no validation sample has a class.
    """
    if not plan.training.patience:
        return None
    known = [one for one in samples if one.target is not None]
    if not known:
        message = (
            "plan.training.patience wants a validation side, and there is none: split.validation, or 0."
        )
        raise ConfigError(message)
    loss = partial(validation_loss, samples=known, plan=plan)
    return Looking(loss, plan.training.validate_every, plan.training.patience)


def validation_loss(
    network: torch.nn.Module, *, samples: Sequence[Sample], plan: ClassificationPlan
) -> float:
    """Return the training's loss of samples with targets, whole and as they are."""
    logits = logits_of(network, samples, plan, next(network.parameters()).device)
    targets = torch.stack([torch.tensor(one.target) for one in samples])
    return float(loss_of(plan, torch.device("cpu"))(torch.from_numpy(logits), targets))


def settle_norms(training: Training, source: Source, feeding: Feeding) -> None:
    """Take the mean and variance of the batch norms anew, of the averaged weights.

    The running figures are those of the network in training, and of its last hundreds of steps; frozen
    norms keep theirs. The batches are the last that were trained on, also of a training that ended early.

    Notes
    -----
    Izmailov et al., Averaging Weights Leads to Wider Optima, UAI 2018, section 3.2.
    """
    norms = [
        module
        for module in training.average.modules()
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
        and any(parameter.requires_grad for parameter in module.parameters())
    ]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    first = max(0, training.step - SETTLING_STEPS)
    with torch.no_grad():
        left = batches(source, replace(feeding, workers=0), first)
        for inputs, _ in islice(left, training.step - first):
            training.average(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
