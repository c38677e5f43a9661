"""Pictures of a mask or a map on its image: three planes, in radiological convention.

The patient is seen from the feet and from the front: the right side is on the left of the picture.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.typing import ColorType
from numpy.typing import NDArray

from lepton_monai.core.files import replacing
from lepton_monai.core.volume import Volume
from lepton_monai.labels.labelset import Mask

PLANES = (("sagittal", 0), ("coronal", 1), ("axial", 2))
ENDS = ("RL", "PA", "IS")
"""Low and high end of the axes in LAS."""

Value = TypeVar("Value", bound=np.generic)

MOST_OPAQUE = 0.6
"""Of a map at its peak: the image stays to be seen."""

Draw = Callable[[mpl.axes.Axes, int], None]
"""Draws on the panel of a plane across an axis of LAS."""

WINDOWS = {"HU": (-160.0, 240.0), "SUVbw": (0.0, 8.0)}


def write_overlay(volume: Volume, mask: Mask, path: Path, truth: Mask | None = None) -> None:
    """Draw the mask's outline, filled lightly, and the truth's dashed, without a word on the patient.

    Parameters
    ----------
    volume, mask
        On one grid.
    path
        PNG.
    truth
        Drawn dashed and white, if given; the planes go through it, so that what is missed is seen.

    Raises
    ------
    GeometryError
        They don't lie on one grid.
    """
    mask.grid.require_same(volume.grid, "Mask and image")
    if truth is not None:
        truth.grid.require_same(volume.grid, "Truth and image")
    drawn = _to_las(mask.array, volume)
    dashed = None if truth is None else _to_las(truth.array, volume)
    middle = _middle(drawn if dashed is None or not dashed.any() else dashed)

    def outlines(panel: mpl.axes.Axes, axis: int) -> None:
        _outline(panel, np.asarray(drawn.take(middle[axis], axis=axis)).T)
        if dashed is not None:
            plane = np.asarray(dashed.take(middle[axis], axis=axis)).T
            for class_id in np.unique(plane[plane > 0]):
                _line(panel, plane == class_id, "white", "dashed")

    _save(_planes(volume, middle, outlines), path)


def write_heat(
    volume: Volume, heat: NDArray[np.float32], voxel: tuple[int, int, int], path: Path, caption: str
) -> None:
    """Draw a map over its image, on the three planes through a voxel, without a word on the patient.

    Parameters
    ----------
    volume
        The image.
    heat
        ``(i, j, k)`` on its grid, 0 (the image alone is seen) to 1.
    voxel
        ``(i, j, k)``: where the planes meet.
    path
        PNG.
    caption
        Stands above it.
    """
    warm = _to_las(heat, volume)
    marked = np.zeros(heat.shape, dtype=np.bool_)
    marked[voxel] = True
    i, j, k = (int(one[0]) for one in np.nonzero(_to_las(marked, volume)))

    def glow(panel: mpl.axes.Axes, axis: int) -> None:
        _glow(panel, np.asarray(warm.take((i, j, k)[axis], axis=axis)).T)

    figure = _planes(volume, (i, j, k), glow)
    _explain(figure, caption)
    _save(figure, path)


def write_picture_heat(
    picture: NDArray[np.float32], heat: NDArray[np.float32], path: Path, caption: str
) -> None:
    """Draw a map over a picture.

    Parameters
    ----------
    picture
        ``(i, j, channel)``, 0 to 1: one channel, or red, green and blue.
    heat
        ``(i, j)``, 0 to 1.
    path
        PNG.
    caption
        Stands above it.
    """
    figure = Figure(figsize=(6, 6), layout="constrained", facecolor="black")
    panel = figure.subplots()
    rows = picture.transpose(1, 0, 2)
    panel.imshow(rows if rows.shape[2] == 3 else rows[..., 0], cmap="gray", vmin=0, vmax=1)
    _glow(panel, heat.T)
    panel.set_axis_off()
    _explain(figure, caption)
    _save(figure, path)


def _explain(figure: Figure, caption: str) -> None:
    """Say above a map what it is of, and beside it what its colours mean."""
    figure.suptitle(caption, color="white", fontsize=11, parse_math=False)
    scale = ScalarMappable(Normalize(0.0, 1.0), mpl.colormaps["hot"])
    legend = figure.colorbar(scale, ax=figure.axes, shrink=0.8)
    legend.set_label("evidence, 1 at its highest", color="white")
    legend.ax.tick_params(colors="white")


def _planes(volume: Volume, middle: tuple[int, int, int], draw: Draw) -> Figure:
    figure = Figure(figsize=(12, 4.4), layout="constrained", facecolor="black")
    axes = figure.subplots(1, 3)
    image = _to_las(volume.array, volume)
    spacing = np.take(volume.grid.spacing_mm, volume.grid.nearest_ras()[0])
    low, high = WINDOWS.get(volume.unit) or np.percentile(volume.array, [1, 99.5])
    for panel, (name, axis) in zip(axes, PLANES, strict=True):
        across, up = [other for other in range(3) if other != axis]
        plane = image.take(middle[axis], axis=axis).T
        aspect = spacing[up] / spacing[across]
        panel.imshow(plane, cmap="gray", vmin=low, vmax=high, origin="lower", aspect=aspect)
        draw(panel, axis)
        panel.set_xlim(-0.5, image.shape[across] - 0.5)
        panel.set_ylim(-0.5, image.shape[up] - 0.5)
        panel.set_title(name, color="white", fontsize=10)
        panel.set_xlabel(f"{ENDS[across][0]}  -  {ENDS[across][1]}", color="white")
        panel.set_ylabel(f"{ENDS[up][0]}  -  {ENDS[up][1]}", color="white")
        panel.set_xticks([])
        panel.set_yticks([])
    return figure


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=90, metadata={"Software": None})


def _glow(panel: mpl.axes.Axes, plane: NDArray[np.float32]) -> None:
    (image,) = panel.get_images()
    colours = mpl.colormaps["hot"](plane)
    colours[..., 3] = MOST_OPAQUE * plane
    panel.imshow(colours, origin=image.origin, aspect=panel.get_aspect())


def _outline(panel: mpl.axes.Axes, plane: NDArray[np.uint8]) -> None:
    colours = mpl.colormaps["tab10"]
    for class_id in np.unique(plane[plane > 0]):
        inside = plane == class_id
        colour = colours((int(class_id) + 1) % 10)  # the third of the palette, green, comes first
        shade = np.zeros((*inside.shape, 4))
        shade[inside] = (*colour[:3], 0.25)
        panel.imshow(shade, origin="lower", aspect=panel.get_aspect())
        _line(panel, inside, colour, "solid")


def _line(panel: mpl.axes.Axes, inside: NDArray[np.bool_], colour: ColorType, style: str) -> None:
    # With a rim of background an outline closes at the border, and one row is enough to have one.
    rows, columns = (np.arange(-1, extent + 1) for extent in inside.shape)
    rimmed = np.pad(inside, 1)
    line = panel.contour(
        columns, rows, rimmed, levels=[0.5], colors=[colour], linewidths=1.2, linestyles=style
    )
    line.set_clip_on(False)  # else half of its width is lost at the border


def _to_las(array: NDArray[Value], volume: Volume) -> NDArray[Value]:
    """Turn the axes to the nearest of left, anterior and superior, without resampling."""
    axes, signs = volume.grid.nearest_ras()
    turned = array.transpose(axes)
    return turned[:: -signs[0], :: signs[1], :: signs[2]]


def _middle(drawn: NDArray[np.uint8]) -> tuple[int, int, int]:
    """Return the slices that cut most of the mask, or the middle of the image."""
    if not drawn.any():
        x, y, z = (extent // 2 for extent in drawn.shape)
        return x, y, z
    inside = drawn > 0
    x, y, z = (
        int(inside.sum(axis=tuple(other for other in range(3) if other != axis)).argmax())
        for axis in range(3)
    )
    return x, y, z
