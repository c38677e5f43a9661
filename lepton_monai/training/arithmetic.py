"""Whether the convolutions of a network compute what they should at a lower precision, on this machine.

torch 2.13 with oneDNN on CPUs with AVX-512 gives wrong weight gradients (infinite, or by their whole size)
of a 3 x 3 x 3 convolution in bfloat16 where the first axis has two voxels, and hides it well: clipping
turns an infinite gradient into no step. So a lower precision is tried before it is trusted.
"""

from collections.abc import Iterator

import torch

from lepton_monai.data.batch import Inputs

MOST_DIFFERENCE = 0.05
"""Of a weight's gradient from that in float32, by its norm; rounding to bfloat16 alone makes 0.003."""

CONVOLUTIONS = (
    torch.nn.Conv2d,
    torch.nn.Conv3d,
    torch.nn.ConvTranspose2d,
    torch.nn.ConvTranspose3d,
)


def wrong_convolution(
    network: torch.nn.Module, inputs: Inputs, dtype: torch.dtype, layout: torch.memory_format
) -> str:
    """Return the name of a convolution whose weight gradient is wrong at a precision; empty: none is.

    Parameters
    ----------
    network
        On the CPU; its parameters and gradients stay as they are.
    inputs
        Of one step.
    dtype
        To try, under autocast.
    layout
        Of the memory of images and kernels.
    """
    tried: set[object] = set()
    for name, module, shape in _shapes(network, inputs):
        like = (type(module), shape, module.weight.shape, module.stride, module.padding, module.groups)
        if like not in tried:
            tried.add(like)
            if _difference(module, shape, dtype, layout) > MOST_DIFFERENCE:
                return name
    return ""


def _shapes(
    network: torch.nn.Module, inputs: Inputs
) -> Iterator[tuple[str, torch.nn.Conv3d, tuple[int, ...]]]:
    """Yield name, convolution and shape of its input, of all that a forward pass goes through."""
    seen: list[tuple[str, torch.nn.Conv3d, tuple[int, ...]]] = []
    handles = [
        module.register_forward_pre_hook(
            lambda module, given, name=name: seen.append((name, module, tuple(given[0].shape)))
        )
        for name, module in network.named_modules()
        if isinstance(module, CONVOLUTIONS)
    ]
    was_training = network.training
    try:
        with torch.no_grad():
            network.eval()(inputs)
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    yield from seen


def _difference(
    module: torch.nn.Conv3d, shape: tuple[int, ...], dtype: torch.dtype, layout: torch.memory_format
) -> float:
    """Return by what share the weight's gradient differs from that in float32; infinite: no number."""
    generator = torch.Generator().manual_seed(0)
    flat = len(shape) == 4
    if layout != torch.contiguous_format:
        layout = torch.channels_last if flat else torch.channels_last_3d
    image = torch.randn(shape, generator=generator).contiguous(memory_format=layout)
    weight = module.weight.detach().clone(memory_format=layout).requires_grad_()
    found = []
    for lower in (False, True):
        with torch.autocast("cpu", dtype=dtype, enabled=lower):
            out = torch.func.functional_call(module, {"weight": weight}, (image,))
        wanted = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
        (gradient,) = torch.autograd.grad(out.float(), weight, wanted)
        found.append(gradient.double())
    exact, rounded = found
    difference = float((rounded - exact).norm() / exact.norm().clamp_min(1e-30))
    return difference if difference == difference else float("inf")  # noqa: PLR0124 - NaN isn't itself
