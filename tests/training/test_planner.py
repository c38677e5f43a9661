from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lepton_monai.core.errors import InputError
from lepton_monai.data.fingerprint import Fingerprint
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import ImagePlan
from lepton_monai.training.planner import Task, draft_plan, patch_size

FOUND = Fingerprint((1.0, 1.0, 3.0), (300.0, 300.0, 240.0), -60.0, 180.0, 40.0, 30.0, ("HU",))
OPTIONS = PlanOptions(minutes=1, seed=0, network="unet")
CPU = torch.device("cpu")


def _task(unit: str) -> Task:
    image = ImagePlan(name="x", file_format="dicom", modality=None, description=None, unit=unit)
    return Task(image, ("lesion",))


@given(
    extent=st.tuples(*[st.floats(20, 600)] * 3),
    spacing=st.tuples(*[st.floats(0.5, 6)] * 3),
    voxels=st.sampled_from([49_152, 884_736]),
)
def test_a_patch_fits_the_network_and_the_voxels_at_hand(
    extent: tuple[float, ...], spacing: tuple[float, ...], voxels: int
) -> None:
    patch = patch_size(extent, spacing, voxels, (16, 32, 64, 128))
    assert all(side >= 8 and side % 8 == 0 for side in patch)
    image = np.asarray(extent) / np.asarray(spacing)
    covered = all(side >= length for side, length in zip(patch, image, strict=True))
    flat = min(image) < 8
    assert covered or flat or np.prod(patch) < 4 * voxels


def test_ct_is_clipped_pet_is_logged_and_the_rest_is_scored() -> None:
    schemes = {
        unit: draft_plan(_task(unit), replace(FOUND, units=(unit,)), OPTIONS, CPU).preparation.intensity
        for unit in ("HU", "SUVbw", "1")
    }
    assert (schemes["HU"].scheme, schemes["HU"].low, schemes["HU"].high) == ("window", -60.0, 180.0)
    assert schemes["SUVbw"].scheme == "log"
    assert schemes["1"].scheme == "zscore"


def test_images_of_two_units_are_refused() -> None:
    with pytest.raises(InputError, match="different units: Bq/ml, SUVbw"):
        draft_plan(_task("SUVbw"), replace(FOUND, units=("Bq/ml", "SUVbw")), OPTIONS, CPU)


def test_what_the_user_gives_wins_and_the_plan_says_so() -> None:
    options = replace(OPTIONS, spacing_mm=(2.0, 2.0, 4.0), batch_size=3, learning_rate=1e-4)
    plan = draft_plan(_task("HU"), FOUND, options, CPU)
    assert plan.preparation.spacing_mm == (2.0, 2.0, 4.0)
    assert (plan.training.batch_size, plan.training.learning_rate) == (3, 1e-4)
    assert plan.reasons["training.batch_size"] == "given by the user"
    assert "median" in plan.reasons["training.patch_size"]


def test_a_patch_that_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(InputError, match="multiple of 8"):
        draft_plan(_task("HU"), FOUND, replace(OPTIONS, patch_size=(20, 16, 16)), CPU)
