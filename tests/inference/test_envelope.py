"""What is unlike the training is named with its numbers, what is like it isn't."""

from dataclasses import replace

import numpy as np
import pytest

from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Unit, Volume
from lepton_monai.inference.envelope import outside_of
from lepton_monai.plans.plan import EnvelopePlan, IntensityPlan, Plan
from tests.plans.examples import example_plan


def plan_of(scheme: str = "window", low: float = -1000.0, high: float = 500.0) -> Plan:
    """Return the plan of a model that has seen voxels of 1 to 4 mm, 100 to 200 mm of them."""
    envelope = EnvelopePlan(
        spacing_mm=((1.0, 1.0, 2.0), (2.0, 2.0, 4.0)),
        extent_mm=((100.0,) * 3, (200.0,) * 3),
        dark=((low, low + 50.0),),
        bright=((high - 200.0, high),),
    )
    intensity = IntensityPlan(scheme=scheme)  # type: ignore[arg-type] # a test's own text
    return replace(example_plan(intensity=intensity), envelope=envelope)


def volume_of(
    spacing: tuple[float, float, float] = (1.5, 1.5, 3.0),
    shape: tuple[int, int, int] = (100, 100, 50),
    ends: tuple[float, float] = (-990.0, 450.0),
    unit: Unit = "HU",
) -> Volume:
    """Return an image whose 1st and 99th percentile are `ends`; its first axis runs to the feet."""
    values = np.full(shape, 0.0, dtype=np.float32)
    values[: shape[0] // 20], values[-(shape[0] // 20) :] = ends
    x, y, z = spacing
    affine = np.array([[0, x, 0, 0], [0, 0, y, 0], [-z, 0, 0, 0], [0, 0, 0, 1.0]])
    return Volume(np.asfortranarray(values), Grid(shape, affine), unit)


def codes(plan: Plan, volume: Volume) -> list[str]:
    return [found.message for found in outside_of([plan], [volume])]


def test_what_is_like_the_training_is_not_named() -> None:
    assert codes(plan_of(), volume_of(shape=(50, 100, 100))) == []


def test_an_older_plan_names_nothing() -> None:
    assert codes(replace(plan_of(), envelope=None), volume_of(shape=(500, 500, 500))) == []


@pytest.mark.parametrize(
    ("volume", "told"),
    [
        (
            volume_of((1.5, 1.5, 6.5), (30, 100, 100)),
            ["spacing along z is 6.5 mm, in the training 2 to 4."],
        ),
        (
            volume_of((0.6, 1.5, 3.0), (50, 100, 100)),
            ["spacing along x is 0.6 mm, in the training 1 to 2."],
        ),
        (volume_of(shape=(400, 100, 100)), ["extent along z is 1200 mm, in the training 100 to 200."]),
        (volume_of(shape=(50, 100, 20)), ["extent along y is 30 mm, in the training 100 to 200."]),
        (
            volume_of(shape=(50, 100, 100), ends=(-990.0, 3000.0)),
            ["percentile 99 of its values in `ct` is 3000 HU"],
        ),
        (
            volume_of(shape=(50, 100, 100), ends=(0.0, 450.0)),
            ["percentile 1 of its values in `ct` is 0 HU"],
        ),
    ],
)
def test_what_is_not_is_named_with_its_numbers_along_the_axes_of_the_patient(
    volume: Volume, told: list[str]
) -> None:
    found = codes(plan_of(), volume)
    assert len(found) == len(told)
    assert all(part in one for part, one in zip(told, found, strict=True))


def test_suv_is_compared_in_its_logarithm_and_what_is_scaled_by_its_own_not_at_all() -> None:
    like = {"shape": (50, 100, 100), "unit": "SUVbw"}
    seen = plan_of("log", 0.0, 210.0)
    assert codes(seen, volume_of(ends=(0.0, 500.0), **like)) == []  # type: ignore[arg-type] # names of one dict
    assert len(codes(seen, volume_of(ends=(0.0, 5000.0), **like))) == 1  # type: ignore[arg-type] # as above
    assert codes(plan_of("zscore"), volume_of(ends=(0.0, 1e6), **like)) == []  # type: ignore[arg-type] # as above


def test_what_any_fold_has_seen_is_like_the_training() -> None:
    wide = replace(
        plan_of(), envelope=replace(envelope_of(plan_of()), extent_mm=((10.0,) * 3, (900.0,) * 3))
    )
    large = volume_of(shape=(500, 100, 100))
    assert len(outside_of([plan_of()], [large])) == 1
    assert outside_of([plan_of(), wide], [large]) == outside_of([wide, plan_of()], [large]) == []
    assert outside_of([plan_of(), replace(plan_of(), envelope=None)], [large]) == []


def envelope_of(plan: Plan) -> EnvelopePlan:
    assert plan.envelope is not None
    return plan.envelope
