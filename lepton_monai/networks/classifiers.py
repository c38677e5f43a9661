"""Classifiers by name, in two and three dimensions."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from monai.networks import nets

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.wording import nearest
from lepton_monai.networks.efficientnet import EfficientNetLite0
from lepton_monai.networks.encoder import dynunet_encoder
from lepton_monai.networks.slices import FEATURES, SliceClassifier
from lepton_monai.networks.vision import from_timm, from_torchvision
from lepton_monai.plans.classification import ClassifierPlan, InputPlan

Build = Callable[[InputPlan, int, dict[str, Any]], torch.nn.Module]
"""From input, number of classes and further arguments."""

VIT_PATCH = 16


class ClassViT(nets.ViT):
    """MONAI's vision transformer with the logits alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, classes)``."""
        logits: torch.Tensor = super().forward(x)[0]  # type: ignore[no-untyped-call] # MONAI's is untyped
        return logits


def _resnet(name: str) -> Build:
    def build(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
        # A stride of 2 as everywhere but in MONAI's default: a quarter of the work, an eighth in 3D.
        usual = {"conv1_t_stride": 2, "spatial_dims": plan.axes}
        network: torch.nn.Module = getattr(nets, name)(
            n_input_channels=plan.channels, num_classes=classes, **(usual | arguments)
        )
        return network

    return build


def _densenet(name: str) -> Build:
    def build(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
        network: torch.nn.Module = getattr(nets, name)(plan.axes, plan.channels, classes, **arguments)
        return network

    return build


def _seresnet(name: str) -> Build:
    def build(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
        network: torch.nn.Module = getattr(nets, name)(
            spatial_dims=plan.axes, in_channels=plan.channels, num_classes=classes, **arguments
        )
        return network

    return build


def _efficientnet(name: str) -> Build:
    def build(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
        return nets.EfficientNetBN(
            name,
            pretrained=False,
            spatial_dims=plan.axes,
            in_channels=plan.channels,
            num_classes=classes,
            **arguments,
        )

    return build


def _lite0(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
    if not plan.is_flat:
        message = "it sees two axes, the input has three"
        raise ValueError(message)
    return EfficientNetLite0(plan.channels, classes, **arguments)


def _vit(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
    axes = plan.axes
    usual = {"patch_size": (VIT_PATCH,) * axes}
    patch = np.broadcast_to((usual | arguments)["patch_size"], axes)
    if np.any(np.mod(plan.size[:axes], patch)):  # MONAI passes over the rest without a word
        message = f"every side must be a multiple of patch_size, {patch.tolist()}"
        raise ValueError(message)
    return ClassViT(
        in_channels=plan.channels,
        img_size=plan.size[:axes],
        classification=True,
        num_classes=classes,
        spatial_dims=axes,
        post_activation=None,
        **(usual | arguments),
    )


def _of_slices(name: str) -> Build:
    build_flat = _builder(name)

    def build(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
        if plan.is_flat:
            message = "it takes the slices of a volume, the input has two axes"
            raise ValueError(message)
        flat = replace(plan, size=(*plan.size[:2], 1))
        return SliceClassifier(build_flat(flat, FEATURES, arguments), classes)

    return build


CLASSIFIERS: dict[str, Build] = {
    "efficientnet-lite0": _lite0,
    **{f"resnet{depth}": _resnet(f"resnet{depth}") for depth in (10, 18, 34, 50, 101, 152)},
    **{f"seresnet{depth}": _seresnet(f"SEResNet{depth}") for depth in (50, 101, 152)},
    **{f"seresnext{depth}": _seresnet(f"SEResNext{depth}") for depth in (50, 101)},
    **{f"densenet{depth}": _densenet(f"DenseNet{depth}") for depth in (121, 169, 201, 264)},
    **{f"efficientnet-b{size}": _efficientnet(f"efficientnet-b{size}") for size in range(8)},
    "vit": _vit,
    "dynunet-encoder": dynunet_encoder,
}

FAMILIES: dict[str, Callable[[str], Build]] = {
    "slices": _of_slices,
    "timm": lambda name: partial(from_timm, name),
    "torchvision": lambda name: partial(from_torchvision, name),
}
"""What stands before a colon, and how the name behind it is built."""


def build_classifier(plan: ClassifierPlan, input_plan: InputPlan, classes: int) -> torch.nn.Module:
    """Build a network with random weights from torch's own generator.

    Parameters
    ----------
    plan
        Name and arguments.
    input_plan
        Size, axes and channels of an image.
    classes
        Outputs.

    Raises
    ------
    ConfigError
        There is no such network, it can't be built so, or it takes no images of this size.
    """
    try:
        build = _builder(plan.name)
    except KeyError as error:
        message = (
            f"There is no network `{plan.name}`; the nearest is `{nearest(plan.name, CLASSIFIERS)}`. Known "
            f"are {', '.join(CLASSIFIERS)}, slices:NAME, timm:NAME and torchvision:NAME."
        )
        raise ConfigError(message) from error
    try:
        network = build(input_plan, classes, dict(plan.arguments))
        _require_logits(network, input_plan, classes)
    except ConfigError:
        raise
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        sides = " x ".join(str(side) for side in input_plan.size[: input_plan.axes])
        message = (
            f"The network `{plan.name}` can't be built for images of {sides}: {error}. `network.arguments` "
            "go to it, `plan.input.size` is what it is given."
        )
        raise ConfigError(message) from error
    return network


def _builder(name: str) -> Build:
    family, colon, member = name.partition(":")
    return FAMILIES[family](member) if colon else CLASSIFIERS[name]


def _require_logits(network: torch.nn.Module, plan: InputPlan, classes: int) -> None:
    """Let a network answer one empty image: what doesn't fit is told before the first step."""
    network.eval()  # nothing is drawn, no running figure changes
    with torch.no_grad():
        logits = network(torch.zeros(1, plan.channels, *plan.size[: plan.axes]))
    network.train()
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, classes):
        message = "it doesn't give one logit a class"
        raise TypeError(message)
