"""Lesions found, missed and made up: connected components of two masks, one matched to one.

A lesion is a connected component, 26 neighbours. A predicted component hits a lesion where their
IoU exceeds a threshold (0.1 as it comes). Pairs are taken in falling order of IoU, and each component and
each lesion is taken once (the greedy matching of Metrics Reloaded, Maier-Hein et al., Nature Methods
2024), so that a hit is one lesion and one component and the counts add up:

- one component that covers two lesions hits the one with the larger IoU; the other is missed;
- one lesion that two components hit is found by the one with the larger IoU; the other is false.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lepton_monai.evaluation.overlap import Mask, shared_box

HIT_IOU = 0.1
"""A hit has an IoU above this, unless the caller says otherwise."""

SIZE_EDGES_MM = (10.0, 20.0)
"""Of the strata by diameter: RECIST 1.1 measures a lesion on CT from 10 mm on; then twice that."""

_NEIGHBOURS = np.ones((3, 3, 3), dtype=np.bool_)


@dataclass(frozen=True)
class Lesion:
    """One connected component.

    Parameters
    ----------
    volume_ml
        Of itself.
    hit_iou
        IoU with the component of the other mask that it was matched to; 0 where there is none.
    """

    volume_ml: float
    hit_iou: float

    @property
    def diameter_mm(self) -> float:
        """Of the sphere of equal volume."""
        return float(np.cbrt(6000.0 * self.volume_ml / np.pi))


@dataclass(frozen=True)
class Lesions:
    """Every lesion of the truth and every component of the prediction, largest first."""

    truth: tuple[Lesion, ...]
    predicted: tuple[Lesion, ...]


@dataclass(frozen=True)
class LesionCounts:
    """Counts that can be added over cases and patients.

    Parameters
    ----------
    hit, missed
        Lesions of the truth.
    false
        Predicted components that hit none.
    """

    hit: int
    missed: int
    false: int

    @property
    def sensitivity(self) -> float:
        """Share of the lesions that are hit; NaN without lesions."""
        return _ratio(self.hit, self.hit + self.missed)

    @property
    def precision(self) -> float:
        """Share of the predicted components that hit a lesion; NaN without components."""
        return _ratio(self.hit, self.hit + self.false)

    @property
    def f1(self) -> float:
        """Twice the hits over all lesions and all components; NaN without either."""
        return _ratio(2 * self.hit, 2 * self.hit + self.missed + self.false)


def match_lesions(
    predicted: Mask, truth: Mask, voxel_volume_ml: float, hit_iou: float = HIT_IOU
) -> Lesions:
    """Find the components of both masks and match them.

    Parameters
    ----------
    predicted, truth
        bool arrays ``(i, j, k)`` of one shape, on one grid.
    voxel_volume_ml
        Of the grid.
    hit_iou
        A pair has to exceed it, not reach it.

    Raises
    ------
    GeometryError
        The shapes differ.
    """
    box = shared_box(predicted, truth)
    found, n_found = ndimage.label(predicted[box], _NEIGHBOURS)
    true, n_true = ndimage.label(truth[box], _NEIGHBOURS)
    found_sizes = np.bincount(found.ravel(), minlength=n_found + 1)
    true_sizes = np.bincount(true.ravel(), minlength=n_true + 1)
    both = (found > 0) & (true > 0)
    shape = (n_found + 1, n_true + 1)
    keys, shared = np.unique(np.ravel_multi_index((found[both], true[both]), shape), return_counts=True)
    ones, others = np.unravel_index(keys, shape)
    ious = shared / (found_sizes[ones] + true_sizes[others] - shared)
    found_hits, true_hits = np.zeros(n_found + 1), np.zeros(n_true + 1)
    for number in np.argsort(-ious, kind="stable"):
        one, other = ones[number], others[number]
        if ious[number] > hit_iou and not found_hits[one] and not true_hits[other]:
            found_hits[one] = true_hits[other] = ious[number]
    return Lesions(
        truth=_sorted(true_sizes, true_hits, voxel_volume_ml),
        predicted=_sorted(found_sizes, found_hits, voxel_volume_ml),
    )


def count(lesions: Lesions, low_mm: float = 0.0, high_mm: float = np.inf) -> LesionCounts:
    """Count the lesions and the false components with a diameter from `low_mm` to below `high_mm`.

    A hit belongs to the stratum of its lesion, whatever the size of the component that found it.
    """
    truth = [one for one in lesions.truth if low_mm <= one.diameter_mm < high_mm]
    hit = sum(one.hit_iou > 0 for one in truth)
    false = sum(not one.hit_iou and low_mm <= one.diameter_mm < high_mm for one in lesions.predicted)
    return LesionCounts(hit, len(truth) - hit, false)


def count_by_size(lesions: Lesions, edges_mm: Sequence[float] = SIZE_EDGES_MM) -> tuple[LesionCounts, ...]:
    """Count in strata of diameter, smallest first; there is one more of them than edges."""
    edges = [0.0, *edges_mm, np.inf]
    return tuple(count(lesions, low, high) for low, high in pairwise(edges))


def pooled(counts: Iterable[LesionCounts]) -> LesionCounts:
    """Add counts over cases, so that every lesion weighs the same, wherever it lies."""
    given = list(counts)
    return LesionCounts(
        hit=sum(one.hit for one in given),
        missed=sum(one.missed for one in given),
        false=sum(one.false for one in given),
    )


def _sorted(
    sizes: NDArray[np.int64], hits: NDArray[np.float64], voxel_volume_ml: float
) -> tuple[Lesion, ...]:
    each = zip(sizes[1:], hits[1:], strict=True)  # 0 is the background
    lesions = [Lesion(int(size) * voxel_volume_ml, float(hit)) for size, hit in each]
    return tuple(sorted(lesions, key=lambda one: -one.volume_ml))


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
