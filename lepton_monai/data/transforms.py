"""MONAI's dictionary transforms, from a plan: preparation once a case, cropping and chance a patch."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    FgBgToIndicesd,
    Lambdad,
    NormalizeIntensityd,
    Orientationd,
    RandAdjustContrastd,
    RandAffined,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandGaussianNoised,
    RandScaleIntensityd,
    RandShiftIntensityd,
    ScaleIntensityRanged,
    Spacingd,
    SpatialPadd,
)

from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.load import LoadDicomd
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.plan import IntensityPlan, Plan, TrainingPlan

RAS_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))
"""What `Orientationd` calls the ends of the axes."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case on the network's grid.

    Parameters
    ----------
    image
        float32 ``(1, x, y, z)``.
    label
        uint8 ``(1, x, y, z)``; None in prediction.
    foreground, background
        Flat indices of the voxels of each, for the sampler; None in prediction.
    grid
        Where the voxels lie.
    """

    image: torch.Tensor
    label: torch.Tensor | None
    foreground: torch.Tensor | None
    background: torch.Tensor | None
    grid: Grid


def prepare(volume: Volume, mask: Mask | None, plan: Plan) -> Prepared:
    """Bring a volume, and its mask, to the network's grid and scale.

    Parameters
    ----------
    volume
        On its source grid.
    mask
        On the same grid.
    plan
        Orientation is RAS; spacing, intensity and the smallest size (the patch) are the plan's.
    """
    keys = ["image", "label"] if mask is not None else ["image"]
    item: dict[Hashable, Any] = {"image": volume}
    if mask is not None:
        volume.grid.require_same(mask.grid, "Mask and image")
        item["label"] = mask
    done = preparation(plan, keys)(item)
    image = done["image"].as_tensor().float().contiguous()
    _, x, y, z = image.shape
    grid = Grid.from_ras((x, y, z), np.asarray(done["image"].affine))
    if mask is None:
        return Prepared(image, None, None, None, grid)
    foreground, background = (torch.as_tensor(done[f"label_{one}_indices"]) for one in ("fg", "bg"))
    return Prepared(
        image=image,
        label=done["label"].as_tensor().to(torch.uint8).contiguous(),
        # A case that has only one of the two gives patches from anywhere.
        foreground=foreground if len(foreground) else background,
        background=background if len(background) else foreground,
        grid=grid,
    )


def preparation(plan: Plan, keys: list[str]) -> Compose:
    """Return the transforms that every case goes through once, in training and in prediction."""
    modes = ["bilinear", "nearest"][: len(keys)]
    steps: list[Callable[..., Any]] = [
        LoadDicomd(keys),
        EnsureChannelFirstd(keys, channel_dim="no_channel"),
        Orientationd(keys, axcodes="RAS", labels=RAS_LABELS),
        # Values before geometry: a window clips what metal would smear into its neighbours.
        INTENSITIES[plan.preparation.intensity.scheme](plan.preparation.intensity),
        Spacingd(keys, pixdim=plan.preparation.spacing_mm, mode=modes, dtype=np.float32),
        SpatialPadd(keys, spatial_size=plan.training.patch_size, mode="edge"),
    ]
    if "label" in keys:
        steps.append(FgBgToIndicesd("label"))
    return Compose(steps)


def cropping(training: TrainingPlan) -> RandCropByPosNegLabeld:
    """Return the crop of one patch, centred on foreground for the plan's share of patches."""
    return RandCropByPosNegLabeld(
        ["image", "label"],
        label_key="label",
        spatial_size=training.patch_size,
        pos=training.foreground_share,
        neg=1.0 - training.foreground_share,
        fg_indices_key="foreground",
        bg_indices_key="background",
    )


def augmentation(training: TrainingPlan) -> Compose:
    """Return the random transforms of a patch."""
    plan = training.augmentation
    keys = ["image", "label"]
    flips = [RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in plan.flip_axes]
    return Compose(
        [
            RandAffined(
                keys,
                prob=plan.affine_probability,
                rotate_range=(plan.rotation_rad,) * 3,
                scale_range=(plan.zoom,) * 3,
                mode=("bilinear", "nearest"),
                padding_mode="border",
            ),
            *flips,
            RandScaleIntensityd("image", factors=0.15, prob=plan.intensity_probability),
            RandShiftIntensityd("image", offsets=0.1, prob=plan.intensity_probability),
            RandAdjustContrastd("image", prob=plan.gamma_probability, gamma=(0.7, 1.5)),
            RandGaussianNoised("image", prob=plan.noise_probability, std=0.1),
        ]
    )


def _window(plan: IntensityPlan) -> Callable[[Mapping[Hashable, Any]], Any]:
    return ScaleIntensityRanged(
        "image",
        a_min=plan.low,
        a_max=plan.high,
        b_min=(plan.low - plan.mean) / plan.deviation,
        b_max=(plan.high - plan.mean) / plan.deviation,
        clip=True,
    )


def _zscore(_: IntensityPlan) -> Callable[[Mapping[Hashable, Any]], Any]:
    return NormalizeIntensityd("image")


def _log(_: IntensityPlan) -> Callable[[Mapping[Hashable, Any]], Any]:
    return Lambdad("image", func=_log_of_one_plus)


def _log_of_one_plus(image: MetaTensor) -> MetaTensor:
    return torch.log1p(torch.clamp(image, min=0.0))  # type: ignore[return-value] # keeps the type


INTENSITIES: dict[str, Callable[[IntensityPlan], Callable[[Mapping[Hashable, Any]], Any]]] = {
    "window": _window,
    "zscore": _zscore,
    "log": _log,
}
