"""A segmentation network's encoder as a classifier: its weights load as they are."""

from pathlib import Path

import torch
from safetensors.torch import save_model

from lepton_monai.networks.build import Ends, build_network
from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.networks.encoder import DynUNetEncoder
from lepton_monai.networks.transfer import load_weights
from lepton_monai.networks.weights import read_weights
from lepton_monai.plans.classification import ClassifierPlan, InputPlan, ScalePlan
from lepton_monai.plans.plan import NetworkPlan

SIZE = (32, 24, 16)
PLAN = NetworkPlan(
    "dynunet",
    channels=(4, 8, 12, 16),
    kernels=((3, 3, 1), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 1, 2)),
    supervised=2,
)


def test_the_weights_of_a_segmentation_give_the_encoder_its_features(tmp_path: Path) -> None:
    whole = build_network(PLAN, Ends(1, 3, SIZE)).eval()
    save_model(whole, str(tmp_path / "whole.safetensors"))
    weights = read_weights(tmp_path / "whole.safetensors")
    arguments = {"channels": PLAN.channels, "kernels": PLAN.kernels, "strides": PLAN.strides}
    scale = ScalePlan("none", 0.0, 1.0, (0.0,), (1.0,))
    network = build_classifier(
        ClassifierPlan("dynunet-encoder", arguments), InputPlan(SIZE, None, 1, scale), 3
    )
    assert isinstance(network, DynUNetEncoder)
    report = load_weights(network, weights, source="run")
    assert report.adapted == ()
    assert [change.name for change in report.new] == ["head.weight", "head.bias"]
    assert {name.split(".")[0] for name in report.matched} == {"input_block", "downsamples", "bottleneck"}
    ways_up = {"upsamples", "output_block", "deep_supervision_heads", "skip_layers"}
    assert {name.split(".")[0] for name in report.unused} <= ways_up
    kept: list[torch.Tensor] = []
    whole.get_submodule("bottleneck").register_forward_hook(lambda _, __, output: kept.append(output))
    image = torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole(image)
        features = network.eval().features(image)
        assert features.shape == (2, 16, 4, 6, 4)
        assert torch.equal(features, kept[0])
        pooled = kept[0].mean(dim=(2, 3, 4))
        true = pooled @ network.head.weight.T + network.head.bias
        assert torch.allclose(network(image), true, atol=1e-6)
