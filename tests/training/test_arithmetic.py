"""A lower precision is trusted where each convolution gives the gradients of float32, and nowhere else."""

import pytest
import torch

from lepton_monai.training.arithmetic import wrong_convolution


class OffByTwo(torch.nn.Conv3d):
    """A convolution that is wrong in bfloat16 alone, as one of oneDNN is."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's name
        """Return twice the response where autocast is on."""
        return super().forward(input) * (2.0 if torch.is_autocast_enabled("cpu") else 1.0)


def _network(second: type[torch.nn.Conv3d]) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.ReLU(), second(4, 4, 3, padding=1, stride=2)
    )


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_a_convolution_that_is_wrong_is_named_and_a_right_one_is_not(layout: torch.memory_format) -> None:
    image = torch.zeros(2, 1, 8, 8, 8)
    assert wrong_convolution(_network(torch.nn.Conv3d), image, torch.bfloat16, layout) == ""
    assert wrong_convolution(_network(OffByTwo), image, torch.bfloat16, layout) == "2"


def test_what_is_tried_stays_as_it_was() -> None:
    network = _network(torch.nn.Conv3d).train()
    before = {name: one.clone() for name, one in network.state_dict().items()}
    wrong_convolution(network, torch.zeros(1, 1, 8, 8, 8), torch.bfloat16, torch.contiguous_format)
    assert network.training
    assert all(torch.equal(before[name], one) for name, one in network.state_dict().items())
    assert all(one.grad is None for one in network.parameters())
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_flat_networks_are_tried_too() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.Conv2d(8, 8, 3, groups=8))
    assert wrong_convolution(network, torch.zeros(2, 1, 16, 16), torch.bfloat16, torch.channels_last) == ""
