"""A plain network and a thin loop: MONAI's UNet, light augmentation, as many steps as the time has.

`python plain_unet.py JOB.json`: see `segmentation.py`. The recipe of the first trial on these data: one
residual unit, Dice and cross-entropy, AdamW with a polynomial schedule, flips and scale (of the hippocampus
small rotations, too), mirrored prediction. It had bf16, which takes longer on a processor without it, so
the faster precision is taken. Preparation and the way back to the source grid are lepton's.
"""

import json
import sys
import time
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.inferers import sliding_window_inference
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lepton_monai.data.transforms import prepare
from lepton_monai.exports.nifti import write_mask
from lepton_monai.images.nifti import read_nifti
from lepton_monai.inference.native import Probabilities, classes_on_grid
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.plan import IntensityPlan, PreparationPlan, Spacing, Triple

RATE = 2e-3


@dataclass(frozen=True)
class Recipe:
    """What the trial used for a task; rotations up to so many radians about each axis."""

    channels: tuple[int, ...]
    patch: Triple
    batch: int
    rotation: float
    preparation: PreparationPlan


def _preparation(spacing_mm: Spacing, scheme: Any) -> PreparationPlan:
    return PreparationPlan(spacing_mm=spacing_mm, intensity=IntensityPlan(scheme=scheme))


RECIPES = {
    "sts": Recipe((16, 32, 64, 128), (32, 32, 48), 4, 0.0, _preparation((4.0, 4.0, 3.27), "log")),
    "hippocampus": Recipe(
        (24, 48, 96, 192), (40, 56, 40), 6, 0.25, _preparation((1.0, 1.0, 1.0), "zscore")
    ),
}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A training case, at least as large as a patch, and where its foreground is."""

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    places: NDArray[np.int64]


def main() -> None:
    """Train, predict, and print what it took as JSON."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    recipe = RECIPES[job["task"]]
    images, labels = Path(job["images"]), Path(job["labels"])
    cases = [
        _prepared(images / f"{name}.nii.gz", labels / f"{name}.nii.gz", recipe) for name in job["train"]
    ]
    prepared = time.time()
    unet = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=1 + len(job["classes"]),
        channels=recipe.channels,
        strides=(2,) * (len(recipe.channels) - 1),
        num_res_units=1,
    )
    network = Faster(unet, recipe)
    steps = train(network, cases, recipe, until=job["began"] + 60 * job["minutes"])
    trained = time.time()
    for name in job["test"]:
        predict(network, images / f"{name}.nii.gz", recipe, Path(job["out"]) / f"{name}.nii.gz")
    told = {
        "steps": steps,
        "plan": {"precision": network.precision, "channels": recipe.channels},
        "seconds": {
            "preparation": prepared - job["began"],
            "total": trained - job["began"],
            "prediction": time.time() - trained,
        },
    }
    print(json.dumps(told))  # noqa: T201 - this is a program


class Faster(torch.nn.Module):
    """A network in that precision in which one pass forth and back is faster on this processor."""

    def __init__(self, network: torch.nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network = network
        self.precision = min(("float32", "bfloat16"), key=lambda one: self._seconds(one, recipe))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits in float32."""
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits: torch.Tensor = self.network(image)
        return logits.float()

    def _seconds(self, precision: str, recipe: Recipe) -> float:
        self.precision, image, taken = precision, torch.zeros(recipe.batch, 1, *recipe.patch), 0.0
        for _ in range(2):  # the first one is left out
            began = time.perf_counter()
            self(image).sum().backward()
            taken = time.perf_counter() - began
        return taken


def train(network: torch.nn.Module, cases: list[Prepared], recipe: Recipe, until: float) -> int:
    """Train until the time is up; return the number of steps."""
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    began, steps = time.time(), 0
    while (left := (until - time.time()) / (until - began)) > 0:
        for group in optimizer.param_groups:
            group["lr"] = RATE * left**0.9
        samples = [_sample(cases, recipe, rng, foreground=place % 2 == 0) for place in range(recipe.batch)]
        image, label = (torch.from_numpy(np.stack(parts))[:, None] for parts in zip(*samples, strict=True))
        if recipe.rotation:
            image, label = turned(
                image, label, rng.uniform(-recipe.rotation, recipe.rotation, (len(image), 3))
            )
        optimizer.zero_grad(set_to_none=True)
        logits = network(image)
        loss_of(logits, label).backward()
        optimizer.step()
        steps += 1
    return steps


def turned(
    image: torch.Tensor, label: torch.Tensor, angles: NDArray[np.float64]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn patches about their middles, by angles about each axis; their border goes on outside."""
    size = torch.tensor(image.shape[2:]).flip(0).double()  # torch counts the last axis first
    rotation = torch.from_numpy(Rotation.from_euler("xyz", angles).as_matrix())
    affine = torch.zeros(len(image), 3, 4)
    affine[:, :, :3] = rotation * size / size[:, None]
    grid = torch.nn.functional.affine_grid(affine, list(image.shape), align_corners=False)
    image = torch.nn.functional.grid_sample(image, grid, "bilinear", "border", align_corners=False)
    label = torch.nn.functional.grid_sample(label.float(), grid, "nearest", "border", align_corners=False)
    return image, label.to(torch.uint8)


def predict(network: torch.nn.Module, path: Path, recipe: Recipe, out: Path) -> None:
    """Write the mask of an image on its own grid: the mean of all mirrorings."""
    volume = read_nifti(path)
    prepared = prepare(volume, None, recipe.preparation)
    network.eval()
    total = torch.zeros(())
    with torch.inference_mode():
        for axes in (chosen for count in range(4) for chosen in combinations((2, 3, 4), count)):
            logits = sliding_window_inference(
                prepared.image[None].flip(axes),
                recipe.patch,
                recipe.batch,
                network,
                0.5,
                "gaussian",
                padding_mode="replicate",
            )
            total = total + torch.as_tensor(logits).float().softmax(dim=1).flip(axes)
    found = Probabilities(total[0] / 8, prepared.grid)
    write_mask(Mask(classes_on_grid([found], volume.grid), volume.grid), out)


def _prepared(image: Path, label: Path, recipe: Recipe) -> Prepared:
    volume, truth = read_nifti(image), read_nifti(label)
    done = prepare(volume, Mask(truth.array.astype(np.uint8), truth.grid), recipe.preparation)
    if done.label is None:
        message = "a label was given"
        raise TypeError(message)
    values, classes = done.image[0].numpy(), done.label[0].numpy()
    short = np.maximum(np.array(recipe.patch) - values.shape, 0)
    margins = [(less // 2, less - less // 2) for less in short.tolist()]
    values, classes = np.pad(values, margins, "edge"), np.pad(classes, margins, "edge")
    return Prepared(values, classes, np.argwhere(classes))


def _sample(
    cases: list[Prepared], recipe: Recipe, rng: np.random.Generator, *, foreground: bool
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    case = cases[rng.integers(len(cases))]
    size, shape = np.array(recipe.patch), np.array(case.image.shape)
    if foreground and len(case.places):
        start = np.clip(case.places[rng.integers(len(case.places))] - size // 2, 0, shape - size)
    else:
        start = rng.integers(0, shape - size + 1)
    box = tuple(slice(a, a + n) for a, n in zip(start, recipe.patch, strict=True))
    axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
    image = np.flip(case.image[box], axes) * np.float32(rng.uniform(0.75, 1.25))
    return image, np.flip(case.label[box], axes)


if __name__ == "__main__":
    main()
