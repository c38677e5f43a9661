"""nnU-Net's loader with its default augmentation; runs in its environment: see nnunet_peer.py.

`python nnunet_patches.py ENTRIES WORK STEPS ROUNDS`: from the arrays in ENTRIES it makes its own files in
WORK, as its preprocessing would, and prints milliseconds a patch as JSON. One thread, in this process.
"""

import json
import os
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from cost import cpu_of_each
from nnunetv2.training.data_augmentation.compute_initial_patch_size import get_patch_size
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import LabelManager

PATCH = (96, 96, 96)
BATCH = 2
ANGLES = (-30 / 360 * 2 * np.pi, 30 / 360 * 2 * np.pi)
SCALES = [[1 / 2**level] * 3 for level in range(5)]
"""What its trainer sets for an isotropic patch of this size."""


def prepared(entries: Path, work: Path) -> nnUNetDatasetBlosc2:
    """Write the volumes as nnU-Net's preprocessor does."""
    work.mkdir(parents=True, exist_ok=True)
    for entry in sorted(entries.iterdir()):
        image = np.load(entry / "image.npy").astype(np.float32)
        label = np.load(entry / "label.npy").astype(np.int16)[None]
        places = np.load(entry / "places.npy")
        # Its places have the channel first.
        locations = {1: np.insert(places[:, 1:], 0, 0, axis=1)}
        blocks, chunks = comp_blosc2_params(image.shape, PATCH, image.itemsize)
        nnUNetDatasetBlosc2.save_case(
            image,
            label,
            {"class_locations": locations},
            str(work / entry.name),
            chunks,
            blocks,
            chunks,
            blocks,
        )
    return nnUNetDatasetBlosc2(str(work))


def loader(dataset: nnUNetDatasetBlosc2) -> SingleThreadedAugmenter:
    """Return what its trainer makes, but in this process."""
    transforms = nnUNetTrainer.get_training_transforms(
        PATCH, ANGLES, SCALES, (0, 1, 2), do_dummy_2d_data_aug=False, foreground_labels=[1]
    )
    made = nnUNetDataLoader(
        dataset,
        BATCH,
        get_patch_size(PATCH, ANGLES, ANGLES, ANGLES, (0.85, 1.25)),
        PATCH,
        LabelManager({"background": 0, "lesion": 1}, None),
        oversample_foreground_percent=0.33,
        transforms=transforms,
    )
    return SingleThreadedAugmenter(made, None)


def main() -> None:
    """Print the figure as JSON."""
    torch.set_num_threads(1)
    entries, work, steps, rounds = sys.argv[1:]
    batches = loader(prepared(Path(entries), Path(work)))

    def turn() -> None:
        np.random.seed(0)  # noqa: NPY002, TID251 - it draws from numpy's and torch's own generators
        torch.manual_seed(0)  # noqa: TID251 - as above
        for _ in range(int(steps)):
            next(batches)

    turn()
    spent = cpu_of_each({"nnunet": turn}, int(rounds))
    told = {name: 1000 * seconds / (int(steps) * BATCH) for name, seconds in spent.items()}
    print(json.dumps(told))  # noqa: T201 - this is a program


if __name__ == "__main__":
    main()
