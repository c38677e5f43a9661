"""Networks by name, each from its part of the plan."""

from collections.abc import Callable

import torch
from monai.networks.nets import DynUNet, SegResNet, UNet

from lepton_monai.plans.plan import NetworkPlan


def build_unet(plan: NetworkPlan, classes: int) -> torch.nn.Module:
    """MONAI's residual U-Net."""
    return UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=classes + 1,
        channels=plan.channels,
        strides=(2,) * (len(plan.channels) - 1),
        num_res_units=1,
    )


def build_dynunet(plan: NetworkPlan, classes: int) -> torch.nn.Module:
    """MONAI's DynUNet, which is nnU-Net's network."""
    levels = len(plan.channels)
    return DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=classes + 1,
        kernel_size=[3] * levels,
        strides=[1] + [2] * (levels - 1),
        upsample_kernel_size=[2] * (levels - 1),
        filters=plan.channels,
        norm_name=("INSTANCE", {"affine": True}),
    )


def build_segresnet(plan: NetworkPlan, classes: int) -> torch.nn.Module:
    """MONAI's SegResNet."""
    return SegResNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=classes + 1,
        init_filters=plan.channels[0],
        blocks_down=(1,) * len(plan.channels),
        blocks_up=(1,) * (len(plan.channels) - 1),
    )


NETWORKS: dict[str, Callable[[NetworkPlan, int], torch.nn.Module]] = {
    "unet": build_unet,
    "dynunet": build_dynunet,
    "segresnet": build_segresnet,
}


def build_network(plan: NetworkPlan, classes: int) -> torch.nn.Module:
    """Build a network with random weights from torch's own generator.

    Parameters
    ----------
    plan
        Name and channels; each level but the first halves the grid.
    classes
        Without the background, which is output 0.
    """
    return NETWORKS[plan.name](plan, classes)
