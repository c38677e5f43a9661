"""The loss of segmentation."""

import torch
from monai.losses import DiceCELoss


def dice_cross_entropy() -> torch.nn.Module:
    """Dice over the whole batch plus cross-entropy, for logits and class ids ``(n, 1, x, y, z)``.

    Over the batch, since a patch without foreground has no Dice of its own.
    """
    return DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
