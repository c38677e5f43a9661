"""The gate, judged by an opinion of its own: where every slice's own header says that its corners lie."""

import math
from collections.abc import Sequence
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lepton_monai.dicom.geometry import GATE_MM, NOTE_MM, bad_geometry, fit_stack, refusal
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.series import volumes_of
from tests.dicom.changed import COLUMNS, ROWS, error_mm, slices_of, stack_of, turned, with_placement

Points = NDArray[np.float64]

TINY_MM = 1e-6
"""Rounding of positions of some hundred millimetres."""

angles = st.tuples(*[st.floats(-180, 180)] * 3)
spacings = st.tuples(st.floats(0.4, 3.0), st.floats(0.4, 3.0))
gaps = st.floats(0.6, 8.0)


def judged(slices: Sequence[Header]) -> str:
    """Return the code of the refusal, or nothing where all slices make one right volume."""
    series, refused = volumes_of(slices)
    assert len(series) + len(refused) == 1
    if refused:
        assert {header.path for header in refused[0].headers} == {header.path for header in slices}
        return refused[0].finding.code
    assert {header.path for header in series[0].headers} == {header.path for header in slices}
    assert error_mm(series[0].grid, series[0].headers) <= GATE_MM + TINY_MM
    assert series[0].grid.shape == (COLUMNS, ROWS, len(slices))
    return ""


# ------------------------------------------------------------------------------- what is right
@given(st.integers(2, 40), angles, spacings, gaps, st.randoms(use_true_random=False))
def test_a_regular_stack_is_accepted_in_any_direction_and_any_order_of_files(
    count: int, angles_deg: tuple[float, ...], spacing_mm: tuple[float, ...], gap_mm: float, chance: Random
) -> None:
    slices = slices_of(*stack_of(count, angles_deg, spacing_mm, gap_mm))
    chance.shuffle(slices)
    series, refused = volumes_of(slices)
    assert refused == []
    grid = series[0].grid
    assert grid.spacing_mm == pytest.approx((*spacing_mm, gap_mm), abs=1e-9)
    assert error_mm(grid, series[0].headers) < TINY_MM
    # The third axis runs along row x column, so no volume is ever mirrored.
    assert np.linalg.det(grid.affine[:3, :3]) > 0
    assert series[0].shear_mm < TINY_MM


def test_rows_columns_and_their_spacings_are_not_swapped() -> None:
    """By hand: 53 columns 0.7 mm apart, 37 rows 1.9 mm apart, no rotation."""
    in_plane = np.array([[0.7, 0], [0, 1.9], [0, 0]])
    grid = fit_stack(slices_of([[5, 6, 7], [5, 6, 10]], in_plane)).grid
    assert grid.shape == (53, 37, 2)
    np.testing.assert_allclose(grid.to_world([52, 0, 0]), [5 + 52 * 0.7, 6, 7], atol=TINY_MM)
    np.testing.assert_allclose(grid.to_world([0, 36, 1]), [5, 6 + 36 * 1.9, 10], atol=TINY_MM)


@given(st.integers(1, 9), angles, spacings, gaps, st.data())
def test_a_subset_of_the_slices_is_refused_or_gets_its_own_right_grid(
    count: int,
    angles_deg: tuple[float, ...],
    spacing_mm: tuple[float, ...],
    gap_mm: float,
    data: st.DataObject,
) -> None:
    slices = slices_of(*stack_of(count, angles_deg, spacing_mm, gap_mm))
    chosen = data.draw(st.lists(st.sampled_from(range(count)), min_size=1, unique=True))
    code = judged([slices[at] for at in chosen])
    steps = set(np.diff(sorted(chosen)))
    if len(chosen) == 1:
        assert code == "unknown_slice_spacing"
    elif len(steps) == 1:
        assert code == ""
    else:
        assert code in {"missing_slice", "variable_spacing"}


# ------------------------------------------------------------------------------- shear
@given(st.integers(2, 60), angles, spacings, st.floats(0.6, 5.0), st.floats(math.log(0.01), math.log(30.0)))
@settings(max_examples=300)
def test_a_sheared_stack_is_accepted_below_the_gate_alone(
    count: int,
    angles_deg: tuple[float, ...],
    spacing_mm: tuple[float, ...],
    gap_mm: float,
    log_angle: float,
) -> None:
    slope = math.tan(math.radians(math.exp(log_angle)))
    positions, in_plane = stack_of(count, angles_deg, spacing_mm, gap_mm, slope)
    code = judged(slices_of(positions, in_plane))
    error = (count - 1) * gap_mm * slope / 2  # the best upright grid halves the drift
    if error < GATE_MM - TINY_MM:
        assert code == ""
    elif error > GATE_MM + TINY_MM:
        assert code == "gantry_tilt"


def test_the_shear_is_named_by_its_angle_and_its_millimetres() -> None:
    slope = math.tan(math.radians(14.0))
    slices = slices_of(*stack_of(9, (10, 20, 30), (0.7, 1.1), 3.0, slope))
    finding = refusal(slices, fit_stack(slices))
    assert finding is not None
    assert f"14.00 degrees, {8 * 3.0 * slope / 2:.2f} mm at its corners" in finding.message


