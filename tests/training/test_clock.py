"""The clock: which ways are measured, of which training, and what follows from it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.data.inputs import Sample
from lepton_monai.networks.fusion import build_planned
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import Plan
from lepton_monai.training.class_pace import with_clock
from lepton_monai.training.classification import classification_training, images_of
from lepton_monai.training.clock import FAR_TOO_SLOW, MEASURED_STEPS, Pace, fastest, timed, ways_of
from lepton_monai.training.loop import Feeding, Source
from lepton_monai.training.stages import all_but_last
from lepton_monai.training.training import Training
from tests.plans.class_examples import example_classification
from tests.plans.examples import example_plan

CPU = torch.device("cpu")
FEEDING = Feeding(CPU)


def _samples(count: int) -> list[Sample]:
    images = np.random.default_rng(5).random((count, 16, 12, 1)).astype(np.float16)
    target = np.eye(2, dtype=np.float32)
    return [Sample(f"PIC-{at}", "P", None, 0.0, target[at % 2], one) for at, one in enumerate(images)]


@pytest.mark.parametrize("plan", [example_plan(), example_classification()], ids=["Plan", "Classification"])
def test_any_training_is_measured_in_both_precisions_and_layouts_of_a_processor(
    plan: Plan | ClassificationPlan,
) -> None:
    found = ways_of(plan.training, {}, CPU)
    assert len(found) == 4
    assert set(found) == {(one, last) for one in ("float32", "bfloat16") for last in (False, True)}


@pytest.mark.parametrize("given", ["training.precision", "training.channels_last"])
def test_of_a_training_whose_way_the_user_fixed_nothing_else_is_measured(given: str) -> None:
    plan = example_classification(precision="bfloat16", channels_last=True)
    assert ways_of(plan.training, {given: ...}, CPU) == [("bfloat16", True)]


@pytest.mark.parametrize(("tuning", "wanted"), [("gradual", "all"), ("probe", "probe")])
def test_a_probe_is_measured_as_such_and_a_gradual_training_once_all_learns(
    tuning: str, wanted: str
) -> None:
    begun, plan = list[Training](), example_classification(fine_tuning=tuning, steps=900)

    def begin(short: ClassificationPlan) -> tuple[Training, Source]:
        network = build_planned(short)
        begun.append(classification_training(short, CPU, network, all_but_last(network)))
        return begun[-1], images_of(_samples(4), short)

    pace = fastest(plan, [("float32", True)], begin, FEEDING, wanted=60.0)
    (training,) = begun
    assert training.plan == replace(
        plan,
        training=replace(
            plan.training,
            steps=MEASURED_STEPS + 1,
            fine_tuning=wanted,  # type: ignore[arg-type] # one of its values
            channels_last=True,
        ),
    )
    assert training.step == MEASURED_STEPS + 1
    assert (pace.plan.training.steps, pace.plan.training.fine_tuning) == (900, tuning)
    assert pace.way == ("float32", True)


def test_one_step_that_is_far_too_slow_says_enough() -> None:
    begun = list[Training]()

    def begin(short: ClassificationPlan) -> tuple[Training, Source]:
        begun.append(classification_training(short, CPU, build_planned(short)))
        return begun[-1], images_of(_samples(4), short)

    pace = fastest(example_classification(), [("float32", False)], begin, FEEDING, wanted=1e-9)
    assert begun[0].step == 1
    assert pace.step_seconds > FAR_TOO_SLOW * 1e-9


def test_what_follows_from_the_steps_is_frozen_unless_it_was_given() -> None:
    plan = example_classification(warm_up_steps=50, average_decay=0.999)
    pace = Pace(plan, 0.5, "float32 0.500 s")
    assert pace.steps_in(100.0) == 200
    assert pace.steps_in(1.0) == 50  # a training has as many, however short the time
    found = timed(pace, 100.0, {"training.steps": 200}, {}, {})
    assert (found.training.steps, found.training.warm_up_steps) == (200, 21)
    assert found.training.average_decay == pytest.approx(1 - 10 / 210)
    assert found.reasons["training.steps"] == "100 s at 0.500 s a step, measured on this machine"
    kept = timed(pace, 100.0, {"training.steps": 200}, {}, {"training.warm_up_steps": 50})
    assert kept.training == replace(found.training, warm_up_steps=50)


def test_a_classifier_that_stops_early_has_time_for_its_looks() -> None:
    given = {"training.precision": "float32"}
    options, samples = PlanOptions(minutes=1.0, seed=0, given=given), _samples(8)
    plan = example_classification(batch_size=4, patience=3)
    found = with_clock(plan, samples, FEEDING, options, 3000.0, looked_at=800)
    steps, every = found.training.steps, found.training.validate_every
    # A look at 800 samples is as long as 200 steps of 4; the pace is told to the millisecond.
    seconds, pace = (float(one.split(" s")[0]) for one in found.reasons["training.steps"].split(" at "))
    assert every < steps
    assert (steps + 200 * steps / every) * (pace - 0.0005) <= seconds + 1
    assert "training.precision" not in found.reasons


class OffInBfloat16(torch.nn.Conv2d):
    """Wrong under autocast, as one of oneDNN's convolutions is."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        """Return twice the response where autocast is on."""
        return super().forward(input) * (2.0 if torch.is_autocast_enabled("cpu") else 1.0)


def test_a_precision_that_computes_wrongly_is_left_out_and_refused_where_it_was_given() -> None:
    def begin(short: ClassificationPlan) -> tuple[Training, Source]:
        layers = [OffInBfloat16(1, 2, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        network = torch.nn.Sequential(*layers)
        return classification_training(short, CPU, network), images_of(_samples(4), short)

    plan = example_classification()
    pace = fastest(plan, [("float32", True), ("bfloat16", True)], begin, FEEDING, wanted=60.0)
    assert pace.way == ("float32", True)
    assert "bfloat16, channels last left out, 0 has wrong gradients in it" in pace.measured
    alone = fastest(plan, [("bfloat16", False)], begin, FEEDING, wanted=60.0)
    assert alone.way == ("float32", False)
    with pytest.raises(ConfigError, match="is bfloat16, which computes wrongly on this machine"):
        timed(alone, 60.0, {"training.steps": 10}, {}, {"training.precision": "bfloat16"})
