"""A flat network on every slice, pooled by attention."""

import pytest
import torch

from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.networks.slices import FEATURES, SliceClassifier
from lepton_monai.networks.transfer import load_weights
from lepton_monai.plans.classification import ClassifierPlan, InputPlan, ScalePlan

SLICES = 10


def _input(slices: int) -> InputPlan:
    return InputPlan((32, 40, slices), None, 1, ScalePlan("none", 0.0, 1.0, (0.0,), (1.0,)))


def _network(classes: int = 3) -> SliceClassifier:
    torch.random.set_rng_state(torch.Generator().manual_seed(2).get_state())
    plan = ClassifierPlan("slices:resnet10", {"widen_factor": 0.125})
    network = build_classifier(plan, _input(SLICES), classes)
    assert isinstance(network, SliceClassifier)
    return network


def _volumes(seed: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 1, 32, 40, SLICES, generator=generator)


def test_permuted_slices_permute_the_attention_and_leave_the_logits() -> None:
    network, volumes = _network().eval(), _volumes(1)
    order = torch.randperm(SLICES, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        weights, logits = network.attention(network.features(volumes)), network(volumes)
        permuted = network.attention(network.features(volumes[..., order]))
        assert torch.allclose(permuted, weights[:, order], atol=1e-6)
        assert torch.allclose(network(volumes[..., order]), logits, atol=1e-5)
    assert weights.shape == (2, SLICES)
    assert torch.allclose(weights.sum(dim=1), torch.ones(2))
    assert weights.std() > 1e-5


def test_the_attention_is_the_formula_of_its_paper() -> None:
    attention = _network().attention
    features = torch.randn(2, SLICES, FEATURES, generator=torch.Generator().manual_seed(1))
    state = attention.state_dict()
    scores = torch.empty(2, SLICES)
    for bag in range(2):
        for member in range(SLICES):
            h = features[bag, member]
            content = (state["content.weight"] @ h + state["content.bias"]).tanh()
            gate = 1 / (1 + (-(state["gate.weight"] @ h + state["gate.bias"])).exp())
            scores[bag, member] = state["score.weight"][0] @ (content * gate)
    true = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
    with torch.inference_mode():
        assert torch.allclose(attention(features), true, atol=1e-6)


def test_weights_of_the_flat_network_find_their_place_by_themselves() -> None:
    arguments = {"widen_factor": 0.125}
    flat = build_classifier(ClassifierPlan("resnet10", arguments), _input(1), 1000)
    network = _network()
    report = load_weights(network, flat.state_dict(), source="flat")
    assert (report.removed_prefix, report.added_prefix) == ("", "backbone.")
    assert report.unused == ()
    assert report.adapted == ()
    assert len(report.matched) == len(flat.state_dict()) - 2
    new = {change.name for change in report.new}
    assert {"backbone.fc.weight", "backbone.fc.bias", "head.weight", "head.bias"} < new
    assert all(name.startswith(("backbone.fc.", "attention.", "head.")) for name in new)
    # The features of a slice are what the flat network says of it.
    image = _volumes(1)[..., 0]
    network.eval()
    with torch.no_grad():
        flat.get_submodule("fc").weight = torch.nn.Parameter(network.backbone.state_dict()["fc.weight"])
        flat.get_submodule("fc").bias = torch.nn.Parameter(network.backbone.state_dict()["fc.bias"])
        true = flat.eval()(image)
        assert torch.allclose(network.features(image[..., None])[:, 0], true, atol=1e-5)


@pytest.mark.slow
def test_the_attention_finds_the_one_slice_that_matters() -> None:
    """Half of the volumes hold a bright square on one drawn slice, all of them noise."""
    generator = torch.Generator().manual_seed(5)
    network = _network(classes=2)
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(150):
        volumes, positive, _ = _drawn(16, generator)
        loss = torch.nn.functional.cross_entropy(network.train()(volumes), positive.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    volumes, positive, where = _drawn(200, generator)
    network.eval()
    with torch.inference_mode():
        right = (network(volumes).argmax(dim=1) == positive).float().mean().item()
        found = network.attention(network.features(volumes[positive])).argmax(dim=1) == where[positive]
    share = found.float().mean().item()
    print(f"right {right:.2f}, the slice found in {share:.2f}")
    assert right > 0.9
    assert share > 0.9


def _drawn(count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    volumes = torch.randn(count, 1, 32, 40, SLICES, generator=generator)
    positive = torch.rand(count, generator=generator) < 0.5
    where = torch.randint(SLICES, (count,), generator=generator)
    for volume, holds, k in zip(volumes, positive, where, strict=True):
        if holds:
            i, j = (int(torch.randint(4, most, (1,), generator=generator)) for most in (20, 28))
            volume[0, i : i + 8, j : j + 8, k] += 2.0
    return volumes, positive, where
