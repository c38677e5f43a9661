"""Losses of classification, by how many of the classes hold; each over all heads of a network."""

from collections.abc import Sequence
from functools import partial

import torch

from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.training.training import Loss


def class_loss(
    logits: torch.Tensor, target: torch.Tensor, *, weights: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Return the weighted cross-entropy of logits with shares of classes ``(n, classes)``."""
    return torch.nn.functional.cross_entropy(
        logits.float(), target, weight=weights, label_smoothing=smoothing
    )


def label_loss(
    logits: torch.Tensor, target: torch.Tensor, *, weights: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Return the binary cross-entropy of logits with labels ``(n, labels)``, the mean over those known.

    Parameters
    ----------
    target
        0 to 1; NaN is unknown and counts nothing.
    weights
        Of a positive against a negative, ``(labels,)``.
    smoothing
        What of a label is spread over yes and no.
    """
    known = ~target.isnan()
    smooth = target.nan_to_num() * (1.0 - smoothing) + smoothing / 2
    each = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.float(), smooth, pos_weight=weights, reduction="none"
    )
    return (each * known).sum() / known.sum().clamp(min=1)


CLASS_LOSSES = {"one": class_loss, "any": label_loss}
"""By how many of the classes hold."""


def loss_of(plan: ClassificationPlan, device: torch.device) -> Loss:
    """Return the loss that a plan wants, of logits and shares of classes on a device."""
    weights = torch.tensor(plan.training.class_weights, device=device)
    return partial(CLASS_LOSSES[plan.holds], weights=weights, smoothing=plan.training.label_smoothing)


def over_heads(
    loss: Loss, outputs: torch.Tensor | Sequence[torch.Tensor], target: torch.Tensor
) -> torch.Tensor:
    """Return the loss of logits; of several heads' the mean."""
    heads = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
    return torch.stack([loss(one, target) for one in heads]).mean()
