"""Plans: what follows from the data, from the memory, and from what the user gives."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.data.fingerprint import Fingerprint, Values
from lepton_monai.networks.build import Ends, build_network, network_of
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import ImagePlan, Plan
from lepton_monai.training.devices import Machine
from lepton_monai.training.planner import LADDERS, Task, draft_plan
from lepton_monai.training.shape import levels, memory_gb, network_shape, patch_sides

FOUND = Fingerprint((1.0, 1.0, 3.0), (300.0, 300.0, 240.0), (Values(-60.0, 180.0, 40.0, 30.0, ("HU",)),))
OPTIONS = PlanOptions(minutes=1, seed=0)
CPU = Machine("cpu", 24.0)

Triple = tuple[float, float, float]


def task(unit: str = "HU", classes: tuple[str, ...] = ("lesion",)) -> Task:
    image = ImagePlan(name="x", file_format="dicom", modality=None, description=None, unit=unit)
    return Task((image,), classes)


def in_units(*units: str) -> Fingerprint:
    return replace(FOUND, values=(replace(FOUND.values[0], units=units),))


def planned(found: Fingerprint = FOUND, machine: Machine = CPU, **given: object) -> Plan:
    options = replace(OPTIONS, given={name.replace("__", "."): value for name, value in given.items()})
    return draft_plan(task(found.values[0].units[0]), found, options, machine).plan


def found_of(spacing: Triple, extent: Triple, unit: str) -> Fingerprint:
    return replace(in_units(unit), spacing_mm=spacing, extent_mm=extent)


CT = found_of((0.7, 0.7, 1.5), (358.0, 358.0, 450.0), "HU")
MR = found_of((0.7, 0.7, 5.0), (224.0, 224.0, 120.0), "1")
PET = found_of((5.5, 5.5, 3.27), (220.0, 330.0, 131.0), "SUVbw")
HIPPOCAMPUS = found_of((1.0, 1.0, 1.0), (36.0, 50.0, 35.0), "1")


@given(
    extent=st.tuples(*[st.floats(20, 600)] * 3),
    spacing=st.tuples(*[st.floats(0.5, 6)] * 3),
    voxels=st.sampled_from([32_768, 65_536, 2_097_152]),
    width=st.sampled_from([8, 32]),
)
def test_a_patch_fits_its_network_and_the_voxels_at_hand(
    extent: Triple, spacing: Triple, voxels: int, width: int
) -> None:
    shape = network_shape(extent, spacing, voxels, width)
    factor = np.prod(shape.strides, axis=0)
    assert (np.array(shape.patch_size) % factor == 0).all()
    assert len(shape.channels) == len(shape.kernels) == len(shape.strides) >= 3
    assert shape.strides[0] == (1, 1, 1)
    # Rounding up to what the levels divide makes a side less than twice as long.
    assert np.prod(shape.patch_size) < 8 * 2 * voxels
    smallest = np.array(shape.patch_size) / factor
    assert (smallest >= 1).all()


def test_coarse_axes_have_thin_kernels_and_are_halved_later() -> None:
    kernels, strides = levels((192, 192, 24), (0.7, 0.7, 5.0))
    assert kernels[:3] == ((3, 3, 1), (3, 3, 1), (3, 3, 3))
    assert strides[:4] == ((1, 1, 1), (2, 2, 1), (2, 2, 1), (2, 2, 2))


def test_a_few_slices_are_planned_one_by_one() -> None:
    assert patch_sides((224.0, 224.0, 60.0), (0.7, 0.7, 6.0), 65_536)[2] == 1
    plan = planned(found_of((0.7, 0.7, 6.0), (224.0, 224.0, 60.0), "1"))
    assert all(kernel[2] == 1 for kernel in plan.network.kernels)
    assert all(stride[2] == 1 for stride in plan.network.strides)
    assert plan.training.augmentation.rotation_rad[:2] == (0.0, 0.0)
    assert plan.training.augmentation.rotation_rad[2] > 0


@pytest.mark.parametrize("found", [CT, MR, PET, HIPPOCAMPUS], ids=["CT", "MR", "PET", "hippocampus"])
@pytest.mark.parametrize("machine", [CPU, Machine("gpu", 12.0), Machine("gpu", 140.0)], ids=str)
def test_every_plan_can_be_built_and_fits_the_memory(found: Fingerprint, machine: Machine) -> None:
    plan = planned(found, machine)
    with torch.device("meta"):
        network = build_network(plan.network, Ends(1, 2, plan.training.patch_size))
    assert sum(one.numel() for one in network.parameters()) > 1e5
    shape = network_shape(
        found.extent_mm,
        plan.preparation.spacing_mm,
        int(np.prod(plan.training.patch_size)),
        plan.network.channels[0],
    )
    assert memory_gb(shape, plan.training.batch_size, 2) < machine.memory_gb


def test_more_memory_gives_larger_patches_where_the_image_has_them() -> None:
    sizes = [
        int(np.prod(planned(CT, machine).training.patch_size))
        for machine in (CPU, Machine("gpu", 12.0), Machine("gpu", 140.0))
    ]
    assert sizes == sorted(sizes)
    assert sizes[2] > 4 * sizes[0]
    small = {planned(HIPPOCAMPUS, machine).training.patch_size for machine in (CPU, Machine("gpu", 140.0))}
    assert len(small) == 1


def test_small_images_come_in_larger_batches_where_there_is_room() -> None:
    assert planned(HIPPOCAMPUS).training.batch_size == 2
    assert planned(HIPPOCAMPUS, Machine("gpu", 140.0)).training.batch_size == 12
    assert planned(CT, Machine("gpu", 140.0)).training.batch_size == 2


def test_a_patch_on_a_small_machine_sees_its_context() -> None:
    plan = planned(CT)
    assert np.prod(np.array(CT.extent_mm) / plan.preparation.spacing_mm) <= 64.5 * 65_536
    assert "sees its context" in plan.reasons["preparation.spacing_mm"]
    assert max(plan.preparation.spacing_mm) < 3.0
    assert planned(CT, Machine("gpu", 140.0)).preparation.spacing_mm == (0.7, 0.7, 1.5)


def test_ct_is_clipped_pet_is_logged_and_the_rest_is_scored() -> None:
    schemes = {unit: planned(in_units(unit)).preparation.intensity for unit in ("HU", "SUVbw", "1")}
    assert (schemes["HU"].scheme, schemes["HU"].low, schemes["HU"].high) == ("window", -60.0, 180.0)
    assert schemes["SUVbw"].scheme == "log"
    assert schemes["1"].scheme == "zscore"


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("left kidney", (1, 2)),
        ("kidney_R", (1, 2)),
        ("LeftKidney", (1, 2)),
        ("kidneyL", (1, 2)),
        ("anterior hippocampus", (0, 2)),
        ("lung_upper_lobe", (0, 1)),
        ("left lower lobe", (1,)),
        ("upright", (0, 1, 2)),
        ("Liver", (0, 1, 2)),
    ],
)
def test_ends_that_a_class_tells_apart_are_not_mirrored(name: str, axes: tuple[int, ...]) -> None:
    plan = draft_plan(task(classes=("spine", name)), FOUND, OPTIONS, CPU).plan
    assert plan.training.augmentation.flip_axes == axes
    assert plan.prediction.mirror_axes == axes


def test_every_image_has_a_scale_of_its_own() -> None:
    images = tuple(
        ImagePlan(name=unit, file_format="dicom", modality=None, description=None, unit=unit)
        for unit in ("SUVbw", "HU", "1")
    )
    values = tuple(in_units(one.unit).values[0] for one in images)
    plan = draft_plan(Task(images, ("lesion",)), replace(FOUND, values=values), OPTIONS, CPU).plan
    assert plan.images == images
    scales = (plan.preparation.intensity, *plan.preparation.further)
    assert [one.scheme for one in scales] == ["log", "window", "zscore"]
    assert scales[1].high == 180.0
    assert network_of(plan).eval()(torch.zeros(1, 3, *plan.training.patch_size)).shape[1] == 2
    assert "CT" in plan.reasons["preparation.further.0"]


def test_images_of_two_units_are_refused() -> None:
    with pytest.raises(InputError, match="different units: Bq/ml, SUVbw"):
        planned(in_units("Bq/ml", "SUVbw"))


def test_what_the_user_gives_wins_and_the_plan_says_so() -> None:
    plan = planned(
        preparation__spacing_mm=(2.0, 2.0, 4.0),
        training__batch_size=3,
        training__augmentation__zoom=(0.9, 1.1),
    )
    assert plan.preparation.spacing_mm == (2.0, 2.0, 4.0)
    assert (plan.training.batch_size, plan.training.augmentation.zoom) == (3, (0.9, 1.1))
    assert plan.reasons["training.batch_size"] == "given by the user"
    assert "median" in plan.reasons["training.patch_size"]


def test_levels_follow_from_the_channels_that_the_user_gives() -> None:
    plan = planned(network__channels=(8, 16, 24))
    assert len(plan.network.kernels) == len(plan.network.strides) == 3
    assert all(side % 4 == 0 for side in plan.training.patch_size)


def test_a_patch_that_the_network_cannot_halve_is_refused() -> None:
    with pytest.raises(InputError, match="must be multiples of"):
        planned(training__patch_size=(21, 16, 16), network__channels=(8, 16, 32))


@pytest.mark.parametrize("channels", [(4, 8, 16, 32, 64, 128, 128), (4,)])
def test_channels_that_the_patch_cannot_bear_are_refused(channels: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"bears \d levels, and dynunet wants at least 3"):
        planned(network__channels=channels)


@pytest.mark.parametrize("name", ["training.steps", "training.batch_size", "training.threads"])
def test_a_count_below_one_is_a_mistake(name: str) -> None:
    options = replace(OPTIONS, given={name: 0})
    with pytest.raises(ConfigError, match=name):
        draft_plan(task(), FOUND, options, CPU)


def test_a_value_that_does_not_fit_is_a_mistake_of_the_config() -> None:
    with pytest.raises(ConfigError, match=r"training\.precision"):
        planned(training__precision="float7")


def test_every_rung_is_lighter_than_the_one_above_it() -> None:
    for ladder in LADDERS.values():
        costs = [rung.width**2 * rung.patch_voxels for rung in ladder]
        assert costs == sorted(costs, reverse=True)
