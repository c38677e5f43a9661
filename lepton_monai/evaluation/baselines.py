"""What no network is needed for: a model has to beat it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_monai.evaluation.intervals import Interval


@dataclass(frozen=True)
class Baselines:
    """What needs no network, where it makes sense: Dice over patients.

    Parameters
    ----------
    ellipsoid
        A centred ellipsoid of half the extent.
    threshold
        Every voxel above `threshold_value`.
    """

    ellipsoid: Interval | None
    threshold: Interval | None
    threshold_value: float | None

    def sentences(self, model: Interval) -> list[str]:
        """Return what each is worth, and whether a model (its Dice) is worth more."""
        told = {}
        if self.ellipsoid is not None:
            told["A centred ellipsoid of half the extent"] = self.ellipsoid
        if self.threshold is not None:
            told[f"Every voxel above {self.threshold_value:g}"] = self.threshold
        lines = [f"{name} has {interval.text()}." for name, interval in told.items()]
        if any(interval.mean >= model.mean for interval in told.values()):
            lines.append(
                "The model is no better: as it is, it isn't worth using. Has it trained too short?"
            )
        return lines


def above(values: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
    """Return where an image exceeds a value."""
    return values > threshold


def centred_ellipsoid(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return an ellipsoid in the middle of the image with half its extent along every axis.

    The extent runs from the first voxel centre to the last.
    """
    axes = [(np.arange(n) - (n - 1) / 2) / max((n - 1) / 4, 0.25) for n in shape]
    squares = np.meshgrid(*[axis**2 for axis in axes], indexing="ij", sparse=True)
    return np.asarray(squares[0] + squares[1] + squares[2] <= 1.0)
