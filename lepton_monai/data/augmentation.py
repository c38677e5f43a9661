"""Chance: what is drawn for a patch, and what is made of it.

The geometry is drawn first; then only the box of voxels that it needs is read, and interpolated once. The
values are left to MONAI's random transforms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandScaleIntensityFixedMeand,
    RandSimulateLowResolutiond,
)
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lepton_monai.plans.plan import AugmentationPlan, Triple

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""First and last voxel plus one, along x, y and z; it may reach out of the image."""


@dataclass(frozen=True, eq=False)
class Placing:
    """Where a patch lies in its image.

    Parameters
    ----------
    centre
        Voxel of the image in the middle of the patch.
    matrix
        ``(3, 3)`` from a step in the patch to a step in the image, in voxels; None: no turn, no zoom.
    flips
        Axes that are mirrored after all.
    """

    centre: NDArray[np.float64]
    matrix: NDArray[np.float64] | None
    flips: tuple[int, ...] = ()


def draw_matrix(
    plan: AugmentationPlan, spacing_mm: tuple[float, float, float], generator: np.random.Generator
) -> NDArray[np.float64] | None:
    """Draw a rotation and a zoom; None where neither is drawn.

    A rotation turns millimetres, not voxels: on a grid with unequal spacing it stays a rotation.
    """
    turned = generator.random() < plan.rotation_probability
    angles = generator.uniform(-1.0, 1.0, 3) * plan.rotation_rad
    zoomed = generator.random() < plan.zoom_probability
    zoom = float(generator.uniform(*plan.zoom))
    if not turned and not zoomed:
        return None
    matrix = Rotation.from_euler("xyz", angles).as_matrix() if turned else np.eye(3)
    scale = np.asarray(spacing_mm)
    matrix = matrix * scale[None, :] / scale[:, None]
    return np.asarray(matrix / zoom if zoomed else matrix)


def box_of(placing: Placing, patch_size: Triple) -> Box:
    """Return the voxels of the image that a patch needs."""
    size = np.asarray(patch_size)
    if placing.matrix is None:
        start = np.rint(placing.centre).astype(int) - size // 2
        stop = start + size
    else:
        reach = np.abs(placing.matrix) @ ((size - 1) / 2)
        start = np.floor(placing.centre - reach).astype(int)
        stop = np.ceil(placing.centre + reach).astype(int) + 1
    (a, b, c), (d, e, f) = start.tolist(), stop.tolist()
    return (a, d), (b, e), (c, f)


def read_box(array: NDArray[np.generic], box: Box) -> NDArray[np.generic]:
    """Return a box, a view where it lies inside; outside of the array its border goes on."""
    if all(start >= 0 and stop <= side for (start, stop), side in zip(box, array.shape, strict=True)):
        return array[tuple(slice(*ends) for ends in box)]
    places = [
        np.clip(np.arange(start, stop), 0, side - 1)
        for (start, stop), side in zip(box, array.shape, strict=True)
    ]
    inner = array[tuple(slice(one[0], one[-1] + 1) for one in places)]
    return inner[np.ix_(*[one - one[0] for one in places])]


def placed(
    content: NDArray[np.generic], box: Box, placing: Placing, patch_size: Triple, mode: str
) -> torch.Tensor:
    """Take a patch out of its box: as it is, or interpolated where it is turned; then mirrored.

    Parameters
    ----------
    content
        Voxels of the box.
    box, placing
        Where the content and the patch lie.
    patch_size
        Of the result.
    mode
        bilinear (which is trilinear here) or nearest.

    Returns
    -------
    patch : tensor ``(1, x, y, z)``
        float32 where it was interpolated linearly; else of the content's own type.
    """
    values = torch.from_numpy(content)[None]
    if placing.matrix is not None:
        sample = _interpolated if mode == "bilinear" else _nearest
        values = sample(values, placing.matrix, placing.centre - np.array(box)[:, 0], patch_size)
    return values.flip([axis + 1 for axis in placing.flips]) if placing.flips else values


