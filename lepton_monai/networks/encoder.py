"""The encoder of our own segmentation network as a classifier."""

from collections.abc import Sequence
from typing import Any

import torch

from lepton_monai.networks.build import Ends, build_network
from lepton_monai.plans.classification import InputPlan
from lepton_monai.plans.plan import NetworkPlan, Triple

CHANNELS = (16, 32, 64, 128)


class DynUNetEncoder(torch.nn.Module):
    """A segmentation network without its way up: the parts keep their names, so that its weights load.

    Parameters
    ----------
    plan
        Of the segmentation network.
    size
        Of an image.
    classes
        Outputs.
    """

    def __init__(self, plan: NetworkPlan, size: Triple, classes: int) -> None:
        super().__init__()
        whole = build_network(plan, Ends(1, 2, size))
        self.input_block = whole.get_submodule("input_block")
        self.downsamples = whole.get_submodule("downsamples")
        self.bottleneck = whole.get_submodule("bottleneck")
        self.head = torch.nn.Linear(plan.channels[-1], classes)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the lowest level ``(n, channels, i, j, k)`` of images ``(n, 1, i, j, k)``."""
        x = self.input_block(x)
        for block in self.downsamples.children():
            x = block(x)
        lowest: torch.Tensor = self.bottleneck(x)
        return lowest

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, classes)``."""
        logits: torch.Tensor = self.head(self.features(x).mean(dim=(2, 3, 4)))
        return logits


def dynunet_encoder(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
    """Build the encoder for volumes of one channel.

    Parameters
    ----------
    plan
        Size, axes and channels of an image.
    classes
        Outputs.
    arguments
        `channels`, `kernels` and `strides`, level by level, as a plan of a segmentation has them.

    Raises
    ------
    ValueError
        The input is flat, or in colour.
    """
    if plan.is_flat or plan.channels != 1:
        message = "it sees volumes of one channel"
        raise ValueError(message)
    return DynUNetEncoder(_levels(**arguments), plan.size, classes)


def _levels(
    channels: Sequence[int] = CHANNELS,
    kernels: Sequence[Sequence[int]] = (),
    strides: Sequence[Sequence[int]] = (),
) -> NetworkPlan:
    below = len(channels) - 1
    return NetworkPlan(
        "dynunet",
        tuple(channels),
        tuple(kernels) or ((3, 3, 3),) * (below + 1),  # type: ignore[arg-type] # checked there
        tuple(strides) or ((1, 1, 1), *((2, 2, 2),) * below),  # type: ignore[arg-type]
    )
