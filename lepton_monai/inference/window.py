"""The network over a whole volume: a sliding window, mirrored where the plan says so."""

from collections.abc import Iterator
from itertools import combinations

import torch
from monai.inferers import sliding_window_inference

from lepton_monai.plans.plan import Plan


def class_probabilities(
    network: torch.nn.Module, image: torch.Tensor, plan: Plan, device: torch.device
) -> torch.Tensor:
    """Predict a prepared image.

    Parameters
    ----------
    network
        In evaluation mode, on `device`.
    image
        float32 ``(channel, x, y, z)``; where it is smaller than the patch its border goes on.
    plan
        Patch, overlap, mirroring.
    device
        Where to compute.

    Returns
    -------
    probabilities : float32 tensor ``(class, x, y, z)``
        The mean over all mirrorings.
    """
    batch = image[None].to(device)
    total: torch.Tensor | None = None
    count = 0
    with torch.inference_mode():
        for axes in mirrorings(plan.prediction.mirror_axes):
            logits = sliding_window_inference(
                torch.flip(batch, axes),
                roi_size=plan.training.patch_size,
                sw_batch_size=plan.training.batch_size,
                predictor=network,
                overlap=plan.prediction.overlap,
                mode="gaussian",
                padding_mode="replicate",
            )
            if not isinstance(logits, torch.Tensor):
                message = "a network with one output gives one tensor"
                raise TypeError(message)
            found = torch.flip(torch.softmax(logits.float(), dim=1), axes)
            total = found if total is None else total + found
            count += 1
    if total is None:
        message = "there is always the image as it is"
        raise RuntimeError(message)
    return total[0] / count


def mirrorings(axes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Yield every subset of the axes as axes of a batch ``(1, 1, x, y, z)``; the empty one first."""
    for count in range(len(axes) + 1):
        for chosen in combinations(axes, count):
            yield tuple(axis + 2 for axis in chosen)
