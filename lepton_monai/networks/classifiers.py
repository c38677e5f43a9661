"""Classifiers by name, in two and three dimensions."""

from collections.abc import Callable
from typing import Any

import torch
from monai.networks import nets

from lepton_monai.core.errors import ConfigError
from lepton_monai.networks.efficientnet import EfficientNetLite0
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
        usual = {"conv1_t_stride": 2, "spatial_dims": _axes(plan)}
        network: torch.nn.Module = getattr(nets, name)(
            n_input_channels=plan.channels, num_classes=classes, **(usual | arguments)
        )
        return network

    return build


def _densenet(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
    return nets.DenseNet121(_axes(plan), plan.channels, classes, **arguments)


def _seresnet(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
    return nets.SEResNet50(
        spatial_dims=_axes(plan), in_channels=plan.channels, num_classes=classes, **arguments
    )


def _efficientnet(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
    return nets.EfficientNetBN(
        "efficientnet-b0",
        pretrained=False,
        spatial_dims=_axes(plan),
        in_channels=plan.channels,
        num_classes=classes,
        **arguments,
    )


def _lite0(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
    if not plan.is_flat:
        message = "it sees two axes, the input has three"
        raise ValueError(message)
    return EfficientNetLite0(plan.channels, classes, **arguments)


def _vit(plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
    axes = _axes(plan)
    usual = {"patch_size": (VIT_PATCH,) * axes}
    return ClassViT(
        in_channels=plan.channels,
        img_size=plan.size[:axes],
        classification=True,
        num_classes=classes,
        spatial_dims=axes,
        post_activation=None,
        **(usual | arguments),
    )


CLASSIFIERS: dict[str, Build] = {
    "efficientnet-lite0": _lite0,
    **{f"resnet{depth}": _resnet(f"resnet{depth}") for depth in (10, 18, 34, 50, 101, 152)},
    "densenet121": _densenet,
    "seresnet50": _seresnet,
    "efficientnet-b0": _efficientnet,
    "vit": _vit,
}


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
        There is no such network, or it can't be built so.
    """
    try:
        return CLASSIFIERS[plan.name](input_plan, classes, dict(plan.arguments))
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        message = (
            f"The network `{plan.name}` can't be built ({error}). Known are {', '.join(CLASSIFIERS)}; "
            f"`network.arguments` go to it."
        )
        raise ConfigError(message) from error


def _axes(plan: InputPlan) -> int:
    return 2 if plan.is_flat else 3