def test_half_a_degree_adds_up_though_no_gap_shows_it() -> None:
    slope = math.tan(math.radians(0.5))
    assert 2.5 * slope < GATE_MM
    assert judged(slices_of(*stack_of(100, (0, 0, 0), (0.7, 1.1), 2.5, slope))) == "gantry_tilt"


# ------------------------------------------------------------------------------- irregular stacks
@given(st.integers(3, 30), angles, gaps, st.integers(0, 2**32 - 1), st.floats(0.0, 0.25))
@settings(max_examples=300)
def test_positions_that_jitter_are_accepted_below_the_gate_alone(
    count: int, angles_deg: tuple[float, ...], gap_mm: float, seed: int, amplitude: float
) -> None:
    positions, in_plane = stack_of(count, angles_deg, (0.7, 1.1), gap_mm)
    noise = np.random.default_rng(seed).uniform(-1, 1, positions.shape)
    noise *= amplitude / np.linalg.norm(noise, axis=1).max()
    slices = slices_of(positions + noise, in_plane)
    code = judged(slices)  # which checks every accepted corner
    if amplitude < GATE_MM / 4:  # a fit leaves at most some of the largest offset
        assert code == ""
    assert code in {"", "variable_spacing", "bad_geometry", "missing_slice", "gantry_tilt"}


@given(st.integers(5, 40), angles, gaps, st.data())
def test_one_slice_out_of_line_is_refused(
    count: int, angles_deg: tuple[float, ...], gap_mm: float, data: st.DataObject
) -> None:
    positions, in_plane = stack_of(count, angles_deg, (0.7, 1.1), gap_mm)
    at = data.draw(st.integers(1, count - 2))
    direction = turned(data.draw(angles))[:, 0]
    positions[at] += direction * data.draw(st.floats(0.2, 0.5))
    assert judged(slices_of(positions, in_plane)) in {"variable_spacing", "bad_geometry", "missing_slice"}


def test_a_remark_is_made_above_five_thousandths_of_a_millimetre() -> None:
    positions, in_plane = stack_of(11, (5, 6, 7), (0.7, 1.1), 2.0)
    for offset, noted in ((0.5 * NOTE_MM, False), (2.0 * NOTE_MM, True)):
        moved = positions.copy()
        moved[5] += turned((5, 6, 7))[:, 0] * offset
        series, _ = volumes_of(slices_of(moved, in_plane))
        assert ("position_rounding" in {one.code for one in series[0].findings}) is noted
        assert (series[0].shear_mm > NOTE_MM) is noted


@given(st.integers(4, 30), angles, gaps, st.floats(0.0, 0.3), st.data())
def test_missing_slices_are_counted_in_an_upright_and_in_a_tilted_stack(
    count: int, angles_deg: tuple[float, ...], gap_mm: float, shear: float, data: st.DataObject
) -> None:
    positions, in_plane = stack_of(count, angles_deg, (0.7, 1.1), gap_mm, shear)
    missing = data.draw(st.integers(1, count - 2))
    left = np.delete(positions, missing, axis=0)
    if count == 4 and missing in {1, 2}:  # two gaps: the smaller one is the usual one
        assert judged(slices_of(left, in_plane)) == "missing_slice"
        return
    slices = slices_of(left, in_plane)
    assert judged(slices) == "missing_slice"
    finding = volumes_of(slices)[1][0].finding
    assert finding.message.startswith(f"1 of {count} slices are missing, the first near ")
    assert finding.path is not None


def test_a_missing_slice_is_named_by_where_it_should_be() -> None:
    in_plane = np.array([[0.7, 0], [0, 1.9], [0, 0]])
    positions = [[0, 0, -31.5 + 2.5 * k] for k in range(12) if k not in {4, 5, 9}]
    _, refused = volumes_of(slices_of(positions, in_plane))
    message = refused[0].finding.message
    assert "3 of 12 slices are missing, the first near z = -21.5 mm" in message
    assert "(6 of 8 gaps are 2.5 mm, 2 up to 7.5 mm)" in message


def test_gaps_that_are_no_multiples_are_named_by_their_range() -> None:
    in_plane = np.array([[0.7, 0], [0, 1.9], [0, 0]])
    positions = [[0, 0, z] for z in (0, 2.5, 5, 8.9, 11.4, 13.9)]
    _, refused = volumes_of(slices_of(positions, in_plane))
    assert refused[0].finding.code == "variable_spacing"
    assert "from 2.5 to 3.9 mm" in refused[0].finding.message


