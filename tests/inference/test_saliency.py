"""Maps of networks: the same as MONAI's where that runs, on every network, and where a layer looks."""

import warnings

import numpy as np
import pytest
import torch
from monai.visualize import GradCAM, OcclusionSensitivity

from lepton_monai.core.errors import ConfigError
from lepton_monai.inference.saliency import grad_cam, occlusion, shift_of
from lepton_monai.networks.classifiers import CLASSIFIERS, build_classifier
from lepton_monai.plans.classification import ClassifierPlan, InputPlan, ScalePlan
from lepton_monai.training.seeds import seeded


def _network(name: str, size: tuple[int, int, int], **arguments: object) -> torch.nn.Module:
    plan = InputPlan(size, None, 1, ScalePlan("none", 0.0, 1.0, (0.0,), (1.0,)))
    with seeded(0):
        return build_classifier(ClassifierPlan(name, arguments), plan, 2).eval()


def _image(*sides: int) -> torch.Tensor:
    return torch.rand(1, *sides, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(64, 48, 1), (24, 32, 24)])
def test_a_map_equals_monais(size: tuple[int, int, int]) -> None:
    network = _network("resnet10", size, widen_factor=0.25)
    image = _image(*(side for side in size if side > 1))
    highest = 0.0
    for class_id in range(2):
        found, layer = grad_cam(network, image, class_id)
        wanted = GradCAM(network, layer).compute_map(image[None], class_idx=class_id)
        np.testing.assert_allclose(found, wanted[0, 0].detach().numpy(), rtol=1e-5, atol=1e-9)
        assert min(found.shape) >= 6
        highest = max(highest, float(found.max()))
    assert highest > 0.0


LEFT_OUT = {"vit", "resnet101", "resnet152", "dynunet-encoder"}
"""Tokens; two that are too deep for a test; one that sees volumes alone."""


@pytest.mark.parametrize("name", [name for name in CLASSIFIERS if name not in LEFT_OUT])
def test_every_network_has_a_map_without_a_trace_left_in_it(name: str) -> None:
    network = _network(name, (64, 64, 1))
    found, layer = grad_cam(network, _image(64, 64), 0)
    assert found.shape == (8, 8)
    assert layer in dict(network.named_modules())
    assert np.isfinite(found).all()
    assert not any(module._forward_hooks for module in network.modules())  # torch's only way to see them
    assert all(weights.grad is None for weights in network.parameters())


def test_a_network_of_tokens_is_told_to_take_occlusion() -> None:
    network = _network("vit", (32, 32, 1), hidden_size=24, mlp_dim=16, num_layers=1, num_heads=2)
    with pytest.raises(ConfigError, match=r"works on tokens\. Give --method occlusion"):
        grad_cam(network, _image(32, 32), 0)
    assert occlusion(network, _image(32, 32), 0)[0].shape == (16, 16)


class _SliceBySlice(torch.nn.Module):
    """Sees every slice by itself, and takes the mean of what it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 2, 4, 4)
        self.head = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits of ``(n, 1, x, y, z)``."""
        slices = x.permute(0, 4, 1, 2, 3).flatten(0, 1)
        pooled = torch.relu(self.layer(slices)).mean(dim=(2, 3)).reshape(len(x), -1, 2)
        logits: torch.Tensor = self.head(pooled.mean(dim=1))
        return logits


def test_a_network_that_goes_slice_by_slice_has_a_map_of_each() -> None:
    network = _SliceBySlice().eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights.fill_(0.5)
    image = torch.zeros(1, 32, 24, 7)
    image[0, 12:16, 20:24, 5] = 1.0
    found, layer = grad_cam(network, image, 1)
    assert layer == "layer"
    assert found.shape == (8, 6, 7)
    assert [int(at) for at in np.unravel_index(found.argmax(), found.shape)] == [3, 5, 5]


def test_a_layer_looks_where_its_strides_and_padding_say() -> None:
    """Three convolutions of stride 2, width 3 and padding 1 look at 8 n, not at 8 n + 3.5."""
    steps = [torch.nn.Conv2d(1 if at == 0 else 4, 4, 3, 2, 1) for at in range(3)]
    pooling = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)]
    network = torch.nn.Sequential(*steps, *pooling).eval()
    np.testing.assert_allclose(shift_of(network, torch.zeros(1, 96, 64)), (-3.5, -3.5), atol=0.05)
    evenly = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 8, 8), *pooling).eval()
    np.testing.assert_allclose(shift_of(evenly, torch.zeros(1, 96, 64)), (0.0, 0.0), atol=0.05)


def test_boxes_fall_as_monais_do() -> None:
    network = _network("resnet10", (64, 48, 1), widen_factor=0.125)
    image = _image(64, 48)
    found, _ = occlusion(network, image, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about MONAI's way to index
        covered, _ = OcclusionSensitivity(
            network,
            mask_size=[8, 6],
            n_batch=64,
            verbose=False,
            mode="mean_img",
            overlap=0.5,
            activate=False,
        )(image[None])
    with torch.inference_mode():
        whole = float(network(image[None])[0, 1])
    wanted = np.maximum(whole - covered[0, 1].numpy(), 0.0)[2::4, 1::3]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
