"""A training is a function of plan and cases: whoever makes the patches, wherever it was cut."""

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lepton_monai.core.errors import ConfigError, InputError, StoppedError
from lepton_monai.data.batch import image_of
from lepton_monai.data.cache import CachedCase
from lepton_monai.data.sampler import Share
from lepton_monai.networks.build import network_of
from lepton_monai.plans.plan import Plan, Precision
from lepton_monai.plans.run import Run
from lepton_monai.training.checkpoint import newest_checkpoint, restore, write_checkpoint
from lepton_monai.training.loop import (
    DividedSamples,
    Feeding,
    batches,
    finished_on_device,
    made_by_workers,
    run_training,
)
from lepton_monai.training.seeds import deterministic, seeded
from lepton_monai.training.segmentation import patches_of, segmentation_training
from lepton_monai.training.training import Training, learning_rate
from tests.plans.examples import example_plan
from tests.training.cases import two_balls

CPU = torch.device("cpu")


def with_training(plan: Plan, **changes: object) -> Plan:
    return replace(plan, training=replace(plan.training, **changes))  # type: ignore[arg-type]


def trained(
    plan: Plan, cases: dict[str, CachedCase], workers: int = 0, device: torch.device = CPU
) -> Training:
    with deterministic(1), seeded(plan.training.seed):
        training = segmentation_training(plan, device, network_of(plan))
        feeding = Feeding(device, workers)
        run_training(
            training, patches_of(cases, plan), feeding, on_log=lambda _: None, on_checkpoint=lambda _: None
        )
    return training


def weights(training: Training) -> dict[str, torch.Tensor]:
    return dict(training.average.state_dict())


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_the_same_plan_gives_the_same_weights_whatever_the_workers(tmp_path: Path) -> None:
    plan = example_plan()
    cases = two_balls(tmp_path, plan)
    first = weights(trained(plan, cases))
    assert equal(first, weights(trained(plan, cases)))
    assert equal(first, weights(trained(plan, cases, workers=2)))


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    plan = example_plan()
    cases = two_balls(tmp_path, plan)
    assert not equal(weights(trained(plan, cases)), weights(trained(with_training(plan, seed=1), cases)))


@pytest.mark.parametrize("workers", [0, 2])
def test_patches_that_the_device_finishes_are_those_that_the_workers_make(
    tmp_path: Path, workers: int
) -> None:
    plan = example_plan()
    samples = patches_of(two_balls(tmp_path, plan), plan).samples(Share(1, 1, 2))
    assert isinstance(samples, DividedSamples)
    made, finished = (
        list(way(samples, plan.training.batch_size, Feeding(CPU, workers)))
        for way in (made_by_workers, finished_on_device)
    )
    assert len(made) == len(finished) == plan.training.steps - 1
    for one, other in zip(made, finished, strict=True):
        for whole, divided in zip(one, other, strict=True):
            assert isinstance(whole, torch.Tensor)
            assert isinstance(divided, torch.Tensor)
            assert whole.dtype == divided.dtype
            assert torch.equal(whole, divided)
    # What is left to the device is the change of values.
    drawn = torch.stack([samples.drawn(at)[0] for at in range(len(samples))])
    assert not torch.equal(drawn, torch.cat([image_of(inputs) for inputs, _ in finished]))


def test_training_leaves_the_users_random_state_as_it_was(tmp_path: Path) -> None:
    plan = example_plan()
    cases = two_balls(tmp_path, plan)
    before = torch.random.get_rng_state()
    trained(plan, cases)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["polynomial", "cosine"])
def test_the_loss_falls_on_what_can_be_learnt(tmp_path: Path, optimizer: str, schedule: str) -> None:
    plan = with_training(
        example_plan(), steps=150, learning_rate=5e-3, optimizer=optimizer, schedule=schedule
    )
    losses = [loss for _, loss, _ in trained(plan, two_balls(tmp_path, plan)).log]
    assert len(losses) == 3
    assert losses[-1] < 0.8 * losses[0]


def test_a_loss_that_is_no_number_stops_with_the_cases_named_and_the_state_before_it(
    tmp_path: Path,
) -> None:
    plan = example_plan()
    cases = two_balls(tmp_path, plan)
    broken = replace(cases["case-1"], image=np.full_like(cases["case-1"].image, np.nan))
    with deterministic(1), seeded(0):
        training = segmentation_training(with_training(plan, batch_size=1), CPU, network_of(plan))
        kept: list[tuple[int, dict[str, torch.Tensor]]] = []

        def keep(state: Training) -> None:
            kept.append((state.step, {name: one.clone() for name, one in state.tensors().items()}))

        with pytest.raises(InputError, match=r"The loss is nan at step [12], on samples of case-1\."):
            run_training(
                training,
                patches_of(
                    {"case-0": cases["case-0"], "case-1": broken}, with_training(plan, batch_size=1)
                ),
                Feeding(CPU),
                on_log=lambda _: None,
                on_checkpoint=keep,
            )
    ((_, tensors),) = kept
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_infinite_gradients_move_nothing_and_stop_the_training(tmp_path: Path) -> None:
    """The loss may be finite all the same; a step would make every weight NaN."""
    plan = with_training(example_plan(), steps=20)
    cases = two_balls(tmp_path, plan)
    with deterministic(1), seeded(0):
        training = segmentation_training(plan, CPU, network_of(plan))
        first = next(training.network.parameters())
        first.register_hook(lambda gradient: gradient * float("inf") if training.step == 4 else gradient)
        kept: list[int] = []
        with pytest.raises(InputError, match="The loss is nan at step 5"):
            run_training(
                training,
                patches_of(cases, plan),
                Feeding(CPU),
                on_log=lambda _: None,
                on_checkpoint=lambda state: kept.append(state.step),
            )
    assert kept == [4]
    assert all(torch.isfinite(tensor).all() for tensor in training.tensors().values())


