"""Stages of real networks: their order, their rates, and the step from which on each learns."""

from dataclasses import replace

import pytest
import torch
from monai.networks import nets

from lepton_monai.core.errors import ConfigError
from lepton_monai.networks.build import network_of
from lepton_monai.networks.efficientnet import EfficientNetLite0
from lepton_monai.networks.fusion import build_planned
from lepton_monai.plans.classification import ClassTrainingPlan, ClinicalPlan, NumberPlan
from lepton_monai.training.classification import classification_training
from lepton_monai.training.seeds import seeded
from lepton_monai.training.segmentation import segmentation_training
from lepton_monai.training.stages import (
    all_but_last,
    first_steps,
    rate_factors,
    stages_of,
)
from lepton_monai.training.training import Training
from tests.plans.class_examples import example_classification
from tests.plans.examples import example_plan

CPU = torch.device("cpu")


def _recipe(**changes: object) -> ClassTrainingPlan:
    return replace(example_classification().training, **changes)  # type: ignore[arg-type] # whatever it has


def _resnet() -> torch.nn.Module:
    return nets.resnet10(spatial_dims=2, n_input_channels=1, num_classes=2, widen_factor=0.125)


def _dynunet() -> torch.nn.Module:
    three = [3, 3, 3]
    return nets.DynUNet(3, 1, 2, [three] * 4, [1, 2, 2, 2], [2, 2, 2], filters=[2, 4, 4, 4])


def _vgg() -> torch.nn.Module:
    """Return numbered layers without parts, named as torchvision does."""
    features = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Conv2d(2, 2, 3))
    layers = {"features": features, "classifier": torch.nn.Sequential(torch.nn.Linear(2, 2))}
    return torch.nn.ModuleDict(layers)


RESNET = ["conv1.weight", *(f"layer{number}.0.conv1.weight" for number in (1, 2, 3, 4))]


@pytest.mark.parametrize(
    ("network", "begin"),
    [
        (_resnet(), RESNET),
        (
            EfficientNetLite0(1, 2),
            [
                "_conv_stem.weight",
                "_blocks.0._depthwise_conv.weight",
                *(f"_blocks.{number}._expand_conv.weight" for number in range(1, 16)),
            ],
        ),
        (
            nets.DenseNet121(2, 1, 2, block_config=(1, 1)),
            [
                "features.conv0.weight",
                "features.denseblock1.denselayer1.layers.norm1.weight",
                "features.transition1.norm.weight",
                "features.denseblock2.denselayer1.layers.norm1.weight",
            ],
        ),
        (
            nets.ViT(1, (32, 32), (16, 16), 24, 24, 3, 2, spatial_dims=2, classification=True),
            ["cls_token", *(f"blocks.{number}.mlp.linear1.weight" for number in range(3))],
        ),
        (
            _dynunet(),
            [
                "input_block.conv1.conv.weight",
                *(f"downsamples.{number}.conv1.conv.weight" for number in (0, 1)),
                *(f"upsamples.{number}.transp_conv.conv.weight" for number in (0, 1, 2)),
            ],
        ),
        (_vgg(), ["features.0.weight", "features.2.weight"]),
        (torch.nn.ModuleDict({"a": torch.nn.Linear(1, 1), "b": torch.nn.Linear(1, 1)}), ["a.weight"]),
    ],
    ids=["resnet", "efficientnet", "densenet", "vit", "dynunet", "vgg", "without numbers"],
)
def test_a_stage_begins_where_the_network_says(network: torch.nn.Module, begin: list[str]) -> None:
    names = [name for name, _ in network.named_parameters()]
    pretrained = all_but_last(network)
    stages = stages_of(network, pretrained)
    assert [stage[0] for stage in stages] == begin
    assert [name for stage in stages for name in stage] == [name for name in names if name in pretrained]
    assert 0 < len(names) - len(pretrained) <= 2


def test_the_norm_after_the_last_block_belongs_to_it_and_what_is_not_pretrained_to_none() -> None:
    network = nets.DenseNet121(2, 1, 2, block_config=(1, 1))
    names = all_but_last(network) - {
        "features.conv0.weight",
        "features.norm0.weight",
        "features.norm0.bias",
    }
    stages = stages_of(network, names | {"features.norm5.running_mean"})
    assert len(stages) == 3
    assert stages[-1][-1] == "features.norm5.bias"


def test_the_last_layers_of_a_fused_classifier_are_all_its_heads() -> None:
    clinical = ClinicalPlan("file", (NumberPlan("age", 0.0, 1.0),), (), 0.1, 8)
    network = build_planned(replace(example_classification(), clinical=clinical))
    every = {name for name, _ in network.named_parameters()}
    parts = {name.partition(".")[0] for name in every - all_but_last(network)}
    assert parts == {"of_both", "of_image", "of_values"}
    assert {name.partition(".")[0] for name in all_but_last(network)} == {"image", "values"}