def _interpolated(
    values: torch.Tensor, matrix: NDArray[np.float64], middle: NDArray[np.float64], patch_size: Triple
) -> torch.Tensor:
    # `grid_sample` counts from -1 to 1 between the centres of the first and the last voxel, z first.
    scale = 2.0 / np.maximum(np.array(values.shape[1:]) - 1, 1)
    places = _places((matrix * scale[:, None])[::-1], (middle * scale - 1)[::-1], patch_size)
    return torch.nn.functional.grid_sample(
        values[None].float(),
        places.permute(1, 2, 3, 0)[None],
        mode="bilinear",
        padding_mode="border",
        align_corners=True,
    )[0]


def _nearest(
    values: torch.Tensor, matrix: NDArray[np.float64], middle: NDArray[np.float64], patch_size: Triple
) -> torch.Tensor:
    # Not by `grid_sample`, which takes floating point alone: three times the time.
    x, y, z = _places(matrix, middle, patch_size).round_().to(torch.int32)
    _, _, rows, columns = values.shape
    return values.take(((x * rows + y) * columns + z).long())[None]


def _places(rows: NDArray[np.float64], middle: NDArray[np.float64], patch_size: Triple) -> torch.Tensor:
    """Return ``(3, x, y, z)``: `middle`, and `rows` for every step away from the middle of a patch."""
    x, y, z = (torch.arange(size, dtype=torch.float32) - (size - 1) / 2 for size in patch_size)
    along = torch.from_numpy(np.stack([*rows.T, middle]).astype(np.float32))[..., None, None, None]
    return along[0] * x[:, None, None] + along[1] * y[:, None] + (along[2] * z + along[3])


class RandomValues:
    """What chance makes of the values of an image that is in its place: MONAI's random transforms.

    They compute on the device of the image. The draws are the same on each: numpy makes them, from a seed.

    Parameters
    ----------
    plan
        How often each is applied. Strengths are nnU-Net's (Isensee et al., Nature Methods 2021,
        supplementary note 4).
    """

    def __init__(self, plan: AugmentationPlan) -> None:
        # One generator for all transforms, seeded once a sample: to seed each takes longer than a crop.
        self._state = np.random.RandomState()
        self._transforms = Compose(
            [
                RandGaussianNoised("image", prob=plan.noise_probability, std=0.3),
                RandGaussianSmoothd(
                    "image",
                    prob=plan.blur_probability,
                    sigma_x=(0.5, 1.0),
                    sigma_y=(0.5, 1.0),
                    sigma_z=(0.5, 1.0),
                ),
                RandScaleIntensityd("image", prob=plan.brightness_probability, factors=0.25),
                RandScaleIntensityFixedMeand(
                    "image", prob=plan.contrast_probability, factors=0.25, preserve_range=True
                ),
                RandSimulateLowResolutiond(
                    "image", prob=plan.low_resolution_probability, zoom_range=(0.5, 1.0)
                ),
                RandAdjustContrastd(
                    "image", prob=plan.gamma_probability, gamma=(0.7, 1.5), retain_stats=True
                ),
            ]
        )
        for one in self._transforms.transforms:
            one.set_random_state(state=self._state)

    def of(self, image: torch.Tensor, seed: int) -> torch.Tensor:
        """Return an image ``(channel, x, y, z)`` float32 with changed values: a function of both alone.

        Each channel has draws of its own: the images of a case come from different devices.
        """
        self._state.seed(seed)
        channels = [self._transforms({"image": one})["image"] for one in image.split(1)]
        return as_one([one.as_tensor() if isinstance(one, MetaTensor) else one for one in channels])


def as_one(channels: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return channels ``(1, x, y, z)`` as one image; a single one isn't copied."""
    return channels[0] if len(channels) == 1 else torch.cat(list(channels))
