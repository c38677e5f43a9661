"""What is printed of a segmentation's figures."""

from lepton_monai.cli.run_tables import figures_beside_dice
from lepton_monai.evaluation.intervals import mean_interval

NAN = float("nan")


def test_figures_that_no_class_has_are_one_line_with_its_reason() -> None:
    none, some = mean_interval([NAN, NAN]), mean_interval([0.2, 0.4])
    told = figures_beside_dice(
        {"a": {"iou": some, "hd95_mm": none}, "b": {"iou": none, "hd95_mm": none}}, 2.0
    )
    head, row, undefined = told.splitlines()
    assert head.split() == ["over", "patients", "a", "b"]
    assert row.startswith("IoU")
    assert "undefined in all 2" in row
    assert undefined.startswith(
        "Undefined in every patient, since nothing was there or nothing was found: "
    )
    assert "HD95 (mm)" in undefined
    assert "IoU" not in undefined
