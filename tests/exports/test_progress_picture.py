"""The picture of a training is there, whatever the patches hold."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lepton_monai.exports.progress_picture import Patch, write_training_picture

LOG = [(50 * n, 1.0 / n, 1e-3 * (1 - n / 20)) for n in range(1, 20)]


def patch(shape: tuple[int, int, int], labelled: bool) -> Patch:
    image = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    label = np.zeros(shape, np.uint8)
    if labelled:
        label[2:5, 3:6, -1] = 1
    return Patch(image, label)


@pytest.mark.parametrize("log", [LOG, LOG[:1]], ids=["many lines", "one line"])
@pytest.mark.parametrize(
    "patches",
    [[patch((12, 10, 9), True), patch((12, 10, 9), False)], [patch((16, 16, 1), True)]],
    ids=["3D", "one slice"],
)
def test_curves_and_patches_are_drawn(
    tmp_path: Path, log: list[tuple[int, float, float]], patches: list[Patch]
) -> None:
    write_training_picture(log, patches, tmp_path / "training.png")
    picture = np.asarray(Image.open(tmp_path / "training.png").convert("RGB")).astype(int)
    above, below = np.array_split(picture, 2)
    blue = (above[..., 2] > above[..., 0] + 60) & (above[..., 2] > above[..., 1] + 30)
    assert blue.sum() > 100 or len(log) == 1
    green = (below[..., 1] > below[..., 0] + 60) & (below[..., 1] > below[..., 2] + 60)
    assert green.sum() > 20


def test_the_same_training_has_the_same_picture(tmp_path: Path) -> None:
    for name in ("first.png", "second.png"):
        write_training_picture(LOG, [patch((12, 10, 9), True)], tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
