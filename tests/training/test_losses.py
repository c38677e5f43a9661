"""The loss against MONAI's, and lower outputs against their weights."""

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss

from lepton_monai.training.losses import LOSSES, dice_cross_entropy, supervised_loss


def drawn(classes: int = 3, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, classes, side, side, side, generator=generator)
    label = torch.randint(0, classes, (2, 1, side, side, side), generator=generator).to(torch.uint8)
    return logits, label


@pytest.mark.parametrize("classes", [2, 4])
def test_dice_and_cross_entropy_are_monais(classes: int) -> None:
    logits, label = drawn(classes)
    theirs = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, batch=True)
    ours_in, theirs_in = (logits.clone().requires_grad_() for _ in range(2))
    ours_loss, theirs_loss = dice_cross_entropy(ours_in, label), theirs(theirs_in, label)
    assert ours_loss.item() == pytest.approx(theirs_loss.item(), abs=1e-6)
    ours_loss.backward()
    theirs_loss.backward()
    assert ours_in.grad is not None
    assert theirs_in.grad is not None
    np.testing.assert_allclose(ours_in.grad, theirs_in.grad, atol=1e-7)


def test_a_batch_without_foreground_has_a_finite_loss() -> None:
    logits, label = drawn()
    assert torch.isfinite(dice_cross_entropy(logits, torch.zeros_like(label)))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_is_lower_for_the_truth(name: str) -> None:
    _, label = drawn()
    truth = torch.nn.functional.one_hot(label[:, 0].long(), 3).movedim(-1, 1).float()
    loss = LOSSES[name]()
    assert loss(10 * truth, label) < loss(torch.zeros_like(truth), label)


def test_lower_outputs_weigh_half_of_the_one_above_each() -> None:
    logits, label = drawn()
    half = logits[:, :, ::2, ::2, ::2]
    small = label[:, :, 1::2, 1::2, 1::2]  # nearest-exact takes the second of two
    total = supervised_loss(dice_cross_entropy, [logits, half], label)
    expected = 2 / 3 * dice_cross_entropy(logits, label) + 1 / 3 * dice_cross_entropy(half, small)
    assert total.item() == pytest.approx(expected.item(), abs=1e-6)
