"""Losses of classification against their definition."""

from functools import partial

import numpy as np
import pytest
import torch

from lepton_monai.training.class_losses import class_loss, label_loss, over_heads


def test_the_loss_is_the_weighted_cross_entropy() -> None:
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.0]])
    target = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    weights = torch.tensor([1.0, 3.0])
    values = logits.numpy()
    logs = values - np.log(np.exp(values).sum(axis=1, keepdims=True))
    wanted = -(logs * target.numpy() * weights.numpy()).sum(axis=1).mean()
    found = class_loss(logits, target, weights=weights, smoothing=0.0)
    assert float(found) == pytest.approx(wanted, rel=1e-5)
    # Smoothing by s takes each share p to (1 - s) p + s / classes: Szegedy et al., CVPR 2016.
    smooth = 0.8 * target + 0.2 / 2
    again = class_loss(logits, target, weights=weights, smoothing=0.2)
    assert float(again) == pytest.approx(
        float(class_loss(logits, smooth, weights=weights, smoothing=0.0)), rel=1e-5
    )


def test_the_loss_of_labels_is_the_cross_entropy_of_each_that_is_known() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.3, 0.4, -3.0]], requires_grad=True)
    target = torch.tensor([[1.0, float("nan"), 0.0], [0.0, 0.25, float("nan")]])
    weights = torch.tensor([1.0, 3.0, 2.0])
    p = 1 / (1 + np.exp(-logits.detach().numpy().astype(np.float64)))
    known = [
        -np.log(p[0, 0]),
        -np.log(1 - p[0, 2]),
        -np.log(1 - p[1, 0]),
        -3.0 * 0.25 * np.log(p[1, 1]) - 0.75 * np.log(1 - p[1, 1]),
    ]
    found = label_loss(logits, target, weights=weights, smoothing=0.0)
    assert float(found.detach()) == pytest.approx(np.mean(known), rel=1e-5)
    found.backward()
    assert logits.grad is not None
    assert (logits.grad == 0).tolist() == target.isnan().tolist()
    logits = logits.detach()
    smooth = 0.8 * target + 0.2 / 2
    assert float(label_loss(logits, target, weights=weights, smoothing=0.2)) == pytest.approx(
        float(label_loss(logits, smooth, weights=weights, smoothing=0.0)), rel=1e-6
    )
    nothing = torch.full_like(target, float("nan"))
    assert float(label_loss(logits, nothing, weights=weights, smoothing=0.0)) == 0.0


def test_the_loss_of_several_heads_is_the_mean_of_theirs() -> None:
    target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    heads = tuple(torch.tensor([[1.0, 0.0], [at, 2.0]]) for at in (0.0, 1.0, 2.0))
    weights = torch.ones(2)
    loss = partial(class_loss, weights=weights, smoothing=0.1)
    each = [float(loss(one, target)) for one in heads]
    found = over_heads(loss, heads, target)
    assert float(found) == pytest.approx(sum(each) / 3, rel=1e-6)
