"""A grid of voxels in patient space, and the one measure of two grids being the same."""

from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lepton_monai.core.errors import GeometryError

SAME_GRID_MM = 1e-3
"""Two arrays meet only when the corners of their grids are closer than this."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxel centres in patient space.

    Parameters
    ----------
    shape
        Number of voxels ``(i, j, k)``: columns, rows, slices.
    affine
        ``(4, 4)`` float64, voxel index ``(i, j, k, 1)`` to patient space, LPS, mm.

    Raises
    ------
    GeometryError
        The affine isn't finite or has no inverse, or an extent is below one voxel.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            message = f"An affine must be 4 x 4 and finite, this one is {affine.tolist()}."
            raise GeometryError(message)
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9 or min(self.shape) < 1:
            message = f"A grid needs a volume: shape {self.shape}, affine {affine.tolist()}."
            raise GeometryError(message)
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Length of one step along ``i``, ``j`` and ``k``."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """Turn voxel indices ``(..., 3)`` into points ``(..., 3)``, LPS, mm."""
        index = np.asarray(index, dtype=np.float64)
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_index(self, points: ArrayLike) -> NDArray[np.float64]:
        """Turn points ``(..., 3)``, LPS, mm, into continuous voxel indices ``(..., 3)``."""
        inverse = np.linalg.inv(self.affine)
        points = np.asarray(points, dtype=np.float64)
        return np.asarray(points @ inverse[:3, :3].T + inverse[:3, 3])

    def ras(self) -> NDArray[np.float64]:
        """Return the affine in RAS, mm, as NIfTI and MONAI write it."""
        return np.asarray(LPS_TO_RAS @ self.affine)

    @classmethod
    def from_ras(cls, shape: tuple[int, int, int], affine_ras: ArrayLike) -> "Grid":
        """Make a grid from an affine in RAS, mm."""
        return cls(shape, LPS_TO_RAS @ np.asarray(affine_ras, dtype=np.float64))

    def nearest_ras(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return which index axis lies nearest to each of R, A and S, and its direction.

        Returns
        -------
        axes, signs
            Index axis ``axes[0]`` runs to the right where ``signs[0]`` is 1, to the left where -1.
        """
        directions = (self.ras()[:3, :3]) / np.array(self.spacing_mm)
        axes = max(
            permutations(range(3)),
            key=lambda order: sum(abs(directions[world, order[world]]) for world in range(3)),
        )
        signs = [1 if directions[world, axes[world]] >= 0 else -1 for world in range(3)]
        return (axes[0], axes[1], axes[2]), (signs[0], signs[1], signs[2])

    def corners(self) -> NDArray[np.float64]:
        """Return the centres of the eight corner voxels, ``(8, 3)``, LPS, mm."""
        ends = [(0, extent - 1) for extent in self.shape]
        return self.to_world(np.array(list(product(*ends)), dtype=np.float64))

    def corner_distance_mm(self, other: "Grid") -> float:
        """Return the largest distance between equal corners; infinite where the shapes differ."""
        if self.shape != other.shape:
            return float("inf")
        return float(np.linalg.norm(self.corners() - other.corners(), axis=1).max())

    def require_same(self, other: "Grid", what: str) -> None:
        """Raise `GeometryError` unless `other` is this grid to 1e-3 mm.

        Parameters
        ----------
        other
            The grid to compare with.
        what
            The two things that meet, for the message: "mask and image of IM-1".
        """
        distance = self.corner_distance_mm(other)
        if distance >= SAME_GRID_MM:
            found = (
                f"shapes {self.shape} and {other.shape}"
                if self.shape != other.shape
                else f"corners up to {distance:.3g} mm apart"
            )
            message = f"{what} lie on different grids: {found}."
            raise GeometryError(message)
