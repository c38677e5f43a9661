"""Where a classifier looked: Grad-CAM and occlusion, as coarse maps that lie over the network's input.

MONAI has both. Its `GradCAM` hooks a module by name: of the module that EfficientNet-B0 uses at both of its
ends it mixes up the gradients, and one that is changed in place afterwards it refuses; so tensors are
followed here instead. Its `OcclusionSensitivity` indexes in a way that torch has given another meaning to.
Where MONAI's run, tests compare with them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from itertools import product
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lepton_monai.core.errors import ConfigError

Method = Literal["gradcam", "occlusion"]

Cells = NDArray[np.float32]
"""``(x, y[, z])``: cells that cover the network's input evenly; 0 is no evidence for the class."""

SMALLEST = 6
"""Cells along each axis that a layer needs: a network for 224 pixels ends in 7, a small image in one, which
has no place. In phantoms of 32 voxels, 4 cells put the peak inside the lesion in a quarter, 8 in all."""

SMALL = 1e-3
"""Of the noise that shows where a layer looks: no activation is closed or at its limit there, and unlike in
a constant image the largest of some values isn't always the first."""

Shift = tuple[float, ...]
"""Along x, y[, z], in voxels of the network's input."""

WIDEST = 4.0
"""How far the strides of a layer may differ between axes, before its axes are taken for something else."""

OCCLUDED_CELLS = {2: 16, 3: 8}
"""Along each axis of a flat and of a deep image: 225 and 343 boxes of two cells a side."""

BATCH = 32
"""Occluded images that are predicted together."""


class Layer(NamedTuple):
    """What a module has put out."""

    name: str
    values: torch.Tensor


def grad_cam(network: torch.nn.Module, image: torch.Tensor, class_id: int) -> tuple[Cells, str]:
    """Weigh the channels of the last layer that has places by how they move the logit of a class.

    Parameters
    ----------
    network
        In evaluation mode.
    image
        ``(channel, x, y[, z])``.
    class_id
        Whose evidence is wanted.

    Returns
    -------
    cells, layer
        The map and the name of the module that it is of.

    Raises
    ------
    ConfigError
        The network has no such layer: it works on tokens.

    Notes
    -----
    R. R. Selvaraju et al., Grad-CAM, ICCV 2017. The layer is the last one that all of the image passes
    through and that has `SMALLEST` cells along each axis. A network that takes a volume slice by slice has
    a map of each slice.
    """
    images = image[None].detach().clone().requires_grad_()
    with torch.enable_grad(), _kept_outputs(network) as outputs:
        logits = network(images)
        layer = _last_with_places(outputs, logits, images)
        (gradient,) = torch.autograd.grad(logits[0, class_id], layer.values)
    places = tuple(range(2, layer.values.ndim))
    weighed = gradient.mean(dim=places, keepdim=True) * layer.values
    found = torch.relu(weighed.sum(dim=1)).detach().float().cpu()
    laid = found.permute(1, 2, 0) if layer.values.ndim < images.ndim else found[0]
    return np.ascontiguousarray(laid.numpy()), layer.name


def occlusion(network: torch.nn.Module, image: torch.Tensor, class_id: int) -> tuple[Cells, str]:
    """Cover the image box by box with its mean, and see how far the logit of a class falls.

    Parameters
    ----------
    network
        In evaluation mode; of any kind.
    image
        ``(channel, x, y[, z])``.
    class_id
        Whose evidence is wanted.

    Returns
    -------
    cells, layer
        The map: of each cell the mean over the boxes that cover it; and no layer.

    Notes
    -----
    M. D. Zeiler and R. Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014. Boxes
    overlap by half, so that a thing that lies between two is covered by a third.
    """
    sides = image.shape[1:]
    counts = [min(OCCLUDED_CELLS[len(sides)], side) for side in sides]
    edges = [
        np.rint(np.linspace(0, side, count + 1)).astype(int)
        for side, count in zip(sides, counts, strict=True)
    ]
    corners = list(product(*(range(max(count - 1, 1)) for count in counts)))
    fill = image.mean(dim=tuple(range(1, image.ndim)), keepdim=True)
    fallen, times = np.zeros(counts), np.zeros(counts)
    with torch.inference_mode():
        whole = network(image[None])[0, class_id]
        for start in range(0, len(corners), BATCH):
            batch = corners[start : start + BATCH]
            images = image.expand(len(batch), *image.shape).clone()
            for one, corner in zip(images, batch, strict=True):
                one[(slice(None), *_box(corner, edges))] = fill
            drops = (whole - network(images)[:, class_id]).double().cpu().numpy()
            for corner, drop in zip(batch, drops, strict=True):
                covered = tuple(slice(at, at + 2) for at in corner)
                fallen[covered] += drop
                times[covered] += 1
    return np.maximum(fallen / times, 0.0).astype(np.float32), ""


METHODS: dict[Method, Callable[[torch.nn.Module, torch.Tensor, int], tuple[Cells, str]]] = {
    "gradcam": grad_cam,
    "occlusion": occlusion,
}


def _box(corner: tuple[int, ...], edges: list[NDArray[np.int64]]) -> tuple[slice, ...]:
    return tuple(
        slice(int(one[at]), int(one[min(at + 2, len(one) - 1)]))
        for at, one in zip(corner, edges, strict=True)
    )