def test_the_rate_falls_by_a_factor_a_stage() -> None:
    factors = rate_factors([["a"], ["b", "c"], ["d"]], _recipe(pretrained_rate=0.2, layer_decay=0.5))
    assert factors == pytest.approx({"d": 0.2, "b": 0.1, "c": 0.1, "a": 0.05})


def test_a_first_step_moves_every_stage_by_its_own_rate() -> None:
    """Adam's first step is the learning rate, whatever the gradient."""
    plan = example_classification(
        pretrained_rate=0.5, layer_decay=0.5, learning_rate=0.1, warm_up_steps=0, weight_decay=0.0
    )
    with seeded(0):
        network = _resnet()
        training = classification_training(
            plan, CPU, network, [name for name, _ in network.named_parameters()]
        )
        moved = _moved(training, torch.randn(4, 1, 32, 32), torch.eye(2).repeat(2, 1))
    wanted = {"fc.": 0.1} | {f"layer{stage}.": 0.05 * 0.5 ** (4 - stage) for stage in (1, 2, 3, 4)}
    for part, rate in (wanted | {"conv1": 0.05 / 16, "bn1": 0.05 / 16}).items():
        assert max(far for name, far in moved.items() if name.startswith(part)) == pytest.approx(
            rate, rel=0.01
        )


def test_stages_of_a_segmentation_learn_at_rates_of_their_own() -> None:
    plan = example_plan()
    changes = {"pretrained_rate": 0.5, "layer_decay": 0.5, "learning_rate": 0.1, "warm_up_steps": 0}
    plan = replace(plan, training=replace(plan.training, weight_decay=0.0, **changes))  # type: ignore[arg-type]
    with seeded(0):
        network = _dynunet()
        training = segmentation_training(plan, CPU, network, all_but_last(network))
        moved = _moved(training, torch.randn(2, 1, 16, 16, 16), torch.ones(2, 1, 16, 16, 16))
    wanted = {"output_block.": 0.1, "upsamples.2.": 0.05, "downsamples.0.": 0.05 / 16, "input_": 0.05 / 32}
    for part, rate in wanted.items():
        assert max(far for name, far in moved.items() if name.startswith(part)) == pytest.approx(
            rate, rel=0.01
        )


def test_stages_thaw_from_the_last_to_the_first_over_the_share_of_the_steps() -> None:
    stages, names = [["stem"], ["one"], ["two", "three"]], ["stem", "one", "two", "three", "new"]
    recipe = _recipe(fine_tuning="gradual", thawing=0.6, steps=100)
    assert first_steps(names, stages, recipe) == {"new": 0, "two": 20, "three": 20, "one": 40, "stem": 60}
    assert first_steps(names[:-1], stages, recipe) == {"two": 0, "three": 0, "one": 30, "stem": 60}
    without = ["stem", "two", "three", "new"]  # `one` is frozen for good
    assert first_steps(without, stages, recipe) == {"new": 0, "two": 30, "three": 30, "stem": 60}
    assert first_steps(names, stages, _recipe(fine_tuning="probe")) == {"new": 0}
    assert first_steps(names, stages, _recipe()) == dict.fromkeys(names, 0)


@pytest.mark.parametrize("tuning", ["probe", "gradual"])
def test_a_recipe_about_other_weights_wants_some(tuning: str) -> None:
    plan = example_classification(fine_tuning=tuning)
    with pytest.raises(
        ConfigError, match=f"fine_tuning is `{tuning}`, but nothing came from other weights"
    ):
        classification_training(plan, CPU, build_planned(plan))


def test_a_segmentation_that_is_new_in_nothing_has_nothing_to_probe() -> None:
    plan = example_plan()
    plan = replace(plan, training=replace(plan.training, fine_tuning="probe"))
    network = network_of(plan)
    with pytest.raises(
        ConfigError, match="leaves nothing to learn: `fine_tuning` is probe, `frozen` is empty"
    ):
        segmentation_training(plan, CPU, network, [name for name, _ in network.named_parameters()])


def test_several_processes_refuse_what_changes_the_set_of_parameters() -> None:
    plan = example_plan()
    plan = replace(plan, training=replace(plan.training, fine_tuning="gradual"))
    network = network_of(plan)
    alone = torch.distributed.HashStore()  # type: ignore[attr-defined] # torch's stubs lack it
    torch.distributed.init_process_group("gloo", store=alone, rank=0, world_size=1)
    try:
        with pytest.raises(ConfigError, match="`gradual` is for one process"):
            segmentation_training(plan, CPU, network, all_but_last(network))
    finally:
        torch.distributed.destroy_process_group()


def _moved(training: Training, image: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    """Return how far one step moves each parameter at most."""
    before = {name: one.detach().clone() for name, one in training.network.named_parameters()}
    training.advance(image, target)
    after = training.network.named_parameters()
    return {name: float((one.detach() - before[name]).abs().max()) for name, one in after}
