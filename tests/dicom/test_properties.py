"""Series that are drawn: none is accepted with an error above the gate, no good one is refused."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lepton_monai.core.grid import LPS_TO_RAS, Grid
from lepton_monai.dicom.geometry import GATE_MM
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.pixels import frame_bytes
from lepton_monai.dicom.series import volumes_of
from tests.dicom.changed import error_mm, slices_of, stack_of, with_placement

GOOD, BAD, EITHER = "good", "bad", "either"

SMALL_MM = 0.015
"""Moved by so little each, slices are within the gate whatever the fit makes of them."""


@dataclass
class Drawn:
    """Slices of one series, and what must become of them.

    Parameters
    ----------
    headers
        In order, until they are shuffled.
    files
        Of raw pixels: all slices are in the first, but for those that differ.
    verdict
        GOOD: all are used in `volumes` volumes; BAD: none is; EITHER: what is used lies within the gate.
    volumes
        How many there are.
    dropped
        Slices that are copies of others.
    """

    headers: list[Header]
    files: Sequence[str]
    verdict: str = GOOD
    volumes: int = 1
    dropped: int = 0


Defect = Callable[[Drawn, np.random.Generator], None]


def _positions(headers: Sequence[Header]) -> NDArray[np.float64]:
    return np.array([header.placement.position for header in headers])


def _moved(headers: Sequence[Header], positions: NDArray[np.float64]) -> list[Header]:
    places = positions.tolist()
    return [with_placement(one, position=tuple(place)) for one, place in zip(headers, places, strict=True)]


def _judge(drawn: Drawn) -> None:
    """Call slices bad where no grid at all can come near them.

    On a grid the second difference of positions is zero; with an error of e each it is at most 4 e.
    """
    bend = np.diff(_positions(drawn.headers), n=2, axis=0)
    is_bent = len(bend) > 0 and np.linalg.norm(bend, axis=1).max() > 4 * GATE_MM + 1e-6
    drawn.verdict = BAD if is_bent else EITHER


# ------------------------------------------------------------------------------- what is drawn
def _nothing(_drawn: Drawn, _generator: np.random.Generator) -> None:
    pass


def _rounding(drawn: Drawn, generator: np.random.Generator) -> None:
    noise = generator.uniform(-1, 1, (len(drawn.headers), 3)) * SMALL_MM / np.sqrt(3)
    drawn.headers = _moved(drawn.headers, _positions(drawn.headers) + noise)


def _jitter(drawn: Drawn, generator: np.random.Generator) -> None:
    noise = generator.normal(size=(len(drawn.headers), 3)) * generator.uniform(0.01, 0.5)
    drawn.headers = _moved(drawn.headers, _positions(drawn.headers) + noise)
    _judge(drawn)


def _gap(drawn: Drawn, generator: np.random.Generator) -> None:
    count = len(drawn.headers)
    gone = set(generator.choice(count, size=int(generator.integers(1, max(count // 3, 2))), replace=False))
    drawn.headers = [one for at, one in enumerate(drawn.headers) if at not in gone]
    steps = np.diff([at for at in range(count) if at not in gone])
    drawn.verdict = BAD if len(set(steps.tolist())) > 1 else GOOD


def _other_spacing(drawn: Drawn, generator: np.random.Generator) -> None:
    positions = _positions(drawn.headers)
    at, factor = int(generator.integers(1, len(positions))), generator.uniform(0.9, 1.3)
    positions[at:] += (positions[at] - positions[at - 1]) * (factor - 1)
    drawn.headers = _moved(drawn.headers, positions)
    _judge(drawn)


def _shear(drawn: Drawn, generator: np.random.Generator) -> None:
    positions = _positions(drawn.headers)
    orientation = np.array(drawn.headers[0].placement.orientation)
    drift = 10 ** generator.uniform(-3, 1.5)  # mm, from the first slice to the last
    positions += np.linspace(0, drift, len(positions))[:, None] * orientation[:3]
    drawn.headers = _moved(drawn.headers, positions)
    # Half of the drift to each side is the best that an upright grid can do.
    drawn.verdict = GOOD if drift < 2 * SMALL_MM else BAD if drift > 2 * GATE_MM + 1e-6 else EITHER


def _turn(drawn: Drawn, generator: np.random.Generator) -> None:
    at = int(generator.integers(len(drawn.headers)))
    turn = Rotation.from_rotvec(generator.normal(size=3) * 10 ** generator.uniform(-6, 0))
    axes = np.array(drawn.headers[at].placement.orientation).reshape(2, 3)
    orientation = tuple(turn.apply(axes).ravel().tolist())
    drawn.headers[at] = with_placement(drawn.headers[at], orientation=orientation)
    drawn.verdict = EITHER


def _pixel_spacing(drawn: Drawn, generator: np.random.Generator) -> None:
    at = int(generator.integers(len(drawn.headers)))
    one = drawn.headers[at]
    spacing = one.placement.row_spacing_mm * (1 + 10 ** generator.uniform(-7, 0))
    drawn.headers[at] = with_placement(one, row_spacing_mm=spacing)
    drawn.verdict = EITHER


def _other_matrix(drawn: Drawn, generator: np.random.Generator) -> None:
    at = int(generator.integers(len(drawn.headers)))
    drawn.headers[at] = with_placement(drawn.headers[at], rows=drawn.headers[at].placement.rows + 2)
    drawn.verdict = EITHER


def _other_frame(drawn: Drawn, generator: np.random.Generator) -> None:
    at = int(generator.integers(len(drawn.headers)))
    identity = replace(drawn.headers[at].identity, frame_of_reference_uid="1.9")
    drawn.headers[at] = replace(drawn.headers[at], identity=identity)
    drawn.verdict = BAD


def _slopes(drawn: Drawn, generator: np.random.Generator) -> None:
    slopes: list[float | None] = generator.uniform(0.5, 2, len(drawn.headers)).tolist()
    if generator.random() < 0.5:
        rubbish = [0.0, float("nan"), float("inf"), None]
        slopes[int(generator.integers(len(slopes)))] = rubbish[int(generator.integers(len(rubbish)))]
        drawn.verdict = BAD
    drawn.headers = [
        replace(one, values=replace(one.values, slope=slope))
        for one, slope in zip(drawn.headers, slopes, strict=True)
    ]


def _copies(drawn: Drawn, generator: np.random.Generator) -> None:
    """Copies have the same pixels, or other ones that nothing tells apart."""
    count = int(generator.integers(1, 4))
    is_same = generator.random() < 0.5
    for number, at in enumerate(generator.choice(len(drawn.headers), size=count, replace=False)):
        one = drawn.headers[int(at)]
        identity = replace(one.identity, instance_uid=f"1.3.{number + 1}")
        file = drawn.files[0 if is_same else 1]
        drawn.headers.append(replace(one, identity=identity, file=file))
    drawn.verdict, drawn.dropped = (GOOD, count) if is_same else (BAD, 0)


def _second_echo(drawn: Drawn, _generator: np.random.Generator) -> None:
    for at, one in enumerate(list(drawn.headers)):
        identity = replace(one.identity, instance_uid=f"1.4.{at + 1}")
        acquisition = replace(one.acquisition, echo=(80.0, 2))
        drawn.headers.append(replace(one, identity=identity, acquisition=acquisition))
    drawn.volumes = 2


DEFECTS: tuple[Defect, ...] = (
    *(_nothing, _rounding, _jitter, _gap, _other_spacing, _shear, _turn, _pixel_spacing, _other_matrix),
    *(_other_frame, _slopes, _copies, _second_echo),
)


def _drawn(generator: np.random.Generator, files: Sequence[str], defect: Defect) -> Drawn:
    count = int(generator.integers(4, 40))
    rows, columns = generator.integers(4, 512, size=2).tolist()
    positions, in_plane = stack_of(
        count,
        generator.uniform(-180, 180, 3).tolist(),
        generator.uniform(0.3, 3.0, 2).tolist(),
        generator.uniform(0.5, 6.0),
    )
    headers = [
        replace(one, file=files[0])
        for one in slices_of(np.round(positions, 6), in_plane, rows=rows, columns=columns)
    ]
    drawn = Drawn(headers, files)
    defect(drawn, generator)
    generator.shuffle(drawn.headers)
    return drawn


def _outcome(drawn: Drawn) -> str:
    """Return what came of a drawn series, or what is wrong with that."""
    series, refused = volumes_of(drawn.headers)
    used = sum(len(one.headers) for one in series)
    if used + sum(len(one.headers) for one in refused) + drawn.dropped != len(drawn.headers):
        return "slices were lost"
    if any(error_mm(one.grid, one.headers) > GATE_MM + 1e-6 for one in series):
        return "accepted above the gate"
    if drawn.verdict == BAD and series and not refused:
        return "accepted a bad one"
    if drawn.verdict == GOOD and (refused or len(series) != drawn.volumes):
        return f"refused a good one: {[one.finding.code for one in refused]}"
    return "accepted" if not refused else "refused"


@pytest.fixture
def raw_files(tmp_path: Path) -> list[str]:
    """Two files of pixels and nothing else, for slices of up to 512 x 512."""
    files = []
    for value in (0, 1):
        path = tmp_path / str(value)
        path.write_bytes(bytes([value]) * (2 * 512 * 512))
        files.append(str(path))
    return files


def _count(number: int, files: Sequence[str]) -> None:
    generator = np.random.default_rng(17)
    outcomes: Counter[str] = Counter()
    for at in range(number):
        defect = DEFECTS[at % len(DEFECTS)]
        outcome = _outcome(_drawn(generator, files, defect))
        outcomes[outcome if outcome in {"accepted", "refused"} else f"{outcome} ({defect.__name__})"] += 1
    print(f"{number} drawn series: {dict(outcomes)}")
    assert set(outcomes) == {"accepted", "refused"}


def test_500_drawn_series_are_right_or_refused(raw_files: list[str]) -> None:
    _count(500, raw_files)


@pytest.mark.nightly
def test_5000_drawn_series_are_right_or_refused(raw_files: list[str]) -> None:
    _count(5000, raw_files)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_what_comes_of_a_series_does_not_depend_on_the_order_of_its_files(
    raw_files: list[str], defect: Defect
) -> None:
    generator = np.random.default_rng(18)
    for _ in range(8):
        drawn = _drawn(generator, raw_files, defect)
        assert frame_bytes(drawn.headers[0].layout) <= 2 * 512 * 512
        series, refused = volumes_of(drawn.headers)
        again, refused_again = volumes_of(drawn.headers[::-1])
        assert [one.headers for one in again] == [one.headers for one in series]
        for one, other in zip(series, again, strict=True):
            np.testing.assert_array_equal(one.grid.affine, other.grid.affine)
        assert [one.finding for one in refused_again] == [one.finding for one in refused]


# ------------------------------------------------------------------------------- two worlds
numbers = st.floats(-1000, 1000, allow_nan=False)


@given(st.lists(st.floats(-180, 180), min_size=3, max_size=3), st.lists(numbers, min_size=3, max_size=3))
def test_lps_and_ras_undo_each_other_and_negate_x_and_y(angles: list[float], origin: list[float]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * [0.9, 1.3, 2.7]
    affine[:3, 3] = origin
    grid = Grid((7, 6, 5), affine)
    np.testing.assert_array_equal(Grid.from_ras(grid.shape, grid.ras()).affine, affine)
    np.testing.assert_array_equal(LPS_TO_RAS @ LPS_TO_RAS, np.eye(4))
    there = grid.to_world([3.0, 1.0, 4.0])
    np.testing.assert_allclose(grid.ras() @ [3.0, 1.0, 4.0, 1.0], [-there[0], -there[1], there[2], 1.0])
