"""MONAI's dictionary transforms, from a plan: the preparation that every case goes through once."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Lambdad,
    NormalizeIntensityd,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
)

from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.load import LoadDicomd
from lepton_monai.data.resampling import on_grid
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.plan import IntensityPlan, PreparationPlan

RAS_LABELS = (("L", "R"), ("P", "A"), ("I", "S"))
"""What `Orientationd` calls the ends of the axes."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case on the network's grid.

    Parameters
    ----------
    image
        float32 ``(channel, x, y, z)``: an image each.
    label
        uint8 ``(1, x, y, z)``; None in prediction.
    grid
        Where the voxels lie.
    """

    image: torch.Tensor
    label: torch.Tensor | None
    grid: Grid


def prepare(
    volume: Volume, mask: Mask | None, plan: PreparationPlan, further: Sequence[Volume] = ()
) -> Prepared:
    """Bring a volume, its mask, and what goes with it to the network's grid and scale.

    Parameters
    ----------
    volume
        On its source grid.
    mask
        On the same grid.
    plan
        Orientation is RAS; spacing and intensity are the plan's.
    further
        Images on grids of their own; where one doesn't reach stands its darkest value, as around a body.
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
    label = done["label"].as_tensor().to(torch.uint8).contiguous() if mask is not None else None
    others = [_beside(one, scale, grid) for one, scale in zip(further, plan.further, strict=True)]
    return Prepared(torch.cat([image, *others]), label, grid)


def _beside(volume: Volume, intensity: IntensityPlan, grid: Grid) -> torch.Tensor:
    """Bring a further image to the grid of the first, interpolated once."""
    steps: list[Callable[..., Any]] = [
        LoadDicomd("image"),
        EnsureChannelFirstd("image", channel_dim="no_channel"),
        INTENSITIES[intensity.scheme](intensity),
    ]
    values = Compose(steps)({"image": volume})["image"].as_tensor().float()
    return on_grid(values, volume.grid, grid, beyond=float(values.min()))


def preparation(plan: PreparationPlan, keys: list[str]) -> Compose:
    """Return the transforms that every case goes through once, in training and in prediction."""
    modes = ["bilinear", "nearest"][: len(keys)]
    steps: list[Callable[..., Any]] = [
        LoadDicomd(keys),
        EnsureChannelFirstd(keys, channel_dim="no_channel"),
        Orientationd(keys, axcodes="RAS", labels=RAS_LABELS),
        # Values before geometry: a window clips what metal would smear into its neighbours.
        INTENSITIES[plan.intensity.scheme](plan.intensity),
        Spacingd(keys, pixdim=plan.spacing_mm, mode=modes, dtype=np.float32),
    ]
    return Compose(steps)


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
