"""The faster instance norm is torch's own, in values, gradients and names."""

import copy

import pytest
import torch

from lepton_monai.networks.build import Ends, SupervisedDynUNet, build_network
from lepton_monai.networks.instance_norm import DirectInstanceNorm, with_direct_norms
from lepton_monai.plans.plan import NetworkPlan

CHANNELS = 4


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("channels", [5, 16])
@pytest.mark.parametrize("size", [(4, 6, 7), (3, 5, 7), (8, 8, 8)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_values_and_gradients_are_those_of_torch_in_double_precision(
    memory_format: torch.memory_format,
    affine: bool,
    channels: int,
    size: tuple[int, int, int],
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    random = torch.Generator().manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.InstanceNorm3d(channels, affine=affine))
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, generator=random)
    ours = copy.deepcopy(theirs)
    with_direct_norms(ours)
    theirs.double()
    image = (3 + 2 * torch.randn(2, channels, *size, generator=random)).to(dtype)
    weight = torch.randn(image.shape, generator=random).to(dtype)

    expected = _out_and_gradients(theirs, image.double(), weight.double())
    found = _out_and_gradients(ours, image.to(memory_format=memory_format), weight)

    assert isinstance(ours[0], DirectInstanceNorm)
    assert found[0].dtype == found[1].dtype == dtype
    for truth, got in zip(expected, found, strict=True):
        assert float((got - truth).abs().max()) <= tolerance * float(truth.abs().max())


def _out_and_gradients(
    network: torch.nn.Module, image: torch.Tensor, weight: torch.Tensor
) -> list[torch.Tensor]:
    leaf = image.requires_grad_()
    out = network(leaf)
    (out * weight).sum().backward()
    found = [out.detach(), leaf.grad, *(one.grad for one in network.parameters())]
    return [one for one in found if one is not None]


def test_the_gradient_is_that_of_finite_differences() -> None:
    norm = DirectInstanceNorm(torch.nn.InstanceNorm3d(CHANNELS, affine=True))
    norm.weight = torch.nn.Parameter(torch.linspace(-1.0, 2.0, CHANNELS))
    random = torch.Generator().manual_seed(0)
    image, direction, weight = torch.randn(3, 2, CHANNELS, 2, 3, 4, generator=random)
    image = image.to(memory_format=torch.channels_last_3d)
    leaf = image.clone().requires_grad_()
    (norm(leaf) * weight).sum().backward()
    step = 1e-2
    higher, lower = ((norm(image + sign * step * direction) * weight).sum() for sign in (1, -1))
    expected = (higher - lower) / (2 * step)
    assert leaf.grad is not None
    torch.testing.assert_close((leaf.grad * direction).sum(), expected, rtol=1e-3, atol=1e-3)


def test_frozen_weights_have_no_gradient_and_the_image_keeps_its_own() -> None:
    norm = DirectInstanceNorm(torch.nn.InstanceNorm3d(CHANNELS, affine=True))
    image = torch.randn(2, CHANNELS, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    leaf = image.to(memory_format=torch.channels_last_3d).requires_grad_()
    norm(leaf).pow(3).sum().backward()
    expected = leaf.grad
    leaf.grad = None
    norm.requires_grad_(requires_grad=False)
    norm.zero_grad()
    norm(leaf).pow(3).sum().backward()
    assert expected is not None
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(leaf.grad, expected)
    assert all(one.grad is None for one in norm.parameters())


def test_in_autocast_it_is_torchs_own() -> None:
    """A convolution in bfloat16 comes before it: what it is given then isn't float32."""
    theirs = torch.nn.Sequential(
        torch.nn.Conv3d(1, CHANNELS, 3), torch.nn.InstanceNorm3d(CHANNELS, affine=True)
    )
    ours = with_direct_norms(copy.deepcopy(theirs))
    image = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    last = image.to(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected, found = theirs(last), ours(last)
    assert found.dtype == expected.dtype == torch.bfloat16
    assert torch.equal(found, expected)


def test_the_layout_stays() -> None:
    gradients: list[torch.Tensor] = []
    norm = DirectInstanceNorm(torch.nn.InstanceNorm3d(CHANNELS, affine=True))
    leaf = torch.randn(2, CHANNELS, 4, 5, 6).to(memory_format=torch.channels_last_3d).requires_grad_()
    image = leaf * 1.0  # a leaf's own gradient is laid out anew
    image.register_hook(gradients.append)
    out = norm(image)
    out.square().sum().backward()
    assert out.is_contiguous(memory_format=torch.channels_last_3d)
    assert gradients[0].is_contiguous(memory_format=torch.channels_last_3d)


def test_weights_of_a_network_with_instance_norms_fit_one_without() -> None:
    plan = NetworkPlan("dynunet", (4, 8, 8), ((3, 3, 3),) * 3, ((1, 1, 1), (2, 2, 2), (2, 2, 2)))
    network = build_network(plan, Ends(1, 2, (16, 16, 16))).eval()
    assert not any(isinstance(one, torch.nn.InstanceNorm3d) for one in network.modules())
    names = [name for name in network.state_dict() if ".norm" in name]
    assert names
    assert {name.rsplit(".", 2)[1] for name in names} <= {"norm1", "norm2"}
    assert {name.rsplit(".", 1)[1] for name in names} == {"weight", "bias"}

    plain = SupervisedDynUNet(
        3,
        1,
        2,
        plan.kernels,
        plan.strides,
        plan.strides[1:],
        filters=plan.channels,
        norm_name=("INSTANCE", {"affine": True}),
    ).eval()
    network.load_state_dict(plain.state_dict(), strict=True)
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    last = image.to(memory_format=torch.channels_last_3d)
    found = network.to(memory_format=torch.channels_last_3d)(last)  # type: ignore[call-overload] # torch's stubs lack it alone
    torch.testing.assert_close(found, plain(image), rtol=1e-4, atol=1e-4)
    assert {*plain.state_dict()} == {*network.state_dict()}


def test_norms_that_keep_statistics_stay() -> None:
    network = torch.nn.Sequential(torch.nn.InstanceNorm3d(2, track_running_stats=True))
    with_direct_norms(network)
    assert isinstance(network[0], torch.nn.InstanceNorm3d)


def test_what_follows_may_change_it_in_place() -> None:
    norm = DirectInstanceNorm(torch.nn.InstanceNorm3d(CHANNELS))
    leaf = torch.randn(2, CHANNELS, 4, 5, 6).to(memory_format=torch.channels_last_3d).requires_grad_()
    torch.nn.functional.leaky_relu(norm(leaf), inplace=True).sum().backward()
    assert leaf.grad is not None


def test_digits_are_kept_where_the_mean_is_far_from_zero() -> None:
    norm = DirectInstanceNorm(torch.nn.InstanceNorm3d(CHANNELS))
    image = 100 + torch.randn(1, CHANNELS, 24, 24, 24).to(memory_format=torch.channels_last_3d)
    truth = torch.nn.functional.instance_norm(image.double())
    assert float((norm(image) - truth).abs().max()) < 1e-4
