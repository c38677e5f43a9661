"""Every network by its name, and what each wants of a patch."""

import pytest
import torch

from lepton_monai.config.schema import NETWORK_NAMES
from lepton_monai.core.errors import ConfigError
from lepton_monai.networks.build import NETWORKS, Ends, build_network, network_factor
from lepton_monai.plans.plan import NetworkPlan, Triple
from lepton_monai.training.shape import levels


def plan_of(name: str, patch: Triple, width: int = 8) -> NetworkPlan:
    kernels, strides = levels(patch, (1.0, 1.0, 1.0), most=3)
    return NetworkPlan(name, tuple(width * 2**level for level in range(3)), kernels, strides)


def patch_of(name: str) -> Triple:
    x, y, z = network_factor(plan_of(name, (32, 32, 32)))
    return x, 2 * y, z


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("classes", [1, 3])
def test_every_network_keeps_the_grid_and_gives_a_channel_a_class(name: str, classes: int) -> None:
    patch = patch_of(name)
    network = build_network(plan_of(name, patch, width=24), Ends(1, classes + 1, patch)).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, 1, *patch))
    assert logits.shape == (2, classes + 1, *patch)
    assert torch.isfinite(logits).all()


def test_the_config_knows_the_names_of_all_networks() -> None:
    assert sorted(NETWORK_NAMES) == sorted(NETWORKS)


def test_lower_outputs_are_given_in_training_alone_each_at_its_own_size() -> None:
    kernels, strides = levels((32, 32, 16), (1.0, 1.0, 1.0), most=4)
    plan = NetworkPlan("dynunet", (4, 8, 16, 32), kernels, strides, supervised=2)
    network = build_network(plan, Ends(1, 2, (32, 32, 16)))
    image = torch.zeros(1, 1, 32, 32, 16)
    outputs = network.train()(image)
    assert [tuple(one.shape) for one in outputs] == [
        (1, 2, 32, 32, 16),
        (1, 2, 16, 16, 8),
        (1, 2, 8, 8, 4),
    ]
    assert network.eval()(image).shape == (1, 2, 32, 32, 16)


def test_any_class_of_monai_is_a_network_by_its_name() -> None:
    arguments = {"features": [4, 4, 4, 4, 4, 4]}
    plan = NetworkPlan("monai:BasicUNet", (), (), (), arguments=arguments)
    assert build_network(plan, Ends(1, 3, (32, 32, 32))).eval()(torch.zeros(1, 1, 32, 32, 32)).shape[1] == 3


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("monai:NoNet", {}), ("monai:BasicUNet", {"depth": 3}), ("resnot", {}), ("monai:dynunet", {})],
)
def test_a_network_that_cannot_be_built_is_a_mistake_of_the_config(
    name: str, arguments: dict[str, int]
) -> None:
    plan = NetworkPlan(name, (4, 8), ((3, 3, 3),) * 2, ((1, 1, 1), (2, 2, 2)), arguments=arguments)
    with pytest.raises(ConfigError, match=r"can't be built .* Known are dynunet"):
        build_network(plan, Ends(1, 2, (16, 16, 16)))


def test_a_misspelt_class_of_monai_is_told_with_the_nearest() -> None:
    plan = NetworkPlan("monai:BasicUNett", (), (), ())
    with pytest.raises(ConfigError, match="no network BasicUNett; the nearest is BasicUNet"):
        build_network(plan, Ends(1, 2, (16, 16, 16)))


def test_a_plan_says_what_a_patch_must_be_a_multiple_of() -> None:
    plan = NetworkPlan("dynunet", (4, 8), ((3, 3, 3),) * 3, ((1, 1, 1), (2, 2, 1), (2, 2, 2)))
    assert network_factor(plan) == (4, 4, 2)
