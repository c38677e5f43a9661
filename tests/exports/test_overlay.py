"""Pictures: the right side stands where the label says so, and odd volumes have one too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from lepton_monai.core.errors import GeometryError, MachineError
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Unit, Volume
from lepton_monai.exports.overlay import write_heat, write_overlay, write_picture_heat
from lepton_monai.labels.labelset import Mask
from tests.phantoms import oblique_affine, orientations

SHAPE = (24, 20, 16)
GREY = 40.0
"""HU: the middle of the window."""


def _grid(number: int = 0, shape: tuple[int, int, int] = SHAPE) -> Grid:
    affine = oblique_affine((1.0, 1.0, 1.0), (6.0, -8.0, 5.0))
    affine[:3, :3] = affine[:3, :3] @ orientations()[number] * (1.0, 1.3, 2.2)
    return Grid(shape, affine)


def _bright_corner(grid: Grid, corner: tuple[int, int, int], unit: Unit = "HU") -> tuple[Volume, Mask]:
    """Return a grey volume with one bright corner, and a mask of it; `corner` holds 0 or -1 an axis."""
    block = tuple(
        slice(0, max(1, extent // 4)) if end == 0 else slice(-max(1, extent // 4), None)
        for end, extent in zip(corner, grid.shape, strict=True)
    )
    array = np.full(grid.shape, GREY, dtype=np.float32, order="F")
    mask = np.zeros(grid.shape, dtype=np.uint8)
    array[block], mask[block] = 240.0, 1
    return Volume(array, grid, unit), Mask(mask, grid)


def _pixels(path: Path) -> NDArray[np.int64]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(np.int64)


def _letters(grid: Grid, corner: tuple[int, int, int]) -> set[str]:
    """Say where a corner lies in the patient, by its place in LPS."""
    ends = [0 if end == 0 else extent - 1 for end, extent in zip(corner, grid.shape, strict=True)]
    middle = [(extent - 1) / 2 for extent in grid.shape]
    away = grid.to_world(ends) - grid.to_world(middle)
    return {pair[int(away[axis] > 0)] for axis, pair in enumerate(("RL", "AP", "IS"))}


def _seen(panel: NDArray[np.int64]) -> tuple[bool, bool]:
    """Return whether the bright block lies in the right half and in the upper half of a panel."""
    neutral = np.ptp(panel, axis=-1) < 3
    rows, columns = np.nonzero(neutral & (np.abs(panel.mean(axis=-1) - 127) < 4))
    top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
    inner = panel[top : bottom + 1, left : right + 1].max(axis=-1) > 200
    y, x = np.argwhere(inner).mean(axis=0) / inner.shape
    return bool(x > 0.5), bool(y < 0.5)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Return the list of all figures that are saved from now on."""
    saved: list[Figure] = []
    save = Figure.savefig

    def savefig(self: Figure, *given: Any, **named: Any) -> None:
        saved.append(self)
        save(self, *given, **named)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


@pytest.mark.parametrize("number", range(0, 48, 3))
def test_the_labels_say_where_the_bright_corner_lies(
    tmp_path: Path, figures: list[Figure], number: int
) -> None:
    grid = _grid(number)
    corner = (-(number & 1), -(number >> 1 & 1), -(number >> 2 & 1))
    write_overlay(*_bright_corner(grid, corner), tmp_path / "picture.png")
    whole = _pixels(tmp_path / "picture.png")
    letters = set()
    for at, axes in enumerate(figures[0].axes):
        third = whole.shape[1] // 3
        in_right_half, in_upper_half = _seen(whole[:, at * third : (at + 1) * third])
        across, up = axes.get_xlabel().split("  -  "), axes.get_ylabel().split("  -  ")
        letters |= {across[in_right_half], up[in_upper_half]}
    assert letters == _letters(grid, corner)


def test_pictures_are_in_radiological_convention(tmp_path: Path, figures: list[Figure]) -> None:
    write_overlay(*_bright_corner(_grid(), (0, 0, 0)), tmp_path / "picture.png")
    labels = {axes.get_title(): axes.get_xlabel() + ", " + axes.get_ylabel() for axes in figures[0].axes}
    assert labels == {
        "sagittal": "P  -  A, I  -  S",
        "coronal": "R  -  L, I  -  S",
        "axial": "R  -  L, P  -  A",
    }


