"""A picture of a training: how the loss fell, and what the network was fed with."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lepton_monai.core.files import replacing


@dataclass(frozen=True, eq=False)
class Patch:
    """Something that a network was fed with.

    Parameters
    ----------
    image
        float32 ``(x, y, z)``.
    label
        uint8 ``(x, y, z)``; None: a class, which is the caption.
    caption
        Stands above it.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8] | None = None
    caption: str = ""


def write_training_picture(
    log: Sequence[tuple[int, float, float]], patches: Sequence[Patch], path: Path
) -> None:
    """Draw loss and learning rate over the steps, and below them the middle of some patches.

    Parameters
    ----------
    log
        Step, mean loss, learning rate.
    patches
        As the network got them: turned, mirrored, brightened.
    path
        PNG.
    """
    figure = Figure(figsize=(12, 6), layout="constrained")
    above, below = np.asarray(figure.subfigures(2, 1)).tolist()
    steps, losses, rates = (np.array(column) for column in zip(*log, strict=True))
    panel = above.subplots()
    panel.plot(steps, losses, label="loss", color="tab:blue")
    panel.set_xlabel("step")
    panel.set_ylabel("loss, mean of 50 steps")
    beside = panel.twinx()
    beside.plot(steps, rates, label="learning rate", color="tab:orange", linewidth=0.8)
    beside.set_ylabel("learning rate")
    beside.set_ylim(bottom=0)
    panel.legend(handles=[*panel.lines, *beside.lines], loc="upper right")
    for one, patch in zip(below.subplots(1, len(patches), squeeze=False)[0], patches, strict=True):
        label = np.zeros(patch.image.shape, np.uint8) if patch.label is None else patch.label
        # The slice with most of the label: an empty one says nothing of how it was cut.
        k = int((label > 0).sum(axis=(0, 1)).argmax()) if label.any() else label.shape[2] // 2
        one.imshow(patch.image[:, :, k].T, cmap="gray", origin="lower")
        plane = np.pad(label[:, :, k], 1)
        if plane.any():
            axes = (np.arange(-1, extent - 1) for extent in plane.shape)
            one.contour(*axes, plane.T > 0, levels=[0.5], colors=["tab:green"], linewidths=1.0)
        one.set_title(patch.caption, fontsize=9)
        one.set_axis_off()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90, metadata={"Software": None})
