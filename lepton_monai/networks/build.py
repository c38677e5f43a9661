"""Networks by name, each from its part of the plan."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from monai.networks.nets import (
    UNETR,
    AttentionUnet,
    DynUNet,
    MedNeXt,
    SegResNet,
    SwinUNETR,
    UNet,
    VNet,
)

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.wording import nearest
from lepton_monai.networks.instance_norm import with_direct_norms
from lepton_monai.plans.plan import NetworkPlan, Plan, Triple

MONAI_CLASS = "monai:"
"""Before the name of any class of `monai.networks.nets`."""


@dataclass(frozen=True)
class Ends:
    """What a network takes and gives.

    Parameters
    ----------
    inputs, outputs
        Channels: an image each, and the background with a class each.
    patch_size
        That it will be given: transformers are built for one size.
    """

    inputs: int
    outputs: int
    patch_size: Triple


class SupervisedDynUNet(DynUNet):
    """MONAI's DynUNet with its lower outputs as they are.

    MONAI's own enlarges each to the full size for TorchScript; the loss needs them small.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Return logits; in training a list, the full size first, each next one at half of it."""
        out: torch.Tensor = self.output_block(self.skip_layers(x))
        if self.training and self.deep_supervision:
            return [out, *self.heads]
        return out


def _dynunet(plan: NetworkPlan, ends: Ends) -> torch.nn.Module:
    return SupervisedDynUNet(
        spatial_dims=3,
        in_channels=ends.inputs,
        out_channels=ends.outputs,
        kernel_size=plan.kernels,
        strides=plan.strides,
        upsample_kernel_size=plan.strides[1:],
        filters=plan.channels,
        norm_name=("INSTANCE", {"affine": True}),
        deep_supervision=plan.supervised > 0,
        deep_supr_num=max(plan.supervised, 1),
    )


def _unet(plan: NetworkPlan, ends: Ends) -> torch.nn.Module:
    return UNet(
        spatial_dims=3,
        in_channels=ends.inputs,
        out_channels=ends.outputs,
        channels=plan.channels,
        strides=plan.strides[1:],  # type: ignore[arg-type] # MONAI takes one a side too
        num_res_units=1,
    )


def _attention_unet(plan: NetworkPlan, ends: Ends) -> torch.nn.Module:
    return AttentionUnet(
        spatial_dims=3,
        in_channels=ends.inputs,
        out_channels=ends.outputs,
        channels=plan.channels,
        strides=plan.strides[1:],  # type: ignore[arg-type] # MONAI takes one a side too
    )


def _segresnet(plan: NetworkPlan, ends: Ends) -> torch.nn.Module:
    return SegResNet(
        spatial_dims=3,
        in_channels=ends.inputs,
        out_channels=ends.outputs,
        init_filters=plan.channels[0],
        blocks_down=(1,) * len(plan.channels),
        blocks_up=(1,) * (len(plan.channels) - 1),
    )


def _vnet(_: NetworkPlan, ends: Ends) -> torch.nn.Module:
    return VNet(spatial_dims=3, in_channels=ends.inputs, out_channels=ends.outputs)


def _mednext(plan: NetworkPlan, ends: Ends) -> torch.nn.Module:
    return MedNeXt(
        spatial_dims=3, in_channels=ends.inputs, out_channels=ends.outputs, init_filters=plan.channels[0]
    )


def _swin_unetr(plan: NetworkPlan, ends: Ends) -> torch.nn.Module:
    width = max(12, plan.channels[0] // 12 * 12)  # a multiple of 12
    return SwinUNETR(spatial_dims=3, in_channels=ends.inputs, out_channels=ends.outputs, feature_size=width)


def _unetr(plan: NetworkPlan, ends: Ends) -> torch.nn.Module:
    return UNETR(
        in_channels=ends.inputs,
        out_channels=ends.outputs,
        img_size=ends.patch_size,
        feature_size=plan.channels[0],
    )


NETWORKS: dict[str, Callable[[NetworkPlan, Ends], torch.nn.Module]] = {
    "dynunet": _dynunet,
    "unet": _unet,
    "attention_unet": _attention_unet,
    "segresnet": _segresnet,
    "vnet": _vnet,
    "mednext": _mednext,
    "swin_unetr": _swin_unetr,
    "unetr": _unetr,
}

FACTORS: dict[str, int] = {"vnet": 16, "mednext": 16, "swin_unetr": 32, "unetr": 16}
"""What every side of a patch must be a multiple of, where that is the network's and not the plan's."""


def network_factor(plan: NetworkPlan) -> Triple:
    """Return what every side of a patch must be a multiple of."""
    fixed = FACTORS.get(plan.name)
    return (fixed, fixed, fixed) if fixed else plan.factor


def network_of(plan: Plan) -> torch.nn.Module:
    """Build the network of a segmentation's plan: see :func:`build_network`."""
    ends = Ends(len(plan.images), len(plan.classes) + 1, plan.training.patch_size)
    return build_network(plan.network, ends)


def build_network(plan: NetworkPlan, ends: Ends) -> torch.nn.Module:
    """Build a network with random weights from torch's own generator.

    Parameters
    ----------
    plan
        Name, and channels, kernels and strides of its levels.
    ends
        Of the task.

    Raises
    ------
    ConfigError
        There is no such network, or it can't be built so.
    """
    try:
        if plan.name.startswith(MONAI_CLASS):
            network = _by_class(plan.name.removeprefix(MONAI_CLASS), plan.arguments, ends)
        else:
            network = NETWORKS[plan.name](plan, ends)
        return with_direct_norms(network)
    except (KeyError, TypeError, ValueError) as error:
        message = (
            f"The network `{plan.name}` can't be built ({error}). Known are {', '.join(NETWORKS)}, and "
            f"`monai:CLASS` with its arguments under `network.arguments`."
        )
        raise ConfigError(message) from error


def _by_class(name: str, arguments: dict[str, Any], ends: Ends) -> torch.nn.Module:
    known = {
        one: found
        for one, found in vars(import_module("monai.networks.nets")).items()
        if isinstance(found, type) and issubclass(found, torch.nn.Module)
    }
    if name not in known:
        message = f"MONAI has no network {name}; the nearest is {nearest(name, known)}"
        raise TypeError(message)
    channels = {"in_channels": ends.inputs, "out_channels": ends.outputs}
    return known[name](**{"spatial_dims": 3, **channels, **arguments})
