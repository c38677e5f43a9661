"""Filling, against matplotlib, analytic shapes and a partition of the plane."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from numpy.typing import ArrayLike, NDArray

from lepton_monai.labels.polygons import fill_even_odd

SHAPE = (11, 8)

halves = st.integers(-6, 28).map(lambda number: number / 2)
"""Whole and half pixels: edges run through centres."""


def _fill(points: ArrayLike, shape: tuple[int, int] = SHAPE) -> NDArray[np.bool_]:
    return fill_even_odd(np.asarray(points, dtype=np.float64), shape)


def _box(low: tuple[float, float], high: tuple[float, float]) -> list[tuple[float, float]]:
    return [low, (high[0], low[1]), high, (low[0], high[1])]


def _pixels(i: slice, j: slice) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[i, j] = True
    return mask


def _centres(shape: tuple[int, int]) -> NDArray[np.float64]:
    return np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1).astype(np.float64)


def _by_matplotlib(points: ArrayLike, shape: tuple[int, int] = SHAPE) -> NDArray[np.bool_]:
    """Ask for each centre, moved a trifle up and a lesser one across: so the lower side is inside.

    Corners are multiples of a half, so the trifle can't jump over an edge.
    """
    corners = np.asarray(points, dtype=np.float64)
    closed = Polygon(np.vstack([corners, corners[:1]]), closed=True)
    moved = _centres(shape).reshape(-1, 2) + np.array([1e-5, 1e-8])
    return np.asarray(closed.contains_points(moved)).reshape(shape)


@given(st.lists(st.tuples(halves, halves), min_size=3, max_size=3))
def test_a_triangle_with_edges_through_centres_has_its_lower_side_alone(
    corners: list[tuple[float, float]],
) -> None:
    np.testing.assert_array_equal(_fill(corners), _by_matplotlib(corners))


@given(
    radii=st.lists(st.floats(0.5, 9.0), min_size=3, max_size=25),
    centre=st.tuples(st.floats(-2.0, 12.0), st.floats(-2.0, 9.0)),
)
def test_a_star_is_filled_as_matplotlib_fills_it(radii: list[float], centre: tuple[float, float]) -> None:
    angles = np.arange(len(radii)) * 2 * np.pi / len(radii) + 0.1234
    points = (
        np.asarray(centre) + np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(radii)[:, None]
    )
    closed = np.vstack([points, points[:1]])
    # A centre closer to an edge than the rounding of either opinion may fall on both sides.
    start, edge = closed[:-1], np.diff(closed, axis=0)
    away = _centres(SHAPE)[..., None, :] - start
    along = np.clip((away * edge).sum(-1) / np.maximum((edge**2).sum(-1), 1e-12), 0, 1)
    distance = np.linalg.norm(away - along[..., None] * edge, axis=-1).min(axis=-1)
    expected = Polygon(closed, closed=True).contains_points(_centres(SHAPE).reshape(-1, 2)).reshape(SHAPE)
    clear = distance > 1e-6
    np.testing.assert_array_equal(_fill(points)[clear], expected[clear])


@pytest.mark.parametrize(
    ("shift", "i", "j"),
    [
        (0.0, slice(2, 5), slice(1, 6)),  # between centres
        (0.5, slice(2, 5), slice(1, 6)),  # on centres: the low edge is inside, the high one isn't
        (-0.5, slice(1, 4), slice(0, 5)),
        (1.0, slice(3, 6), slice(2, 7)),
        (0.25, slice(2, 5), slice(1, 6)),
    ],
)
def test_a_shift_of_half_a_pixel_is_exactly_that(shift: float, i: slice, j: slice) -> None:
    box = np.array(_box((1.5, 0.5), (4.5, 5.5))) + shift
    np.testing.assert_array_equal(_fill(box), _pixels(i, j))


@pytest.mark.parametrize("centre", [(20.0, 17.0), (20.5, 17.0), (19.75, 16.5)])
def test_a_circle_of_many_corners_holds_the_centres_within_its_radius(centre: tuple[float, float]) -> None:
    radius = 13.3
    angles = np.linspace(0, 2 * np.pi, 5000, endpoint=False)
    circle = np.asarray(centre) + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    distance = np.linalg.norm(_centres((40, 36)) - centre, axis=-1)
    assert np.abs(distance - radius).min() > 1e-4  # else the 5000 corners would not do
    np.testing.assert_array_equal(_fill(circle, (40, 36)), distance < radius)


ends = st.one_of(halves, st.floats(-3.0, 14.0))


@given(low=ends, high=ends, turned=st.booleans())
def test_a_plane_cut_in_two_covers_each_pixel_exactly_once(low: float, high: float, turned: bool) -> None:
    """The cut runs across i, or across j, at any slope, through centres or beside them."""
    first = [(-4.0, -1.0), (low, -1.0), (high, 14.0), (-4.0, 14.0)]
    second = [(low, -1.0), (15.0, -1.0), (15.0, 14.0), (high, 14.0)]
    if turned:
        first, second = ([(j, i) for i, j in part] for part in (first, second))
    covered = _fill(first).astype(int) + _fill(second)
    np.testing.assert_array_equal(covered, np.ones(SHAPE))


@settings(max_examples=50)
@given(
    middle=st.tuples(ends, ends),
    turns=st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=3, max_size=9, unique=True),
)
def test_a_cake_cut_in_pieces_covers_each_pixel_exactly_once(
    middle: tuple[float, float], turns: list[float]
) -> None:
    around = np.sort(np.array([*turns, 0.0, 0.25, 0.5, 0.75])) * 2 * np.pi
    rim = np.asarray(middle) + 60.0 * np.stack([np.cos(around), np.sin(around)], axis=1)
    covered = np.zeros(SHAPE, dtype=int)
    for corner, following in zip(rim, np.roll(rim, -1, axis=0), strict=True):
        covered += _fill([middle, corner, following])
    np.testing.assert_array_equal(covered, np.ones(SHAPE))


@given(
    corners=st.lists(st.tuples(halves, halves), min_size=3, max_size=8),
    start=st.integers(0, 7),
    reverse=st.booleans(),
    closed=st.booleans(),
)
def test_start_direction_and_a_repeated_first_point_make_no_difference(
    corners: list[tuple[float, float]], start: int, reverse: bool, closed: bool
) -> None:
    other = np.roll(corners, start, axis=0)[:: -1 if reverse else 1]
    other = np.vstack([other, other[:1]]) if closed else other
    np.testing.assert_array_equal(_fill(other), _fill(corners))


quarters = st.integers(-80, 120).map(lambda number: number / 4)


@given(corners=st.lists(st.tuples(quarters, quarters), min_size=3, max_size=6))
def test_a_polygon_partly_outside_is_cut_by_the_border(corners: list[tuple[float, float]]) -> None:
    far = 32
    wide = _fill(np.asarray(corners) + far, (SHAPE[0] + 2 * far, SHAPE[1] + 2 * far))
    inner = wide[far : far + SHAPE[0], far : far + SHAPE[1]]
    np.testing.assert_array_equal(_fill(corners), inner)


@pytest.mark.parametrize("low", [5e-324, 1e-310, 1e-200, 1e-17])
def test_an_edge_that_hardly_rises_is_no_trouble(low: float) -> None:
    assert np.array_equal(_fill([(0.0, 0.0), (3.0, low), (3.0, 2.0), (0.0, 2.0)])[:3, 1], [True] * 3)


@pytest.mark.parametrize("far", [1e3, 1e9, 1e17, 1e100])
def test_a_polygon_around_everything_fills_everything(far: float) -> None:
    assert _fill(_box((-far, -far), (far, far))).all()


@pytest.mark.parametrize("far", [1e3, 1e9, 1e17, 1e100])
def test_a_polygon_far_away_fills_nothing(far: float) -> None:
    assert not _fill(_box((far, far), (2 * far, 2 * far))).any()
    assert not _fill(_box((-2 * far, -2 * far), (-far, -far))).any()


@pytest.mark.parametrize(
    "corners",
    [
        np.empty((0, 2)),
        [(2.0, 2.0)],
        [(2.0, 2.0), (5.0, 5.0)],
        [(2.0, 2.0)] * 5,
        [(1.0, 1.0), (6.0, 1.0), (3.0, 1.0)],
        [(2.0, 0.0), (2.0, 6.0), (2.0, 3.0)],
        [(0.0, 0.0), (6.0, 6.0), (3.0, 3.0), (6.0, 6.0)],
    ],
    ids=["none", "point", "line", "one place", "row", "column", "there and back"],
)
def test_a_polygon_without_area_has_no_pixel(corners: ArrayLike) -> None:
    assert not _fill(corners).any()


def test_what_a_polygon_winds_around_twice_is_outside() -> None:
    twice = [*_box((-0.5, -0.5), (5.5, 5.5)), (-0.5, -0.5), *_box((1.5, 1.5), (3.5, 3.5)), (1.5, 1.5)]
    np.testing.assert_array_equal(
        _fill(twice), _pixels(slice(0, 6), slice(0, 6)) ^ _pixels(slice(2, 4), slice(2, 4))
    )
