"""Training cases for tests: bright balls in noise, on the network's grid, in a cache of their own."""

from pathlib import Path

import numpy as np

from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.cache import CachedCase, add_entry
from lepton_monai.data.transforms import prepare
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.plan import Plan

SIDE = 20


def balls(folder: Path, plan: Plan, centres: tuple[tuple[int, int, int], ...]) -> dict[str, CachedCase]:
    """Make a case for each centre of a ball with a radius of 6 voxels."""
    generator = np.random.default_rng(5)
    grid = Grid((SIDE, SIDE, SIDE), np.diag([-2.0, -2.0, 2.0, 1.0]))
    index = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), axis=-1)
    cases: dict[str, CachedCase] = {}
    for number, centre in enumerate(centres):
        ball = np.linalg.norm(index - centre, axis=-1) < 6
        values = (100.0 * ball + generator.normal(0, 15, grid.shape)).astype(np.float32)
        prepared = prepare(Volume(values, grid, "HU"), Mask(ball.astype(np.uint8), grid), plan.preparation)
        cases[f"case-{number}"] = add_entry(folder, f"{number:032x}", prepared)
    return cases


def two_balls(folder: Path, plan: Plan) -> dict[str, CachedCase]:
    """Make two cases."""
    return balls(folder, plan, ((8, 9, 10), (11, 10, 8)))