def shift_of(network: torch.nn.Module, image: torch.Tensor) -> Shift:
    """Measure how far from the middle of the image the middle of Grad-CAM's layer looks.

    A convolution with a stride of 2, a width of 3 and one voxel of padding looks at the voxels 0, 2, 4, ...
    and not at 0.5, 2.5, 4.5, ...: five of them in a row are 15.5 voxels off, half of a cell. The centre of
    the squared gradient of the layer's middle says where it looks (Luo et al., Understanding the Effective
    Receptive Field, NeurIPS 2016), whatever the network is made of.

    Parameters
    ----------
    network
        In evaluation mode, with a layer for `grad_cam`.
    image
        ``(channel, x, y[, z])``: its shape counts.

    Returns
    -------
    shift
        In voxels of the network's input; 0 where no gradient arrives.
    """
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)).to(image.device)
    images = (SMALL * (1.0 + noise))[None].requires_grad_()
    even = _with_even_weights(network)
    with torch.enable_grad(), _kept_outputs(even) as outputs:
        logits = even(images)
        layer = _last_with_places(outputs, logits, images).values
        middle = layer[(slice(None), slice(None), *(_inner(side) for side in layer.shape[2:]))]
        (gradient,) = torch.autograd.grad(middle.sum(), images)
    weights = (gradient[0] / gradient.abs().max()).square().sum(dim=0).double().cpu().numpy()
    if not np.isfinite(weights).all():
        return (0.0,) * weights.ndim
    centre = ndimage.center_of_mass(weights)
    return tuple(float(at - (side - 1) / 2) for at, side in zip(centre, weights.shape, strict=True))


def _with_even_weights(network: torch.nn.Module) -> torch.nn.Module:
    """Return a copy in which every filter is a mean, so that where it looks is a matter of its shape."""
    even = deepcopy(network)
    with torch.no_grad():
        for name, weights in even.named_parameters():
            usual = 0.0 if name.endswith("bias") else 1.0
            weights.fill_(1.0 / weights[0].numel() if weights.ndim > 1 else usual)
    for module in even.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):  # their only common name
            module.reset_running_stats()
    return even


def _inner(side: int) -> slice:
    """Return the middle half: the cells at the border look at what is cut off."""
    return slice(side // 4, side - side // 4)


@contextmanager
def _kept_outputs(network: torch.nn.Module) -> Iterator[list[Layer]]:
    """Keep what every module puts out, in order."""
    outputs: list[Layer] = []

    def keep(name: str, module: torch.nn.Module, _inputs: Any, output: Any) -> None:
        pads = type(module).__module__ == "torch.nn.modules.padding"  # its cells have no place in the image
        if isinstance(output, torch.Tensor) and output.grad_fn is not None and not pads:
            outputs.append(Layer(name, output))

    handles = [
        module.register_forward_hook(partial(keep, name)) for name, module in network.named_modules()
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def _last_with_places(outputs: list[Layer], logits: torch.Tensor, images: torch.Tensor) -> Layer:
    extents = images.shape[2:]
    best, fullest = None, 0.0
    for layer in reversed(outputs):
        sides = _sides(layer.values, images)
        if max(sides, default=1) == 1 or not _all_passes(layer.values, logits, images):
            continue
        if not _lies_as(extents, sides[: layer.values.ndim - 2]):
            break  # tokens, or channels where a side should be: nothing before keeps its place
        fullness = min(side / min(SMALLEST, extent) for side, extent in zip(sides, extents, strict=True))
        if fullness > fullest:
            best, fullest = layer, fullness
        if fullness >= 1.0:
            break
    if best is None:
        message = (
            "Grad-CAM needs a layer that is laid out as the image is, and this network works on tokens. "
            "Give --method occlusion: it serves every network."
        )
        raise ConfigError(message)
    return best


def _sides(values: torch.Tensor, images: torch.Tensor) -> tuple[int, ...]:
    """Return the cells of a layer along each axis; of tokens their number; of features nothing."""
    if values.ndim == images.ndim:
        return tuple(values.shape[2:])
    slices = images.shape[-1] if images.ndim == 5 else 1
    if values.ndim == 4 and images.ndim == 5 and len(values) == slices:
        return (*values.shape[2:], slices)
    is_tokens = values.ndim == 3 and values.shape[1] not in {1, slices}
    return (values.shape[1],) if is_tokens else ()


def _lies_as(extents: Sequence[int], sides: Sequence[int]) -> bool:
    strides = [extent / side for extent, side in zip(extents, sides, strict=False) if side > 1]
    return len(sides) > 1 and min(strides) >= 1.0 and max(strides) <= WIDEST * min(strides)


def _all_passes(values: torch.Tensor, logits: torch.Tensor, images: torch.Tensor) -> bool:
    """Tell whether the logits know the image through this tensor alone: no shortcut goes around it."""
    seen = {values.grad_fn}
    waiting = [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node in seen or node is None:
            continue
        if getattr(node, "variable", None) is images:
            return False
        seen.add(node)
        waiting += [before for before, _ in node.next_functions]
    return True
