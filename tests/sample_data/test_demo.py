"""The demo as a newcomer starts it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_demo_ends_with_masks_and_a_dice_of_at_least_0_80(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "sample_data" / "demo.py"), "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for code in ("missing_slice", "truncated_pixel_data", "localizer_in_series", "duplicate_instance"):
        assert code in done.stdout
    figures = tmp_path / "demo" / "run" / "evaluation" / "test" / "metrics.json"
    dice = json.loads(figures.read_text(encoding="utf-8"))["figures"]["lesion"]["dice"]
    print(f"mean Dice of {dice['n']} held-out phantoms: {dice['mean']:.3f}")
    assert dice["n"] == 4
    assert dice["mean"] >= 0.80
    masks = sorted((tmp_path / "demo" / "predictions").glob("*/mask.nii.gz"))
    assert len(masks) >= 16
    for path in masks:
        affine = nibabel.Nifti1Image.from_filename(path).affine
        read = sitk.ReadImage(str(path))
        corner = [extent - 1 for extent in read.GetSize()]
        ras = (affine @ [*corner, 1])[:3]
        lps = read.TransformIndexToPhysicalPoint(corner)
        np.testing.assert_allclose(ras, np.array(lps) * [-1, -1, 1], atol=1e-3)
    assert re.search(r"masks \(NIfTI\) +\S+predictions/CASE/mask.nii.gz", done.stdout)
