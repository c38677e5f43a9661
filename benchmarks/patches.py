"""Loaders of patches, each a work that makes all its batches: thin, ours, MONAI's.

`python patches.py cpu FOLDER ROUNDS NAME...` prints milliseconds a patch of each as JSON,
`python patches.py peak FOLDER NAME` its peak memory in GB. One thread, in this process.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from cost import cpu_of_each, peak_bytes
from monai.data import CacheDataset, DataLoader, PersistentDataset
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandScaleIntensityd,
    RandShiftIntensityd,
)

from lepton_monai.data.cache import open_entry
from lepton_monai.data.fingerprint import Fingerprint, Values
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import ImagePlan, Plan
from lepton_monai.training.devices import Machine
from lepton_monai.training.loop import Feeding, batches
from lepton_monai.training.planner import Task, draft_plan
from lepton_monai.training.segmentation import patches_of

PATCH = (96, 96, 96)
BATCH, STEPS = 2, 60
VOLUMES = 12
ENTRIES, NIFTI = "entries", "nifti"
PROBABILITIES = (
    "rotation_probability",
    "zoom_probability",
    "noise_probability",
    "blur_probability",
    "brightness_probability",
    "contrast_probability",
    "low_resolution_probability",
    "gamma_probability",
)

Work = Callable[[], object]


def thin(folder: Path) -> Work:
    """Return the least that has to be done: memory map, stored index, crop, flip, scale."""
    entries = sorted((folder / ENTRIES).iterdir())
    images = [np.load(entry / "image.npy", mmap_mode="r")[0] for entry in entries]
    labels = [np.load(entry / "label.npy", mmap_mode="r") for entry in entries]
    places = [np.load(entry / "places.npy")[:, 1:] for entry in entries]
    size = np.array(PATCH)

    def sample(rng: np.random.Generator, foreground: bool) -> tuple[torch.Tensor, torch.Tensor]:
        one = int(rng.integers(len(images)))
        shape = np.array(images[one].shape)
        if foreground:
            start = np.clip(places[one][rng.integers(len(places[one]))] - size // 2, 0, shape - size)
        else:
            start = rng.integers(0, shape - size + 1)
        box = tuple(slice(a, a + n) for a, n in zip(start, PATCH, strict=True))
        axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
        image = np.flip(images[one][box].astype(np.float32), axes) * np.float32(rng.uniform(0.75, 1.25))
        label = np.ascontiguousarray(np.flip(labels[one][box], axes))
        return torch.from_numpy(image)[None], torch.from_numpy(label)[None]

    def work() -> None:
        rng = np.random.default_rng(0)
        for _ in range(STEPS):
            pairs = [sample(rng, foreground=bool(place % 2)) for place in range(BATCH)]
            for parts in zip(*pairs, strict=True):
                torch.stack(parts)

    return work


def ours(folder: Path, augmentation: Mapping[str, float] | None = None) -> Work:
    """Return lepton's batches, as the planner sets them but for what is given."""
    cases = [open_entry(entry) for entry in sorted((folder / ENTRIES).iterdir())]
    plan = _plan(augmentation or {})

    def work() -> None:
        for _ in batches(
            patches_of({str(at): case for at, case in enumerate(cases)}, plan), Feeding(torch.device("cpu"))
        ):
            pass

    return work


def _plan(augmentation: Mapping[str, float]) -> Plan:
    given = {
        "preparation.spacing_mm": (1.5, 1.5, 1.5),
        "training.patch_size": PATCH,
        "training.batch_size": BATCH,
        "training.steps": STEPS,
    }
    given |= {f"training.augmentation.{name}": value for name, value in augmentation.items()}
    found = Fingerprint((1.5, 1.5, 1.5), (384.0, 384.0, 240.0), (Values(-1.0, 1.0, 0.0, 1.0, ("HU",)),))
    task = Task((ImagePlan("ct", "dicom", "CT", None, "HU"),), ("lesion",))
    return draft_plan(task, found, PlanOptions(1.0, 0, given), Machine("cpu", 64.0)).plan


def _only(name: str | None) -> dict[str, float]:
    return {one: float(one == name) for one in PROBABILITIES}


def _documented(samples: int) -> list[Any]:
    """Return the transforms of MONAI's tutorial on the spleen, with the intensities of that on UNETR."""
    return [
        LoadImaged(["image", "label"]),
        EnsureChannelFirstd(["image", "label"]),
        RandCropByPosNegLabeld(
            ["image", "label"], label_key="label", spatial_size=PATCH, pos=1, neg=1, num_samples=samples
        ),
        *[RandFlipd(["image", "label"], spatial_axis=axis, prob=0.5) for axis in range(3)],
        RandScaleIntensityd("image", factors=0.25, prob=1.0),
        RandShiftIntensityd("image", offsets=0.1, prob=0.5),
    ]


def _files(folder: Path) -> list[dict[str, str]]:
    names = [folder / NIFTI / f"{number:02}" for number in range(VOLUMES)]
    return [{"image": f"{name}_image.nii", "label": f"{name}_label.nii"} for name in names]


def _monai(dataset: Any, samples: int) -> Work:
    loader = DataLoader(dataset, batch_size=max(1, BATCH // samples), shuffle=True, num_workers=0)

    def work() -> None:
        made = 0
        while made < STEPS * BATCH:
            for batch in loader:
                made += len(batch["image"])

    return work


def cached(folder: Path, samples: int) -> Work:
    """Return MONAI's CacheDataset as documented."""
    transforms = Compose(_documented(samples))
    return _monai(CacheDataset(_files(folder), transforms, num_workers=1, progress=False), samples)


def persistent(folder: Path) -> Work:
    """Return MONAI's PersistentDataset as documented."""
    kept = folder / "persistent"
    return _monai(PersistentDataset(_files(folder), Compose(_documented(1)), kept), 1)


LOADERS: dict[str, Callable[[Path], Work]] = {
    "thin": thin,
    "light": partial(ours, augmentation=_only("brightness_probability")),
    "all": ours,
    "none": partial(ours, augmentation=_only(None)),
    **{one: partial(ours, augmentation=_only(one)) for one in PROBABILITIES},
    "cached": partial(cached, samples=1),
    "cached_4": partial(cached, samples=4),
    "persistent": persistent,
}


def milliseconds(folder: Path, names: Sequence[str], rounds: int) -> dict[str, float]:
    """Return CPU milliseconds a patch; the first turn, which warms the pages, isn't counted."""
    works = {name: LOADERS[name](folder) for name in names}
    for work in works.values():
        work()
    spent = cpu_of_each(works, rounds)
    return {name: 1000 * seconds / (STEPS * BATCH) for name, seconds in spent.items()}


def main() -> None:
    """Print the figures as JSON."""
    torch.set_num_threads(1)
    mode, folder, *rest = sys.argv[1:]
    if mode == "peak":
        told = {rest[0]: peak_bytes(lambda: LOADERS[rest[0]](Path(folder))()) / 1e9}
    else:
        told = milliseconds(Path(folder), rest[1:], int(rest[0]))
    print(json.dumps(told))  # noqa: T201 - this is a program


if __name__ == "__main__":
    main()
