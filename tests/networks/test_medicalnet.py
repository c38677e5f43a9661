"""Every known network can be built as the table says; MedicalNet's files by an independent forward pass."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional

from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.networks.known import known_weights
from lepton_monai.networks.transfer import load_weights
from lepton_monai.networks.weights import read_weights
from lepton_monai.plans.classification import ClassifierPlan, InputPlan, ScalePlan

Weights = dict[str, torch.Tensor]

BLOCKS = {
    "resnet10": (1, 1, 1, 1),
    "resnet18": (2, 2, 2, 2),
    "resnet34": (3, 4, 6, 3),
    "resnet50": (3, 4, 6, 3),
}

NARROW = 0.125


def _built(name: str, *, narrow: bool) -> torch.nn.Module:
    known = known_weights()[name]
    arguments = {key: value for key, value in known.arguments.items() if key != "spatial_dims"}
    size = (48, 40, 32 if len(known.axes) == 3 else 1)
    scale = ScalePlan("none", 0.0, 1.0, (0.0,), (1.0,))
    if narrow and known.network != "efficientnet-lite0":
        arguments["widen_factor"] = NARROW
    return build_classifier(ClassifierPlan(known.network, arguments), InputPlan(size, None, 1, scale), 2)


@pytest.mark.parametrize("name", known_weights())
def test_every_known_network_is_built_with_its_arguments(name: str) -> None:
    assert _built(name, narrow=True)(torch.rand(2, 1, 48, 40, *_third(name))).shape == (2, 2)


def _third(name: str) -> tuple[int, ...]:
    return (32,) if len(known_weights()[name].axes) == 3 else ()


@pytest.mark.parametrize("depth", [10, 18, 34, 50])
def test_medicalnets_layout_gives_the_features_of_an_independent_forward_pass(
    depth: int, tmp_path: Path
) -> None:
    name = f"resnet{depth}"
    weights = _medicalnet(name, int(64 * NARROW))
    wrapped = {f"module.{key}": tensor for key, tensor in weights.items()}
    torch.save({"state_dict": wrapped}, tmp_path / "file.pth")
    network = _built(f"{name}-medicalnet", narrow=True)
    report = load_weights(network, read_weights(tmp_path / "file.pth"), source=name)
    assert report.removed_prefix == "module."
    assert len(report.matched) == len(weights)
    assert report.unused == ()
    assert report.adapted == ()
    assert [change.name for change in report.new] == ["fc.weight", "fc.bias"]
    x = torch.randn(2, 1, 48, 40, 32, generator=torch.Generator().manual_seed(1))
    head = network.get_submodule("fc").state_dict()
    with torch.inference_mode():
        true = functional.linear(_forward(weights, BLOCKS[name], x), head["weight"], head["bias"])
        found = network.eval()(x)
    assert true.std() > 1e-3
    assert torch.allclose(found, true, atol=1e-5 * true.abs().max().item())


def _medicalnet(name: str, width: int) -> Weights:
    """Draw weights by the names in MedicalNet's files: models/resnet.py, shortcut A for 18 and 34."""
    expansion, before = (4, width) if name == "resnet50" else (1, width)
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (width, 1, 7, 7, 7)}
    norms = {"bn1": width}
    for layer, count in enumerate(BLOCKS[name], 1):
        inner = width * 2 ** (layer - 1)
        for block in range(count):
            at = f"layer{layer}.{block}"
            kernels = [(inner, before, 1), (inner, inner, 3), (inner * expansion, inner, 1)]
            if expansion == 1:
                kernels = [(inner, before, 3), (inner, inner, 3)]
            for number, (out, of, side) in enumerate(kernels, 1):
                shapes[f"{at}.conv{number}.weight"] = (out, of, side, side, side)
                norms[f"{at}.bn{number}"] = out
            if before != inner * expansion and name in {"resnet10", "resnet50"}:
                shapes[f"{at}.downsample.0.weight"] = (inner * expansion, before, 1, 1, 1)
                norms[f"{at}.downsample.1"] = inner * expansion
            before = inner * expansion
    generator = torch.Generator().manual_seed(7)
    weights = {
        key: torch.randn(shape, generator=generator) / torch.tensor(shape[1:]).prod().sqrt()
        for key, shape in shapes.items()
    }
    for key, channels in norms.items():
        weights[f"{key}.weight"] = 0.5 + torch.rand(channels, generator=generator)
        weights[f"{key}.bias"] = 0.2 * torch.randn(channels, generator=generator)
        weights[f"{key}.running_mean"] = 0.2 * torch.randn(channels, generator=generator)
        weights[f"{key}.running_var"] = 0.5 + torch.rand(channels, generator=generator)
        weights[f"{key}.num_batches_tracked"] = torch.tensor(3)
    return weights


def _norm(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, scale, shift = (
        weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return functional.batch_norm(x, mean, variance, scale, shift)


def _forward(weights: Weights, blocks: tuple[int, ...], x: torch.Tensor) -> torch.Tensor:
    """ResNet in 3D with strides of 2 from the second layer on, where MedicalNet's own has holes."""
    x = torch.relu(
        _norm(weights, "bn1", functional.conv3d(x, weights["conv1.weight"], stride=2, padding=3))
    )
    x = functional.max_pool3d(x, 3, stride=2, padding=1)
    for layer, count in enumerate(blocks, 1):
        for block in range(count):
            x = _block(weights, f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1, x)
    return x.mean(dim=(2, 3, 4))


def _block(weights: Weights, name: str, stride: int, x: torch.Tensor) -> torch.Tensor:
    convolutions = [n for n in (1, 2, 3) if f"{name}.conv{n}.weight" in weights]
    strided = 2 if len(convolutions) == 3 else 1
    y = x
    for number in convolutions:
        kernel = weights[f"{name}.conv{number}.weight"]
        step = stride if number == strided else 1
        y = functional.conv3d(y, kernel, stride=step, padding=kernel.shape[-1] // 2)
        y = _norm(weights, f"{name}.bn{number}", y)
        y = torch.relu(y) if number < len(convolutions) else y
    shortcut = weights.get(f"{name}.downsample.0.weight")
    if shortcut is not None:
        x = _norm(weights, f"{name}.downsample.1", functional.conv3d(x, shortcut, stride=stride))
    elif stride == 2:  # shortcut A: every second voxel, and zeros for the new channels
        x = x[:, :, ::2, ::2, ::2]
        x = torch.cat([x, torch.zeros_like(x)], dim=1)
    return torch.relu(x + y)