# ------------------------------------------------------------------------------- differing slices
@given(st.integers(3, 20), st.floats(0.0, 0.6), st.data())
def test_one_slice_that_is_turned_in_its_plane_is_judged_by_its_corners(
    count: int, angle_deg: float, data: st.DataObject
) -> None:
    positions, in_plane = stack_of(count, (11, -17, 23), (0.7, 1.1), 2.0)
    slices = slices_of(positions, in_plane)
    axes = turned((11, -17, 23)) @ turned((0, 0, angle_deg))
    at = data.draw(st.integers(0, count - 1))
    slices[at] = with_placement(slices[at], orientation=tuple(axes[:, :2].T.ravel().tolist()))
    code = judged(slices)
    furthest = math.radians(angle_deg) * math.hypot((COLUMNS - 1) * 0.7, (ROWS - 1) * 1.1)
    if furthest < GATE_MM:
        assert code == ""
    if furthest > 4 * GATE_MM:
        assert code in {"bad_geometry", "mixed_orientation"}


@given(st.floats(0.0, 0.01))
def test_pixel_spacings_that_differ_are_judged_by_what_they_move(difference: float) -> None:
    positions, in_plane = stack_of(6, (11, -17, 23), (0.7, 1.1), 2.0)
    slices = slices_of(positions, in_plane)
    slices[2] = with_placement(slices[2], column_spacing_mm=0.7 + difference)
    moved = difference * (COLUMNS - 1)
    code = judged(slices)
    if moved < GATE_MM - TINY_MM:
        assert code == ""
    if moved > GATE_MM + TINY_MM:
        assert code == "mixed_pixel_spacing"


# ------------------------------------------------------------------------------- lone slices
@pytest.mark.parametrize(
    ("between", "thickness", "expected"),
    [(3.5, 5.0, 3.5), (-3.5, 5.0, 3.5), (None, 5.0, 5.0), (0.0, 5.0, 5.0), (math.nan, 5.0, 5.0)],
)
def test_a_lone_slice_takes_its_spacing_before_its_thickness(
    between: float | None, thickness: float | None, expected: float
) -> None:
    lone = slices_of(*stack_of(1, (11, -17, 23), (0.7, 1.1), 1.0))[0]
    lone = with_placement(lone, spacing_between_slices_mm=between, slice_thickness_mm=thickness)
    series, _ = volumes_of([lone])
    assert series[0].grid.spacing_mm == pytest.approx((0.7, 1.1, expected))
    assert error_mm(series[0].grid, [lone]) < TINY_MM
    assert [finding.code for finding in series[0].findings] == ["single_slice"]


@pytest.mark.parametrize("between", [None, 0.0, math.nan, math.inf])
@pytest.mark.parametrize("thickness", [None, 0.0, math.nan, math.inf])
def test_a_lone_slice_without_any_thickness_is_refused(
    between: float | None, thickness: float | None
) -> None:
    lone = slices_of(*stack_of(1, (11, -17, 23), (0.7, 1.1), 1.0))[0]
    assert judged(
        [with_placement(lone, spacing_between_slices_mm=between, slice_thickness_mm=thickness)]
    ) == ("unknown_slice_spacing")


def test_a_lone_slice_whose_directions_are_askew_is_judged_by_its_corners() -> None:
    lone = slices_of(*stack_of(1, (0, 0, 0), (5.0, 5.0), 1.0))[0]
    askew = with_placement(lone, orientation=(1, 0, 0, 9e-4, 1, 0), slice_thickness_mm=3.0)
    assert judged([askew]) == "bad_geometry"


def test_two_slices_are_a_volume_with_a_remark() -> None:
    series, _ = volumes_of(slices_of(*stack_of(2, (11, -17, 23), (0.7, 1.1), 3.0)))
    assert [finding.code for finding in series[0].findings] == ["two_slices"]


# ------------------------------------------------------------------------------- impossible numbers
@pytest.mark.parametrize(
    "changes",
    [
        {"position": (0.0, math.nan, 0.0)},
        {"position": (0.0, 0.0, math.inf)},
        {"position": (1e200, 0.0, 0.0)},
        {"orientation": (1, 0, 0, 0, math.nan, 0)},
        {"orientation": (1, 0, 0, 1, 0, 0)},
        {"orientation": (0, 0, 0, 0, 0, 0)},
        {"orientation": (1, 0, 0, 0, 0.9, 0)},
        {"orientation": (1, 0, 0, 0.01, 1, 0)},
        {"row_spacing_mm": 0.0},
        {"row_spacing_mm": -0.7},
        {"column_spacing_mm": math.nan},
        {"column_spacing_mm": math.inf},
        {"rows": 0},
        {"columns": 0},
    ],
    ids=str,
)
def test_impossible_numbers_are_refused(changes: dict[str, object]) -> None:
    slices = slices_of(*stack_of(5, (11, -17, 23), (0.7, 1.1), 3.0))
    slices[3] = with_placement(slices[3], **changes)
    assert bad_geometry(slices)
    assert judged(slices) == "bad_geometry"


@pytest.mark.parametrize("spacing", [1e-12, 1e-200])
def test_a_grid_that_can_not_be_refuses_its_series_and_no_other(spacing: float) -> None:
    lone = slices_of(*stack_of(1, (11, -17, 23), (0.7, 1.1), 1.0))[0]
    assert judged([with_placement(lone, slice_thickness_mm=spacing)]) == "bad_geometry"
