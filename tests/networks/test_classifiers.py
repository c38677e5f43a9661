"""Every classifier in two and three dimensions."""

from typing import Any

import pytest
import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.networks.classifiers import CLASSIFIERS, build_classifier
from lepton_monai.plans.classification import ClassifierPlan, InputPlan, ScalePlan

SMALL: dict[str, dict[str, Any]] = {
    "resnet10": {"widen_factor": 0.125},
    "densenet121": {"init_features": 8, "growth_rate": 4, "block_config": [2, 2, 2, 2]},
    "seresnet50": {"layers": [1, 1, 1, 1]},
    "efficientnet-b0": {},
    "efficientnet-lite0": {},
    "vit": {"hidden_size": 24, "mlp_dim": 24, "num_layers": 1, "num_heads": 2},
}


def _input(axes: int, channels: int) -> InputPlan:
    scale = ScalePlan("none", 0.0, 1.0, (0.0,) * channels, (1.0,) * channels)
    return InputPlan((32, 32, 32 if axes == 3 else 1), None, channels, scale)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_classifier_gives_one_logit_a_class(name: str, axes: int) -> None:
    if name == "efficientnet-lite0" and axes == 3:
        with pytest.raises(ConfigError, match="it sees two axes"):
            build_classifier(ClassifierPlan(name), _input(3, 1), 4)
        return
    network = build_classifier(ClassifierPlan(name, SMALL[name]), _input(axes, 3), 4).eval()
    with torch.inference_mode():
        logits = network(torch.rand(2, 3, *(32,) * axes, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 4)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_every_depth_of_the_resnets_is_there(depth: int) -> None:
    plan = ClassifierPlan(f"resnet{depth}", {"widen_factor": 0.0625})
    with torch.device("meta"):
        network = build_classifier(plan, _input(2, 1), 2)
    blocks = [name for name in network.state_dict() if name.endswith(".conv1.weight")]
    assert len(blocks) == {18: 8, 34: 16, 50: 16, 101: 33, 152: 50}[depth]


def test_a_network_that_is_not_there_or_cannot_be_built_so_is_told() -> None:
    assert "resnet17" not in CLASSIFIERS
    with pytest.raises(ConfigError, match="can't be built"):
        build_classifier(ClassifierPlan("resnet17"), _input(2, 1), 2)
    with pytest.raises(ConfigError, match="depth"):
        build_classifier(ClassifierPlan("resnet10", {"depth": 3}), _input(2, 1), 2)
