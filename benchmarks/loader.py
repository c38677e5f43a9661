"""What a patch costs: `python benchmarks/loader.py --nnunet FOLDER`.

CPU milliseconds on one thread per patch of 96 x 96 x 96 out of 12 volumes of 256 x 256 x 160 with a small
foreground, batch 2, page cache warm; peak memory above that of the imports. FOLDER holds nnU-Net's
environment; it is made where there is none. Exit code 1: a bound is missed.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import torch
from cost import Bound, judge
from nnunet_peer import nnunet_python, told_by
from numpy.typing import NDArray
from patches import ENTRIES, NIFTI, PROBABILITIES, STEPS, VOLUMES
from scipy.ndimage import zoom

from lepton_monai.core.grid import Grid
from lepton_monai.data.cache import add_entry
from lepton_monai.data.transforms import Prepared

SHAPE = (256, 256, 160)
SPACING_MM = (1.5, 1.5, 1.5)
WHAT = {
    "thin": "thin: memory map, stored index, crop, flip, scale",
    "light": "lepton, flips and scale",
    "all": "lepton, all augmentation",
    "none": "lepton, flips alone",
    **{one: f"  with {one.removesuffix('_probability')} in every patch" for one in PROBABILITIES},
    "cached": "MONAI CacheDataset",
    "cached_4": "MONAI CacheDataset, 4 samples a volume",
    "persistent": "MONAI PersistentDataset",
    "nnunet": "nnU-Net, default augmentation",
}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nnunet", type=Path, required=True, help="folder of nnU-Net's environment")
    parser.add_argument("--rounds", type=int, default=3, help="of each loader; the least counts")
    given = parser.parse_args()
    python = nnunet_python(given.nnunet)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_volumes(folder)
        cpu, peak = measured(folder, python, given.rounds)
    print(f"{'CPU ms a patch':52} {'ms':>8}")  # noqa: T201 - this is a program
    for key, what in WHAT.items():
        print(f"{what:52} {cpu[key]:8.1f}")  # noqa: T201 - this is a program
    print(f"\n{'peak memory above the imports':52} {'GB':>8}")  # noqa: T201 - this is a program
    for key, gigabytes in peak.items():
        print(f"{WHAT[key]:52} {gigabytes:8.2f}")  # noqa: T201 - this is a program
    print()  # noqa: T201 - this is a program
    judge(bounds(cpu, peak))


def bounds(cpu: dict[str, float], peak: dict[str, float]) -> list[Bound]:
    """Return what is promised of the figures."""
    return [
        Bound("CPU, flips and scale: lepton / thin", cpu["light"] / cpu["thin"], 1.5),
        Bound(
            "CPU, flips and scale: CacheDataset / lepton", cpu["cached"] / cpu["light"], 12.0, at_least=True
        ),
        Bound("memory: lepton / CacheDataset", peak["light"] / peak["cached"], 1.0),
        Bound("CPU, all augmentation: lepton / nnU-Net", cpu["all"] / cpu["nnunet"], 0.5),
    ]


def measured(folder: Path, nnunet: Path, rounds: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return CPU and peak memory of every loader."""
    here = Path(sys.executable)
    mine = ["thin", "light", "all", "none", *PROBABILITIES]
    cpu = told_by(here, "patches.py", "cpu", str(folder), str(rounds), *mine)
    for name in ("cached", "cached_4", "persistent"):
        cpu |= told_by(here, "patches.py", "cpu", str(folder), str(rounds), name)
    works = [str(folder / ENTRIES), str(folder / "nnunet"), str(STEPS), str(rounds)]
    cpu |= told_by(nnunet, "nnunet_patches.py", *works)
    peak: dict[str, float] = {}
    for name in ("thin", "light", "all", "cached"):
        peak |= told_by(here, "patches.py", "peak", str(folder), name)
    return cpu, peak


def make_volumes(folder: Path) -> None:
    """Write CT-like volumes with one lesion each: prepared for lepton, and as NIfTI for MONAI."""
    affine = np.diag([*SPACING_MM, 1.0])
    (folder / NIFTI).mkdir()
    for number in range(VOLUMES):
        image, label = _volume(np.random.default_rng(number))
        prepared = Prepared(
            torch.from_numpy(image)[None], torch.from_numpy(label)[None], Grid.from_ras(SHAPE, affine)
        )
        add_entry(folder / ENTRIES, f"{number:02}", prepared)
        for array, what in ((image, "image"), (label, "label")):
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / NIFTI / f"{number:02}_{what}.nii")


def _volume(rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    coarse = rng.normal(size=[side // 16 for side in SHAPE])
    image = zoom(coarse, 16, order=1) + 0.2 * rng.normal(size=SHAPE)
    middle = rng.uniform(0.3, 0.7, 3) * SHAPE
    radii = rng.uniform(8, 16, 3)
    axes = np.meshgrid(*[np.arange(side) for side in SHAPE], indexing="ij", sparse=True)
    inside = (
        sum(((axis - at) / radius) ** 2 for axis, at, radius in zip(axes, middle, radii, strict=True)) <= 1
    )
    return (image + inside).astype(np.float32), inside.astype(np.uint8)


if __name__ == "__main__":
    main()
