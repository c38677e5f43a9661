"""What is particular to the training of a classifier: its norms, its plan."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.data.batch import image_of
from lepton_monai.data.inputs import Sample, SourceMeasurement
from lepton_monai.data.sampler import Share
from lepton_monai.networks.fusion import build_planned
from lepton_monai.plans.classification import SourcePlan
from lepton_monai.plans.options import PlanOptions
from lepton_monai.training.class_planner import ClassTask, draft_classification
from lepton_monai.training.classification import (
    classification_training,
    images_of,
    settle_norms,
)
from lepton_monai.training.devices import Machine
from lepton_monai.training.loop import Feeding
from lepton_monai.training.seeds import seeded
from tests.plans.class_examples import example_classification

CPU = torch.device("cpu")
SMALL = Machine("cpu", 8.0)
TARGETS = np.eye(2, dtype=np.float32)


def _samples(count: int) -> list[Sample]:
    generator = np.random.default_rng(5)
    return [
        Sample(
            f"PIC-{at}",
            "P",
            None,
            0.0,
            TARGETS[at % 2],
            (3 + generator.random((16, 12, 1))).astype(np.float16),
        )
        for at in range(count)
    ]


@pytest.mark.parametrize(
    ("done", "first"), [(60, 10), (53, 3), (6, 0)], ids=["at the end", "early", "very early"]
)
def test_settled_norms_hold_the_mean_of_what_the_averaged_network_sees_in_the_last_batches(
    done: int, first: int
) -> None:
    plan = example_classification(batch_size=4, steps=60)
    source, feeding = images_of(_samples(8), plan), Feeding(CPU)
    with seeded(0):
        training = classification_training(plan, CPU, build_planned(plan))
    training.step = done  # as after so many: the weights don't matter here
    settle_norms(training, source, feeding)
    average = training.average
    assert not any(module.training for module in average.modules())
    norm = next(one for one in average.modules() if isinstance(one, torch.nn.BatchNorm2d))
    dataset = source.samples(Share())
    images = torch.stack([image_of(dataset[at][0]) for at in range(4 * first, 4 * done)])
    with torch.no_grad():
        seen = average.conv1(images)  # type: ignore[operator] # a module
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    torch.testing.assert_close(norm.running_mean, seen.mean(dim=(0, 2, 3)), rtol=1e-5, atol=1e-6)
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == done - first
    assert norm.momentum == 0.1


def test_frozen_norms_stay_as_they_came() -> None:
    plan = example_classification(frozen=("conv1*", "bn1*", "layer*"))
    with seeded(0):
        training = classification_training(plan, CPU, build_planned(plan))
    before = {name: tensor.clone() for name, tensor in training.average.state_dict().items()}
    settle_norms(training, images_of(_samples(8), plan), Feeding(CPU))
    for name, tensor in training.average.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def _measured(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], unit: str
) -> SourceMeasurement:
    values = np.random.default_rng(1).normal(40, 200, 5000)
    return SourceMeasurement(shape, spacing, values, unit, 0)


def _task(level: str, unit: str, counts: tuple[int, ...] = (30, 30)) -> ClassTask:
    source = SourcePlan("image", "picture" if level == "image" else "dicom", level, None, None, (unit,))  # type: ignore[arg-type] # one of its values
    return ClassTask(("a", "b"), "one", counts, (sum(counts),) * 2, source)


NOTHING = PlanOptions(minutes=1.0, seed=0)


def test_a_slice_is_looked_at_as_coarsely_as_it_must_be() -> None:
    found = [_measured((512, 512, 40), (0.9, 0.9, 3.0), "HU")]
    plan = draft_classification(_task("slice", "HU"), found, NOTHING, SMALL).input
    assert plan.size == (96, 96, 1)
    assert plan.spacing_mm == pytest.approx((4.8, 4.8, 3.0))
    assert plan.scale.transform == "none"


def test_pictures_keep_their_size_and_a_series_its_proportions() -> None:
    pictures = [_measured((64, 64, 1), (1.0, 1.0, 1.0), "1")]
    plan = draft_classification(_task("image", "1"), pictures, NOTHING, SMALL).input
    assert (plan.size, plan.spacing_mm, plan.channels) == ((64, 64, 1), None, 1)
    series = [_measured((240, 240, 80), (1.0, 1.0, 2.0), "SUVbw")]
    whole = draft_classification(_task("series", "SUVbw"), series, NOTHING, SMALL)
    assert whole.input.size == (48, 48, 32)
    assert whole.input.scale.transform == "log"
    assert whole.network.name == "resnet10"


def test_values_without_a_common_unit_are_brought_to_one_scale_each() -> None:
    found = [_measured((40, 40, 40), (1.0, 1.0, 1.0), unit) for unit in ("HU", "1")]
    task = _task("series", "HU")
    task = replace(task, source=replace(task.source, units=("1", "HU")))
    scale = draft_classification(task, found, NOTHING, SMALL).input.scale
    assert scale.transform == "zscore"
    assert -4 < scale.low < -2 < 2 < scale.high < 4


@pytest.mark.parametrize(
    ("counts", "wanted"), [((30, 30), (1.0, 1.0)), ((30, 25), (1.0, 1.0)), ((90, 10), (0.5556, 5.0))]
)
def test_classes_are_weighed_where_one_is_rare(counts: tuple[int, ...], wanted: tuple[float, ...]) -> None:
    found = [_measured((64, 64, 1), (1.0, 1.0, 1.0), "1")]
    plan = draft_classification(_task("image", "1", counts), found, NOTHING, SMALL)
    assert plan.training.class_weights == wanted
    assert "90, 10" in plan.reasons["training.class_weights"] or counts[0] == 30


def test_a_rare_label_counts_as_much_as_its_absence() -> None:
    found = [_measured((64, 64, 1), (1.0, 1.0, 1.0), "1")]
    task = replace(_task("image", "1"), holds="any", counts=(10, 45, 60), known=(50, 90, 80))
    task = replace(task, classes=("a", "b", "c"))
    plan = draft_classification(task, found, NOTHING, SMALL)
    assert (plan.holds, plan.training.class_weights) == ("any", (4.0, 1.0, 0.3333))
    assert "10 of 50, 45 of 90, 60 of 80" in plan.reasons["training.class_weights"]


def test_classes_that_are_sampled_equally_often_are_not_weighed_too() -> None:
    found = [_measured((64, 64, 1), (1.0, 1.0, 1.0), "1")]
    options = replace(NOTHING, given={"training.sampling": "balanced"})
    plan = draft_classification(_task("image", "1", (90, 10)), found, options, SMALL)
    assert plan.training.class_weights == (1.0, 1.0)
    assert "balanced sampling" in plan.reasons["training.class_weights"]
    several = replace(_task("image", "1", (90, 10)), holds="any")
    with pytest.raises(ConfigError, match="exactly one class"):
        draft_classification(several, found, options, SMALL)


def test_weights_of_three_colours_meet_grey_with_the_mean_of_their_means() -> None:
    given = {
        "network.weights_sha256": "0" * 64,
        "input.scale.mean": [0.4, 0.5, 0.6],
        "input.scale.deviation": [0.1, 0.2, 0.3],
        "training.batch_size": 7,
    }
    origins = dict.fromkeys(
        ("network.weights_sha256", "input.scale.mean", "input.scale.deviation"), "of the weights"
    )
    options = PlanOptions(minutes=1.0, seed=3, given=given, origins=origins)
    found = [_measured((64, 64, 1), (1.0, 1.0, 1.0), "1")]
    plan = draft_classification(_task("image", "1"), found, options, SMALL)
    assert plan.input.scale.mean == pytest.approx((0.5,))
    assert plan.input.scale.deviation == pytest.approx((0.2,))
    assert plan.training.pretrained_rate == 0.1
    assert (plan.training.batch_size, plan.training.seed) == (7, 3)
    assert plan.reasons["training.batch_size"] == "given"
    assert plan.reasons["input.scale.mean"] == "of the weights"
