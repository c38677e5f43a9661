import pytest
import torch

from lepton_monai.networks.build import NETWORKS, build_network
from lepton_monai.plans.plan import NetworkPlan


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("classes", [1, 3])
def test_every_network_keeps_the_grid_and_gives_a_channel_a_class(name: str, classes: int) -> None:
    network = build_network(NetworkPlan(name=name, channels=(8, 16, 32)), classes).eval()
    with torch.inference_mode():
        logits = network(torch.zeros(2, 1, 16, 24, 32))
    assert logits.shape == (2, classes + 1, 16, 24, 32)
    assert torch.isfinite(logits).all()
