"""Where a classifier looked in a case, and whether that has anything to do with what it learned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats

from lepton_monai.cases.case import Case
from lepton_monai.data.class_sampler import network_input
from lepton_monai.data.clinical import encoded
from lepton_monai.data.inputs import SourceImage, samples_of
from lepton_monai.data.source_maps import on_source, outside_share
from lepton_monai.inference.classifier import Classifier, ClassMember
from lepton_monai.inference.saliency import METHODS, Cells, Method, shift_of
from lepton_monai.networks.fusion import FusedClassifier, OfImage, build_planned

UNCHANGED = 0.7
"""Rank correlation with the map of a random network: above it, half of the variance of the ranks (0.7
squared) is there without anything learned. Adebayo et al. name no threshold; this one is ours."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the evidence for a class lies.

    Parameters
    ----------
    array
        float32, 0 to 1, on the axes of the `SourceImage`: ``(x, y, z)``, or ``(x, y, 1)`` of a picture.
        All 0 where nothing speaks for the class.
    layers
        Of Grad-CAM: of each network the module whose output was looked at.
    outside
        Share of the map where the network's input went on beyond the image; NaN of an empty map.
    similarity
        Spearman's correlation of the map with the one of the same network before any training, mean over
        the networks; NaN where a map is empty.
    """

    array: NDArray[np.float32]
    layers: tuple[str, ...]
    outside: float
    similarity: float


def untrained(model: Classifier) -> Classifier:
    """Return the same networks with the weights of torch's own generator.

    Notes
    -----
    J. Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018: a map that stays the same when all
    weights are random shows the image, not what the network looks for.
    """
    return replace(model, members=tuple(_untrained(one, model.device) for one in model.members))


def _untrained(member: ClassMember, device: torch.device) -> ClassMember:
    plan = member.plan
    return replace(member, network=build_planned(plan).eval().to(device))


def explanation_of(
    model: Classifier,
    random: Classifier,
    case: Case,
    source: SourceImage,
    class_id: int,
    method: Method,
) -> Explanation:
    """Say where the evidence for a class lies: the mean over all networks, each brought to 1 before.

    Clinical values count as missing, where a network wants to know them: an image is explained.

    Parameters
    ----------
    model
        Trained.
    random
        The same, `untrained`.
    case, source
        Whose image, and the image.
    class_id
        For which class.
    method
        Grad-CAM or occlusion.

    Raises
    ------
    ConfigError
        Grad-CAM of a network that works on tokens.
    """
    maps, outside, alike, layers = [], [], [], []
    for member, other in zip(model.members, random.members, strict=True):
        images = _images(member, case, source, model.device)
        network, untaught = _of_image(member, model.device), _of_image(other, model.device)
        found = [METHODS[method](network, image, class_id) for image in images]
        before = [METHODS[method](untaught, image, class_id)[0] for image in images]
        cells = [one for one, _ in found]
        alike.append(_rank_correlation(cells, before))
        layers.append(found[0][1])
        shift = shift_of(network, images[0]) if method == "gradcam" else (0.0,) * cells[0].ndim
        place = (shift, source.array.shape, source.spacing_mm, member.plan.input)
        outside.append(np.array([outside_share(one, *place) for one in cells]))
        laid = [on_source(one, *place) for one in cells]
        maps.append(_to_one(laid[0] if laid[0].ndim == 3 else np.stack(laid, axis=2)))
    array = _to_one(np.mean(maps, axis=0, dtype=np.float32))
    shares = np.concatenate(outside)
    known = shares[~np.isnan(shares)]
    return Explanation(
        array,
        tuple(layers) if method == "gradcam" else (),
        float(known.mean()) if known.size else float("nan"),
        float(np.mean(alike)),
    )


def _images(
    member: ClassMember, case: Case, source: SourceImage, device: torch.device
) -> list[torch.Tensor]:
    plan = member.plan
    samples = samples_of(case, source, plan.input, plan.source.level, None)
    arrays = [torch.from_numpy(one.array.astype(np.float32)[None]) for one in samples]
    return [network_input(one, is_flat=plan.input.is_flat).to(device) for one in arrays]


def _of_image(member: ClassMember, device: torch.device) -> torch.nn.Module:
    network = member.network
    if not isinstance(network, FusedClassifier):
        return network
    missing = torch.from_numpy(encoded(None, member.plan.clinical))
    return OfImage(network, missing).eval().to(device)


def _rank_correlation(cells: Sequence[Cells], others: Sequence[Cells]) -> float:
    first, second = (np.concatenate([one.ravel() for one in maps]) for maps in (cells, others))
    if not np.ptp(first) or not np.ptp(second):
        return float("nan")
    return float(stats.spearmanr(first, second).statistic)


def _to_one(array: NDArray[np.float32]) -> NDArray[np.float32]:
    highest = float(array.max())
    return array / np.float32(highest) if highest > 0 else array
