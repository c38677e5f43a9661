import pytest
import torch
from monai.networks.nets import resnet10

from lepton_monai.core.errors import ConfigError
from lepton_monai.training.groups import fitting, let_learn, parameter_groups, train_mode


def _network() -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3),
        torch.nn.BatchNorm2d(4),
        torch.nn.Conv2d(4, 2, 3),
        torch.nn.LayerNorm([2, 5, 7]),
    )


def _names(network: torch.nn.Module, parameters: list[torch.nn.Parameter]) -> set[str]:
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {names[id(parameter)] for parameter in parameters}


def test_a_factor_is_of_the_rate_and_norms_and_biases_do_not_decay() -> None:
    network = _network()
    factors = dict.fromkeys(("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean"), 0.5)
    groups = parameter_groups(network, factors, 1e-3, 0.05)
    found = {
        (group["lr"], group["weight_decay"], group["factor"]): _names(network, group["params"])
        for group in groups
    }
    assert found == {
        (5e-4, 0.05, 0.5): {"0.weight"},
        (5e-4, 0.0, 0.5): {"0.bias", "1.weight", "1.bias"},
        (1e-3, 0.05, 1.0): {"2.weight"},
        (1e-3, 0.0, 1.0): {"2.bias", "3.weight", "3.bias"},
    }


def test_every_parameter_is_in_one_group() -> None:
    network = resnet10(spatial_dims=3, n_input_channels=1, num_classes=2)
    groups = parameter_groups(network, {"conv1.weight": 0.1}, 1e-3, 0.05)
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == {id(parameter) for parameter in network.parameters()}


def test_a_step_moves_parameters_by_their_factor() -> None:
    # Adam's first step is the learning rate, whatever the gradient.
    network = torch.nn.Sequential(torch.nn.Linear(3, 2, bias=False), torch.nn.Linear(2, 1, bias=False))
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer = torch.optim.AdamW(parameter_groups(network, {"0.weight": 0.1}, 1e-2, 0.0))
    network(torch.ones(4, 3)).sum().backward()
    optimizer.step()
    moved = {
        name: (parameter - before[name]).abs().max().item()
        for name, parameter in network.named_parameters()
    }
    assert moved["0.weight"] == pytest.approx(1e-3, rel=1e-2)
    assert moved["1.weight"] == pytest.approx(1e-2, rel=1e-2)


def test_frozen_parameters_stay_and_move_again_once_unfrozen() -> None:
    network = _network()
    optimizer = torch.optim.AdamW(parameter_groups(network, {}, 1e-2, 0.1))
    assert fitting(network, ["0.*", "1.*"]) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    let_learn(network, {"2.weight", "2.bias", "3.weight", "3.bias"})
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    _step(network, optimizer)
    changed = {
        name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])
    }
    assert changed == {"2.weight", "2.bias", "3.weight", "3.bias"}
    let_learn(network, {"0.weight", "0.bias"})
    _step(network, optimizer)
    assert not torch.equal(network.state_dict()["0.weight"], before["0.weight"])
    assert torch.equal(network.state_dict()["1.running_mean"], before["1.running_mean"])


def test_norms_that_learn_move_their_running_figures() -> None:
    network = _network()
    _step(network, torch.optim.AdamW(network.parameters()))
    assert network.state_dict()["1.running_mean"].abs().max() > 0


def test_a_pattern_that_fits_nothing_is_refused_with_the_nearest_name() -> None:
    network = resnet10(spatial_dims=2, n_input_channels=1, num_classes=2)
    with pytest.raises(ConfigError, match=r"`layer9\.\*`; the nearest name is `layer\d"):
        fitting(network, ["layer1.*", "layer9.*"])


def _step(network: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    train_mode(network)
    generator = torch.Generator().manual_seed(3)
    optimizer.zero_grad()
    (network(torch.randn(4, 1, 9, 11, generator=generator)) ** 3).sum().backward()
    optimizer.step()
