from dataclasses import replace

import numpy as np
import pytest
import torch

from lepton_monai.core.errors import InputError
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.transforms import Prepared, prepare
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.plan import Plan, Precision
from lepton_monai.training.loop import Progressed, learning_rate, train_network
from tests.plans.examples import example_plan

CPU = torch.device("cpu")


def _cases(plan: Plan) -> list[Prepared]:
    generator = np.random.default_rng(5)
    grid = Grid((20, 20, 20), np.diag([-2.0, -2.0, 2.0, 1.0]))
    index = np.stack(np.meshgrid(*[np.arange(20)] * 3, indexing="ij"), axis=-1)
    cases = []
    for centre in ([8, 9, 10], [11, 10, 8]):
        ball = np.linalg.norm(index - centre, axis=-1) < 6
        values = (2.0 * ball + generator.normal(0, 0.3, grid.shape)).astype(np.float32)
        cases.append(prepare(Volume(values, grid, "HU"), Mask(ball.astype(np.uint8), grid), plan))
    return cases


def _trained(plan: Plan, workers: int = 0, device: torch.device = CPU) -> dict[str, torch.Tensor]:
    network = train_network(_cases(plan), plan, device, workers, lambda _state, _network: None)
    return network.state_dict()


def test_the_same_plan_gives_the_same_weights_whatever_the_workers() -> None:
    plan = example_plan()
    first, again, with_workers = _trained(plan), _trained(plan), _trained(plan, workers=2)
    for name, tensor in first.items():
        assert torch.equal(tensor, again[name]), name
        assert torch.equal(tensor, with_workers[name]), name


def test_another_seed_gives_other_weights() -> None:
    plan = example_plan()
    other = replace(plan, training=replace(plan.training, seed=1))
    first, second = _trained(plan), _trained(other)
    assert any(not torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_training_leaves_the_users_random_state_as_it_was() -> None:
    before = torch.random.get_rng_state()
    _trained(example_plan())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_loss_falls_on_what_can_be_learnt() -> None:
    plan = example_plan()
    plan = replace(plan, training=replace(plan.training, steps=150, learning_rate=5e-3))
    losses: list[float] = []

    def note(state: Progressed, _: torch.nn.Module) -> None:
        losses.append(state.loss)

    train_network(_cases(plan), plan, CPU, 0, note)
    assert len(losses) == 3
    assert losses[-1] < 0.8 * losses[0]


def test_a_loss_that_is_no_number_stops_the_training() -> None:
    plan = example_plan()
    cases = [replace(case, image=torch.full_like(case.image, float("nan"))) for case in _cases(plan)]
    with pytest.raises(InputError, match="The loss is nan at step 1"):
        train_network(cases, plan, CPU, 0, lambda _state, _network: None)


def test_the_learning_rate_warms_up_and_falls_to_almost_nothing() -> None:
    training = replace(example_plan().training, steps=100, warm_up_steps=10, learning_rate=1.0)
    rates = [learning_rate(training, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.02


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_every_precision_of_the_cpu_trains(precision: Precision) -> None:
    plan = example_plan()
    plan = replace(plan, training=replace(plan.training, precision=precision))
    assert all(torch.isfinite(tensor).all() for tensor in _trained(plan).values())


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bfloat16", "float16", "float32"])
def test_every_precision_of_a_gpu_trains(precision: Precision) -> None:
    plan = example_plan()
    plan = replace(plan, training=replace(plan.training, precision=precision))
    weights = _trained(plan, workers=2, device=torch.device("cuda"))
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
