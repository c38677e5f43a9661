"""What is printed of a classifier's figures."""

import numpy as np

from lepton_monai.cli.class_tables import figure_lines
from lepton_monai.evaluation.classification import Judged, class_figures


def _lines(labels: list[int]) -> list[str]:
    targets = np.eye(2)[labels]
    odds = np.array([[1.0, -1.0], [-0.5, 0.5]])
    judged = Judged(odds, odds > 0, targets, "one")
    figures = class_figures(judged, np.array([[0.7, 0.3], [0.4, 0.6]]), ["A", "B"])
    return figure_lines(figures, "validation").splitlines()


def test_what_two_patients_of_one_class_leave_undefined_is_one_line_with_its_reason() -> None:
    lines = _lines([0, 0])
    (undefined,) = [line for line in lines if " - Undefined" in line]
    assert undefined.startswith(
        "validation - Undefined, for want of samples of every class: AUROC, AUPRC, "
    )
    assert "Sensitivity" in undefined
    assert any(line.startswith("validation - Accuracy: 0.500") for line in lines)


def test_what_is_defined_has_a_line_each() -> None:
    lines = _lines([0, 1])
    assert lines[0].startswith("validation - AUROC: 1.000")
    assert not any(line.startswith("validation - Undefined") for line in lines)