def test_a_training_that_may_learn_nothing_is_a_mistake() -> None:
    plan = with_training(example_plan(), frozen=("*",))
    with pytest.raises(ConfigError, match="leaves nothing to learn"):
        segmentation_training(plan, CPU, network_of(plan))


def test_a_signal_ends_the_training_after_its_step_and_keeps_it(tmp_path: Path) -> None:
    plan = with_training(example_plan(), steps=200)
    cases = two_balls(tmp_path, plan)
    before = signal.getsignal(signal.SIGTERM)
    kept: list[int] = []
    with deterministic(1), seeded(0), pytest.raises(StoppedError) as stopped:
        run_training(
            segmentation_training(plan, CPU, network_of(plan)),
            patches_of(cases, plan),
            Feeding(CPU),
            on_log=lambda _: signal.raise_signal(signal.SIGTERM),
            on_checkpoint=lambda state: kept.append(state.step),
        )
    assert stopped.value.exit_code == 143
    assert kept == [50]
    assert "step 50 of 200" in str(stopped.value)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_in_the_last_step_is_heard_and_nothing_is_left_to_do(tmp_path: Path) -> None:
    plan = with_training(example_plan(), steps=50)
    source, run = patches_of(two_balls(tmp_path, plan), plan), Run(tmp_path / "run")

    def keep(state: Training) -> None:
        write_checkpoint(run, state)

    with deterministic(1), seeded(0):
        with pytest.raises(StoppedError, match="step 50 of 50"):
            run_training(
                segmentation_training(plan, CPU, network_of(plan)),
                source,
                Feeding(CPU),
                on_log=lambda _: signal.raise_signal(signal.SIGTERM),
                on_checkpoint=keep,
            )
        resumed = segmentation_training(plan, CPU, network_of(plan))
        restore(resumed, newest_checkpoint(run))
        run_training(resumed, source, Feeding(CPU), on_log=lambda _: None, on_checkpoint=lambda _: None)
    assert (resumed.step, [step for step, _, _ in resumed.log]) == (50, [50])
    assert equal(weights(resumed), weights(trained(plan, two_balls(tmp_path / "again", plan))))


@pytest.mark.parametrize("schedule", ["polynomial", "cosine"])
def test_the_learning_rate_warms_up_and_falls_to_almost_nothing(schedule: str) -> None:
    plan = with_training(example_plan(), steps=100, warm_up_steps=10, learning_rate=1.0, schedule=schedule)
    rates = [learning_rate(plan.training, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.02


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_precision_of_the_cpu_trains(
    tmp_path: Path, precision: Precision, channels_last: bool
) -> None:
    plan = with_training(example_plan(), precision=precision, channels_last=channels_last)
    done = trained(plan, two_balls(tmp_path, plan))
    assert all(torch.isfinite(tensor).all() for tensor in weights(done).values())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_every_precision_of_a_gpu_trains(tmp_path: Path, precision: Precision) -> None:
    plan = with_training(example_plan(), precision=precision)
    done = trained(plan, two_balls(tmp_path, plan), workers=2, device=torch.device("cuda"))
    assert all(torch.isfinite(tensor).all() for tensor in weights(done).values())


@pytest.mark.gpu
def test_a_gpu_changes_the_values_of_patches_as_the_workers_do(tmp_path: Path) -> None:
    plan = example_plan()
    source, gpu = patches_of(two_balls(tmp_path, plan), plan), torch.device("cuda")
    on_gpu, on_cpu = (list(batches(source, Feeding(device, 2))) for device in (gpu, CPU))
    for (image, label), (expected, expected_label) in zip(on_gpu, on_cpu, strict=True):
        assert isinstance(image, torch.Tensor)
        assert isinstance(expected, torch.Tensor)
        assert type(image) is torch.Tensor
        assert image.device.type == label.device.type == "cuda"
        assert torch.equal(label.cpu(), expected_label)
        # A GPU may blur in TF32, which has 10 bits of mantissa.
        torch.testing.assert_close(image.cpu(), expected, rtol=1e-3, atol=1e-2)
    for (first, _), (again, _) in zip(on_gpu, batches(source, Feeding(gpu)), strict=True):
        assert torch.equal(image_of(first), image_of(again))
