"""Networks of timm and torchvision: what they give, and that they fetch nothing."""

import importlib.util
import sys
from typing import Any

import pytest
import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.networks.transfer import load_weights, turn_kernels
from lepton_monai.plans.classification import ClassifierPlan, InputPlan, ScalePlan

CLASSES = 3

MISSING = {name for name in ("timm", "torchvision") if importlib.util.find_spec(name) is None}

WANTED = "needs {0}: the extra `{0}` with constraints-vision.txt"

needs = {
    name: pytest.mark.skipif(name in MISSING, reason=WANTED.format(name))
    for name in ("timm", "torchvision")
}

NETWORKS = [
    pytest.param(name, marks=needs[name.split(":")[-2]])
    for name in (
        "torchvision:alexnet",
        "torchvision:convnext_tiny",
        "torchvision:googlenet",
        "torchvision:inception_v3",
        "torchvision:resnet18",
        "torchvision:vgg11",
        "slices:torchvision:resnet18",
        "timm:convnext_atto",
        "timm:resnet18",
        "slices:timm:resnet18",
    )
]


def _input(name: str, channels: int = 1) -> InputPlan:
    scale = ScalePlan("none", 0.0, 1.0, (0.0,) * channels, (1.0,) * channels)
    return InputPlan((96, 80, 4 if name.startswith("slices:") else 1), None, channels, scale)


def _built(name: str, channels: int = 1, **arguments: Any) -> torch.nn.Module:
    return build_classifier(ClassifierPlan(name, arguments), _input(name, channels), CLASSES)


def _images(name: str, channels: int = 1) -> torch.Tensor:
    size = _input(name).size
    sides = size if name.startswith("slices:") else size[:2]
    return torch.rand(2, channels, *sides, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_from_elsewhere_learns_and_predicts(name: str) -> None:
    network, images = _built(name), _images(name)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
    logits = network(images)  # in training, where googlenet and inception have further outputs
    assert logits.shape == (2, CLASSES)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    assert all(one.grad is not None for one in network.parameters())
    before = [one.clone() for one in network.parameters()]
    optimizer.step()
    assert any(not torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))
    with torch.inference_mode():
        assert network.eval()(images).shape == (2, CLASSES)


@needs["torchvision"]
def test_a_grey_image_is_to_torchvisions_network_what_it_is_in_three_colours() -> None:
    models = pytest.importorskip("torchvision.models")
    true = models.resnet18(weights=None, num_classes=CLASSES)
    grey, colour = _built("torchvision:resnet18"), _built("torchvision:resnet18", 3)
    for network in (grey, colour):
        report = load_weights(network, true.state_dict(), source="torchvision")
        assert len(report.matched) == len(true.state_dict())
        assert report.removed_prefix == report.added_prefix == ""
    images = _images("torchvision:resnet18")
    with torch.inference_mode():
        wanted = true.eval()(images.expand(-1, 3, -1, -1))
        assert torch.equal(grey.eval()(images), wanted)
        assert torch.equal(colour.eval()(images.expand(-1, 3, -1, -1)), wanted)


@needs["torchvision"]
def test_weights_of_torchvision_see_pictures_as_they_did_after_their_kernels_are_turned() -> None:
    models = pytest.importorskip("torchvision.models")
    true = models.convnext_tiny(weights=None, num_classes=CLASSES).eval()
    ours = _built("torchvision:convnext_tiny", 3).eval()
    load_weights(ours, turn_kernels(true.state_dict(), "ji"), source="torchvision")
    images = _images("torchvision:convnext_tiny", 3)
    with torch.inference_mode():
        assert torch.allclose(ours(images), true(images.transpose(2, 3)), atol=1e-4)


@needs["torchvision"]
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("torchvision:fcn_resnet50", {}, "no classifier fcn_resnet50; the nearest is resnet50"),
        ("torchvision:resnet18", {"weights": "DEFAULT"}, "`weights` would fetch or open weights"),
        ("torchvision:resnet18", {"pretrained": True}, "`pretrained` would fetch or open weights"),
        ("torchvision:vit_b_16", {}, "96 x 80: .*Expected 224"),
        ("slices:torchvision:nothing", {}, "torchvision has no classifier nothing"),
    ],
)
def test_what_torchvision_cannot_or_shall_not_do_is_told(
    name: str, arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        _built(name, **arguments)


@needs["timm"]
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("timm:hf-hub:timm/resnet18", {}, "no network hf-hub:timm/resnet18; the nearest is "),
        ("timm:resnet18", {"pretrained": True}, "`pretrained` would fetch or open weights"),
        ("timm:resnet18", {"checkpoint_path": "a.pth"}, "`checkpoint_path` would fetch or open weights"),
        ("timm:vit_tiny_patch16_224", {}, "96 x 80: Input height"),
    ],
)
def test_what_timm_cannot_or_shall_not_do_is_told(name: str, arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _built(name, **arguments)


@pytest.mark.parametrize("package", ["timm", "torchvision"])
def test_a_package_that_is_absent_is_asked_for_in_one_sentence(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (package, f"{package}.models"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError) as caught:
        _built(f"slices:{package}:resnet18")
    assert str(caught.value) == (
        f"`{package}:NAME` needs {package}, which isn't installed: "
        f'pip install -c constraints-vision.txt "lepton_monai[{package}]"'
    )
