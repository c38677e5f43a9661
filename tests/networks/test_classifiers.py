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
    "seresnext50": {"layers": [1, 1, 1, 1]},
    "efficientnet-b0": {},
    "efficientnet-lite0": {},
    "vit": {"hidden_size": 24, "mlp_dim": 24, "num_layers": 1, "num_heads": 2},
    "dynunet-encoder": {"channels": [4, 8, 16]},
    "slices:resnet10": {"widen_factor": 0.125},
    "slices:vit": {"hidden_size": 24, "mlp_dim": 24, "num_layers": 1, "num_heads": 2},
}
"""One of each kind."""

AXES = {"efficientnet-lite0": [2], "dynunet-encoder": [3], "slices:resnet10": [3], "slices:vit": [3]}
"""Of an input, where a network doesn't take both."""


def _input(axes: int, channels: int, side: int = 32) -> InputPlan:
    scale = ScalePlan("none", 0.0, 1.0, (0.0,) * channels, (1.0,) * channels)
    return InputPlan((side, side, side if axes == 3 else 1), None, channels, scale)


def _images(axes: int, channels: int, count: int = 2) -> torch.Tensor:
    return torch.rand(count, channels, *(32,) * axes, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_a_classifier_gives_one_logit_a_class_and_every_parameter_learns(
    name: str, axes: int, channels: int
) -> None:
    if axes not in AXES.get(name, [2, 3]) or (name == "dynunet-encoder" and channels == 3):
        with pytest.raises(ConfigError, match=r"it sees|it takes"):
            build_classifier(ClassifierPlan(name, SMALL[name]), _input(axes, channels), 4)
        return
    network = build_classifier(ClassifierPlan(name, SMALL[name]), _input(axes, channels), 4)
    assert network.training
    logits = network(_images(axes, channels))
    assert logits.shape == (2, 4)
    torch.nn.functional.cross_entropy(logits, torch.tensor([1, 3])).backward()
    gradients = {
        name: parameter.grad
        for name, parameter in network.named_parameters()
        if "cross_attn" not in name  # which MONAI's transformers hold and don't use here
    }
    assert [name for name, one in gradients.items() if one is None or not torch.isfinite(one).all()] == []
    first = next(gradient for gradient in gradients.values() if gradient is not None)
    assert first.abs().max() > 0


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_every_depth_of_the_resnets_is_there(depth: int) -> None:
    network = build_classifier(ClassifierPlan(f"resnet{depth}", {"widen_factor": 0.0625}), _input(2, 1), 2)
    blocks = [name for name in network.state_dict() if name.endswith(".conv1.weight")]
    assert len(blocks) == {18: 8, 34: 16, 50: 16, 101: 33, 152: 50}[depth]


@pytest.mark.parametrize(
    ("name", "millions"),
    [("densenet169", 14.1), ("seresnext101", 49.0), ("efficientnet-b1", 7.8), ("seresnet101", 49.3)],
)
def test_a_larger_one_of_a_kind_has_the_parameters_of_its_paper(name: str, millions: float) -> None:
    """With 1,000 classes and three channels, as keras.io/api/applications and the SENet paper list them."""
    network = build_classifier(ClassifierPlan(name), _input(2, 3), 1000)
    assert sum(one.numel() for one in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)


def test_to_build_a_network_draws_nothing_but_its_weights() -> None:
    plan = ClassifierPlan("efficientnet-b0")
    states = []
    for side in (32, 64):
        torch.random.set_rng_state(torch.Generator().manual_seed(3).get_state())
        network = build_classifier(plan, _input(2, 1, side), 2)
        states.append(torch.random.get_rng_state())
        assert all(
            not norm.running_mean.any()
            for norm in network.modules()
            if isinstance(norm, torch.nn.BatchNorm2d) and norm.running_mean is not None
        )
    assert torch.equal(*states)


def test_a_network_that_is_not_there_or_cannot_be_built_so_is_told() -> None:
    assert "resnet17" not in CLASSIFIERS
    for name in ("resnet17", "nobody:resnet18", "slices:resnet17"):
        with pytest.raises(
            ConfigError, match=f"There is no network `{name}`; the nearest is `.+`. Known are efficientnet"
        ):
            build_classifier(ClassifierPlan(name), _input(3, 1), 2)
    with pytest.raises(ConfigError, match="depth"):
        build_classifier(ClassifierPlan("resnet10", {"depth": 3}), _input(2, 1), 2)


@pytest.mark.parametrize(
    ("name", "axes", "side", "said"),
    [
        ("vit", 2, 20, "for images of 20 x 20: .*patch_size"),
        ("vit", 3, 40, "for images of 40 x 40 x 40: .*patch_size"),
        ("dynunet-encoder", 3, 8, "for images of 8 x 8 x 8: .*spatial element"),
    ],
)
def test_a_size_that_a_network_does_not_take_is_named(name: str, axes: int, side: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_classifier(ClassifierPlan(name), _input(axes, 1, side), 2)
