"""What a network is fed with: images, or images together with values."""

from collections.abc import Callable, Sequence

import torch

Inputs = torch.Tensor | Sequence[torch.Tensor]
"""Images; or images, and the values that go with them."""


def joined(image: torch.Tensor, values: torch.Tensor) -> Inputs:
    """Return an image, and the values that go with it where there are any."""
    return (image, values) if values.numel() else image


def changed(inputs: Inputs, change: Callable[[torch.Tensor], torch.Tensor]) -> Inputs:
    """Return the same of changed tensors."""
    return change(inputs) if isinstance(inputs, torch.Tensor) else tuple(change(one) for one in inputs)


def image_of(inputs: Inputs) -> torch.Tensor:
    """Return the image alone."""
    return inputs if isinstance(inputs, torch.Tensor) else inputs[0]
