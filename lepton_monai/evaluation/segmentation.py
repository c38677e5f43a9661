"""All figures of one class of one case."""

import math
from dataclasses import dataclass

from lepton_monai.core.grid import Grid
from lepton_monai.evaluation.lesions import HIT_IOU, Lesions, match_lesions
from lepton_monai.evaluation.overlap import Mask, dice, iou, volume_error_percent, volume_ml
from lepton_monai.evaluation.surface import assd_mm, hd95_mm, surface_dice, surface_distances

TOLERANCE_MM = 2.0
"""Of the normalised surface Dice, unless the config says otherwise."""


@dataclass(frozen=True)
class SegmentationFigures:
    """A predicted mask against the truth.

    Parameters
    ----------
    dice, iou, nsd
        0 to 1; NaN where both masks are empty, 0 where one is.
    hd95_mm, assd_mm
        NaN where a mask is empty.
    tolerance_mm
        That of `nsd`.
    volume_ml, truth_ml, volume_error_ml
        The error is above 0 where the prediction is too large.
    volume_error_percent
        Of the truth; NaN where that is empty.
    lesions
        Matched one to one; see :mod:`lepton_monai.evaluation.lesions`.
    """

    dice: float
    iou: float
    nsd: float
    hd95_mm: float
    assd_mm: float
    tolerance_mm: float
    volume_ml: float
    truth_ml: float
    volume_error_ml: float
    volume_error_percent: float
    lesions: Lesions

    @property
    def correctly_empty(self) -> bool:
        """Tell whether nothing was there and nothing was found: what the NaN of a Dice stands for."""
        return math.isnan(self.dice)


def figures(
    predicted: Mask,
    truth: Mask,
    grid: Grid,
    tolerance_mm: float = TOLERANCE_MM,
    hit_iou: float = HIT_IOU,
) -> SegmentationFigures:
    """Compare a prediction with the truth, on the grid of both.

    Parameters
    ----------
    predicted, truth
        bool arrays ``(i, j, k)``.
    grid
        Any affine.
    tolerance_mm
        Of the normalised surface Dice.
    hit_iou
        What the IoU of a lesion and a component has to exceed.

    Raises
    ------
    GeometryError
        A mask isn't on the grid.
    """
    distances = surface_distances(predicted, truth, grid)
    found_ml, truth_ml = (volume_ml(mask, grid.voxel_volume_ml) for mask in (predicted, truth))
    return SegmentationFigures(
        dice=dice(predicted, truth),
        iou=iou(predicted, truth),
        nsd=surface_dice(distances, tolerance_mm),
        hd95_mm=hd95_mm(distances),
        assd_mm=assd_mm(distances),
        tolerance_mm=tolerance_mm,
        volume_ml=found_ml,
        truth_ml=truth_ml,
        volume_error_ml=found_ml - truth_ml,
        volume_error_percent=volume_error_percent(found_ml, truth_ml),
        lesions=match_lesions(predicted, truth, grid.voxel_volume_ml, hit_iou),
    )
