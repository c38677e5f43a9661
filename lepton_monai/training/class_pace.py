"""The plan of a classification that the time bears, by the clock."""

import time
from collections.abc import Sequence
from functools import partial

from lepton_monai.data.inputs import Sample
from lepton_monai.networks.fusion import build_planned
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.plans.options import PlanOptions
from lepton_monai.training.classification import SETTLING_STEPS, classification_training, images_of
from lepton_monai.training.clock import FORWARD_SHARE, SHORTEST, fastest, timed, ways_of
from lepton_monai.training.loop import Feeding, Source
from lepton_monai.training.stages import all_but_last
from lepton_monai.training.training import Training

LOOKS = 20
"""At the validation side, where a plan has patience."""


def with_clock(
    plan: ClassificationPlan,
    samples: Sequence[Sample],
    feeding: Feeding,
    options: PlanOptions,
    seconds_left: float,
    looked_at: int = 0,
) -> ClassificationPlan:
    """Measure a step in every way that the user hasn't fixed, and freeze how many there are time for.

    Parameters
    ----------
    plan
        With everything that needs no clock.
    samples
        Of the training.
    feeding
        Where and how it will be trained.
    options
        What the user fixed.
    seconds_left
        For the training.
    looked_at
        Validation samples; where the plan has patience, a look at one takes no longer than training on one.
    """
    began, given = time.perf_counter(), options.given
    ways = ways_of(plan.training, given, feeding.device)
    begin = partial(_begun, samples=samples, feeding=feeding)
    pace = fastest(plan, ways, begin, feeding, seconds_left / SHORTEST)
    left = seconds_left - (time.perf_counter() - began)
    # The norms are settled after the last step, by forward passes alone.
    settling = SETTLING_STEPS * FORWARD_SHARE * pace.step_seconds
    steps = given.get("training.steps", pace.steps_in(left - settling))
    every = given.get("training.validate_every", max(1, steps // LOOKS))
    if plan.training.patience and "training.steps" not in given:
        steps = max(SHORTEST, int(steps / (1 + looked_at / plan.training.batch_size / every)))
    follows = {"training.steps": steps, "training.validate_every": every}
    return timed(pace, left, follows, {}, given)


def _begun(
    plan: ClassificationPlan, samples: Sequence[Sample], feeding: Feeding
) -> tuple[Training, Source]:
    network = build_planned(plan)
    training = classification_training(plan, feeding.device, network, all_but_last(network))
    return training, images_of(samples, plan)
