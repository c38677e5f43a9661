"""Means over patients: nobody counts twice, undefined is counted, lesions are pooled."""

import numpy as np
import pytest

from lepton_monai.core.grid import Grid
from lepton_monai.evaluation.segmentation import figures
from lepton_monai.evaluation.summary import ALL_CLASSES, CaseFigures, by_patient, differences, summary

GRID = Grid((12, 12, 12), np.diag([1.0, 1.0, 2.0, 1.0]))
NAN = float("nan")


def row(name: str, patient: str, found: int, true: int, class_name: str = "lesion") -> CaseFigures:
    """Compare a block of `found` slices with one of `true` slices that starts at the same one."""
    masks = []
    for slices in (found, true):
        mask = np.zeros(GRID.shape, np.bool_)
        mask[3:9, 3:9, 2 : 2 + slices] = True
        masks.append(mask)
    return CaseFigures(name, patient, class_name, figures(masks[0], masks[1], GRID), NAN, NAN)


ROWS = [
    row("a", "P-1", 4, 4),
    row("b", "P-1", 2, 4),
    row("c", "P-2", 4, 4),
    row("d", "P-3", 0, 0),
    row("e", "P-4", 0, 4),
]


def test_a_patient_with_two_cases_counts_once_and_an_undefined_one_is_counted() -> None:
    dice = summary(ROWS, ["lesion"])["lesion"]["dice"]
    assert dice.mean == pytest.approx((np.mean([1.0, 2 / 3]) + 1.0 + 0.0) / 3)
    assert (dice.n, dice.undefined) == (3, 1)


def test_lesions_are_pooled_over_patients() -> None:
    found = summary(ROWS, ["lesion"])["lesion"]
    assert found["lesion_sensitivity"].mean == pytest.approx(3 / 4)
    assert found["lesion_precision"].mean == pytest.approx(1.0)


def test_several_classes_have_a_mean_of_their_own() -> None:
    rows = [*ROWS, row("a", "P-1", 4, 2, "other"), row("c", "P-2", 4, 4, "other")]
    found = summary(rows, ["lesion", "other"])
    assert set(found) == {"lesion", "other", ALL_CLASSES}
    first = np.mean([1.0, 2 / 3, 2 / 3])
    assert found[ALL_CLASSES]["dice"].mean == pytest.approx((first + 1.0 + 0.0) / 3)


def test_a_run_that_is_better_for_everybody_is_above_zero() -> None:
    better = [row(name, f"P-{name}", 4, 4) for name in "abcdef"]
    worse = [
        row(name, f"P-{name}", found, 4) for name, found in zip("abcdef", (1, 2, 3, 1, 2, 3), strict=True)
    ]
    found = differences(better, worse, ["lesion"])["lesion"]
    assert found.low > 0
    assert found.n == 6
    assert differences(worse, better, ["lesion"])["lesion"].mean == pytest.approx(-found.mean)


def test_a_row_holds_every_figure_by_its_name() -> None:
    cells = ROWS[1].cells()
    assert cells["dice"] == pytest.approx(2 / 3)
    assert cells["volume_error_percent"] == pytest.approx(-50.0)
    assert (cells["lesions_hit"], cells["lesions_missed"], cells["components_false"]) == (1, 0, 0)
    assert by_patient(ROWS, "truth_ml")["P-2"] == pytest.approx(6 * 6 * 4 * 2 / 1000)
