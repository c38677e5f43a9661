"""Losses of segmentation, by name; each over all outputs of a network."""

from collections.abc import Callable, Sequence

import torch
from monai.losses import DiceFocalLoss, HausdorffDTLoss, TverskyLoss

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of logits ``(n, class, x, y, z)`` and class ids ``(n, 1, x, y, z)``."""

SMOOTH = 1e-5
"""Keeps a class that is nowhere at a Dice of 1; MONAI's value."""

BOUNDARY_WEIGHT = 0.1
"""Of the distances beside Dice and cross-entropy: they are squared voxels, so large."""


def dice_cross_entropy(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Return one minus the mean Dice of the classes over the whole batch, plus cross-entropy.

    Over the batch of all ranks, since a patch without foreground has no Dice of its own: then several
    processes give the gradient of one with all their patches.
    """
    log_probabilities = torch.log_softmax(logits, dim=1)
    cross_entropy = torch.nn.functional.nll_loss(log_probabilities, label[:, 0].long())
    probabilities = log_probabilities[:, 1:].exp()
    classes = torch.arange(1, logits.shape[1], device=label.device).view(1, -1, 1, 1, 1)
    truth = (label == classes).to(probabilities.dtype)
    axes = (0, 2, 3, 4)
    shared = (probabilities * truth).sum(axes)
    both = probabilities.sum(axes) + truth.sum(axes)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        shared, both = _over_ranks(shared), _over_ranks(both)
    dice = (2 * shared + SMOOTH) / (both + SMOOTH)
    return 1 - dice.mean() + cross_entropy


def _over_ranks(sums: torch.Tensor) -> torch.Tensor:
    # torch.distributed.nn differentiates it; its import costs what one process need not pay.
    from torch.distributed.nn.functional import all_reduce

    total: torch.Tensor = all_reduce(sums)
    return total


def _dice_focal() -> Loss:
    return DiceFocalLoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)


def _tversky() -> Loss:
    # Misses weigh more than false alarms: Salehi et al., 2017.
    return TverskyLoss(
        include_background=False, to_onehot_y=True, softmax=True, batch=True, alpha=0.3, beta=0.7
    )


def _dice_boundary() -> Loss:
    distances = HausdorffDTLoss(include_background=False, to_onehot_y=True, softmax=True)

    def loss(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        # Karimi and Salcudean, IEEE TMI 2020.
        far: torch.Tensor = distances(logits, label)
        return dice_cross_entropy(logits, label) + BOUNDARY_WEIGHT * torch.log1p(far)

    return loss


LOSSES: dict[str, Callable[[], Loss]] = {
    "dice_cross_entropy": lambda: dice_cross_entropy,
    "dice_focal": _dice_focal,
    "tversky": _tversky,
    "dice_boundary": _dice_boundary,
}


def supervised_loss(
    loss: Loss, outputs: torch.Tensor | Sequence[torch.Tensor], label: torch.Tensor
) -> torch.Tensor:
    """Weigh the losses of all outputs: 1, 1/2, 1/4, ..., so that their sum is 1.

    Parameters
    ----------
    loss
        Of one output.
    outputs
        Logits at the label's size, then smaller ones.
    label
        Class ids ``(n, 1, x, y, z)``; smaller outputs are compared with the nearest voxels.

    Notes
    -----
    Deep supervision as in nnU-Net: Isensee et al., Nature Methods 2021, supplementary note 4.
    """
    if isinstance(outputs, torch.Tensor):
        return loss(outputs.float(), label)
    weights = [0.5**depth for depth in range(len(outputs))]
    losses = [
        weight / sum(weights) * loss(output.float(), _shrunk(label, output.shape[2:]))
        for weight, output in zip(weights, outputs, strict=True)
    ]
    return torch.stack(losses).sum()


def _shrunk(label: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    if label.shape[2:] == torch.Size(size):
        return label
    return torch.nn.functional.interpolate(label.float(), size=tuple(size), mode="nearest-exact")
