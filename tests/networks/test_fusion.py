"""A classifier of image and clinical values together, and of each alone."""

from dataclasses import replace

import pytest
import torch

from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.networks.fusion import FusedClassifier, build_planned
from lepton_monai.networks.transfer import load_weights
from lepton_monai.plans.classification import ClassificationPlan, ClassifierPlan, ClinicalPlan, NumberPlan
from tests.plans.class_examples import example_classification


def _plan(name: str = "resnet10") -> ClassificationPlan:
    plan = example_classification()
    arguments = {"widen_factor": 0.125} if name == "resnet10" else {}
    return replace(
        plan,
        input=replace(plan.input, size=(32, 32, 1)),
        network=ClassifierPlan(name, arguments),
        clinical=ClinicalPlan("file", (NumberPlan("age", 0.0, 1.0),), (), 0.1, 8),
    )


def _built(name: str = "resnet10") -> FusedClassifier:
    network = build_planned(_plan(name))
    assert isinstance(network, FusedClassifier)
    return network


@pytest.mark.parametrize("name", ["resnet10", "efficientnet-lite0", "vit"])
def test_any_network_of_images_can_be_one_part(name: str) -> None:
    network = _built(name)
    inputs = torch.rand(3, 1, 32, 32), torch.rand(3, 2)
    assert [one.shape for one in network.train()(inputs)] == [(3, 2)] * 3
    assert network.eval()(inputs).shape == (3, 2)


def test_each_part_alone_knows_nothing_of_the_other_and_both_together_of_both() -> None:
    network = _built().eval()
    image, values = torch.rand(3, 1, 32, 32), torch.rand(3, 2)
    with torch.no_grad():
        both, of_image, of_values = network.heads((image, values))
        other_values = network.heads((image, values + 1))
        other_image = network.heads((image + torch.rand(3, 1, 32, 32), values))
        assert torch.equal(network((image, values)), both)
    assert torch.equal(of_image, other_values[1])
    assert torch.equal(of_values, other_image[2])
    for changed in (other_values[0], other_image[0], other_image[1], other_values[2]):
        assert not any(torch.equal(changed, one) for one in (both, of_image, of_values))


def test_without_clinical_values_the_network_is_that_of_images() -> None:
    network = build_planned(replace(_plan(), clinical=None))
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 2)


def test_weights_of_a_network_of_images_come_into_the_image_part() -> None:
    plan = _plan()
    trained = build_classifier(plan.network, plan.input, 5)
    network = _built()
    report = load_weights(network, trained.state_dict(), source="another run")
    assert report.added_prefix == "image."
    assert {change.name for change in report.new if change.name.startswith("image.")} == {
        "image.fc.weight",
        "image.fc.bias",
    }
    assert torch.equal(network.state_dict()["image.conv1.weight"], trained.state_dict()["conv1.weight"])
    back = build_classifier(plan.network, plan.input, 5)
    assert load_weights(back, network.state_dict(), source="a fused run").removed_prefix == "image."