@pytest.mark.parametrize(
    "shape", [SHAPE, (24, 20, 1), (1, 20, 16), (1, 1, 1), (60, 3, 2), (2, 60, 3)], ids=str
)
@pytest.mark.parametrize("drawn", ["nothing", "a corner", "everything"])
@pytest.mark.parametrize("unit", ["HU", "SUVbw", "1"])
def test_every_volume_has_a_picture_of_sane_size(
    tmp_path: Path, shape: tuple[int, int, int], drawn: str, unit: Unit
) -> None:
    volume, mask = _bright_corner(_grid(shape=shape), (0, 0, -1), unit)
    array = {"nothing": np.zeros_like(mask.array), "everything": np.ones_like(mask.array)}.get(
        drawn, mask.array
    )
    write_overlay(volume, Mask(array, mask.grid), tmp_path / "picture.png", truth=mask)
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == (1080, 396)
    assert 2_000 < (tmp_path / "picture.png").stat().st_size < 200_000


def test_a_constant_volume_has_a_picture(tmp_path: Path) -> None:
    grid = _grid()
    volume = Volume(np.full(SHAPE, 7, dtype=np.float32), grid, "1")
    write_overlay(volume, Mask(np.zeros(SHAPE, dtype=np.uint8), grid), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").exists()


def test_an_outline_closes_at_the_border_of_the_image(tmp_path: Path) -> None:
    volume, mask = _bright_corner(_grid(), (0, 0, 0))
    whole = Mask(np.ones_like(mask.array), mask.grid)
    write_overlay(volume, whole, tmp_path / "picture.png")
    pixels = _pixels(tmp_path / "picture.png")
    strong = (pixels[..., 1] - pixels[..., 0] > 45).sum(axis=0)  # the light filling has 29
    assert (strong > 100).sum() >= 6  # an upright line on both sides of three panels


def test_classes_have_their_own_colours_and_the_first_is_green(tmp_path: Path) -> None:
    volume, mask = _bright_corner(_grid(), (0, 0, 0))
    numbers = np.where(mask.array > 0, 0, 1).astype(np.uint8)
    write_overlay(volume, Mask(numbers, mask.grid), tmp_path / "one.png")
    write_overlay(volume, Mask(numbers * 2, mask.grid), tmp_path / "two.png")
    one, two = _pixels(tmp_path / "one.png"), _pixels(tmp_path / "two.png")
    tinted = (one[..., 1] - one[..., 0]) > 15
    assert tinted.mean() > 0.2
    assert (two[tinted][:, 0] > two[tinted][:, 1]).mean() > 0.9  # the second is red


def test_the_truth_is_drawn_beside_the_mask(tmp_path: Path) -> None:
    volume, mask = _bright_corner(_grid(), (0, 0, 0))
    write_overlay(volume, mask, tmp_path / "alone.png")
    write_overlay(
        volume, mask, tmp_path / "both.png", truth=Mask(np.roll(mask.array, 3, axis=0), mask.grid)
    )
    assert (_pixels(tmp_path / "alone.png") != _pixels(tmp_path / "both.png")).any()


def test_two_writes_give_equal_bytes_without_a_word_on_their_origin(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_overlay(*_bright_corner(_grid(5), (0, -1, 0)), tmp_path / name)
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert b"tEXt" not in first
    assert b"Matplotlib" not in first


@pytest.mark.parametrize("which", ["mask", "truth"])
def test_a_mask_of_another_grid_is_refused(tmp_path: Path, which: str) -> None:
    volume, mask = _bright_corner(_grid(), (0, 0, 0))
    elsewhere = Mask(mask.array, _grid(1))
    masks = (elsewhere, mask) if which == "mask" else (mask, elsewhere)
    with pytest.raises(GeometryError, match=f"{which.title()} and image lie on different grids"):
        write_overlay(volume, masks[0], tmp_path / "picture.png", truth=masks[1])
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_: Figure, path: Path, **_named: object) -> None:
        path.write_bytes(b"\x89PNG")
        message = "No space left on device"
        raise OSError(28, message)

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(MachineError, match="No space left"):
        write_overlay(*_bright_corner(_grid(), (0, 0, 0)), tmp_path / "picture.png")
    assert list(tmp_path.iterdir()) == []


def test_a_map_says_what_it_is_of_and_what_its_colours_mean(tmp_path: Path, figures: list[Figure]) -> None:
    volume, mask = _bright_corner(_grid(), (0, 0, 0))
    caption = "evidence for $tumour$ (probability 0.83)"
    write_heat(volume, mask.array.astype(np.float32), (1, 2, 3), tmp_path / "series.png", caption)
    picture = np.zeros((12, 10, 1), dtype=np.float32)
    write_picture_heat(picture, picture[..., 0], tmp_path / "picture.png", caption)
    for figure in figures:
        assert figure.get_suptitle() == caption
        assert figure.axes[-1].get_ylabel() == "evidence, 1 at its highest"
        assert figure.axes[-1].get_ylim() == (0.0, 1.0)
    assert len(figures) == 2
