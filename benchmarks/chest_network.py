"""The chest CT ResNet-152: opened, or random; its features, a linear probe, its last stage tuned."""

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, softplus

from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.networks.known import KnownWeights, find_known
from lepton_monai.networks.transfer import LoadReport, load_weights, turn_kernels
from lepton_monai.networks.weights import read_weights
from lepton_monai.plans.classification import ClassifierPlan, InputPlan, ScalePlan
from lepton_monai.plans.plan import Triple
from lepton_monai.training.groups import parameter_groups
from lepton_monai.training.seeds import seeded

Array = NDArray[Any]
Scores = NDArray[np.float64]

BEFORE_LAST = ("conv1", "bn1", "act", "maxpool", "layer1", "layer2", "layer3")
BATCH = 8

SETTLED_ON = 32
"""Crops of the training patients that the norms of a random network take their mean and variance from:
without them the signal of 50 blocks on top of each other leaves the range of numbers."""

TUNING_BATCH = 16
NEW_RATE = 2e-3
PRETRAINED_FACTOR = 0.1
WEIGHT_DECAY = 0.02
CLIP_NORM = 5.0
"""These are what `lepton train` plans for a classifier."""

DECAYS = tuple(10.0**power for power in range(-3, 4))
"""Of the probe, tried on parts of the training patients."""

PARTS = 4


def random_network(known: KnownWeights, size: Triple, seed: int) -> torch.nn.Module:
    """Build the network of the weights for one channel and one logit, with random weights."""
    plan = InputPlan(size, None, 1, ScalePlan("none", 0.0, 1.0, (0.0,), (1.0,)))
    with seeded(seed):
        return build_classifier(ClassifierPlan(known.network, dict(known.arguments)), plan, 1).eval()


def pretrained_network(
    known: KnownWeights, size: Triple, folder: Path | None
) -> tuple[torch.nn.Module, LoadReport]:
    """Build the same with the weights, and say what became of them.

    Raises
    ------
    WeightsError
        They aren't here: what to install, or what to put where.
    """
    network = random_network(known, size, 0)
    weights = read_weights(find_known(known.name, folder))
    return network, load_weights(network, turn_kernels(weights, known.axes), source=known.name)


def settle(network: torch.nn.Module, images: torch.Tensor) -> None:
    """Take the mean and variance of all norms anew, over some images in one batch."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.reset_running_stats()
            module.momentum = None  # those of the batch alone
    network.train()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        network(images)
    network.eval()


def settle_random(network: torch.nn.Module, images: Array) -> None:
    """Settle the norms of a random network on training crops, drawn with a fixed seed."""
    drawn = np.random.default_rng(0).permutation(len(images))[:SETTLED_ON]
    settle(network, _batch(images[drawn]))


def features(network: torch.nn.Module, images: Array) -> tuple[Array, Array]:
    """Return what enters the last stage, ``(n, 1024, x, y, z)``, and its pooled output ``(n, 2048)``."""
    network = network.to(memory_format=torch.channels_last_3d)
    before, after = [], []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(images), BATCH):
            x = _batch(images[start : start + BATCH])
            for name in BEFORE_LAST:
                x = network.get_submodule(name)(x)
            before.append(x.half().numpy())
            pooled = network.get_submodule("layer4")(x).mean(dim=(2, 3, 4))
            after.append(pooled.half().numpy())
    return np.concatenate(before), np.concatenate(after)


def _batch(images: Array) -> torch.Tensor:
    image = torch.from_numpy(images).float().unsqueeze(1)
    return image.contiguous(memory_format=torch.channels_last_3d)


def probe(values: Array, labels: Array, patients: Array, wanted: Array) -> tuple[Scores, float]:
    """Fit a logistic regression and return its scores of `wanted`, and the decay.

    The decay is the one with the least loss on parts of the training patients, each left out once.

    Parameters
    ----------
    values, labels, patients
        ``(n, features)``, ``(n,)``, ``(n,)``: of the training.
    wanted
        ``(m, features)``: of others.
    """
    names = np.random.default_rng(0).permutation(np.unique(patients))
    parts = [np.isin(patients, part) for part in np.array_split(names, min(PARTS, len(names)))]

    def loss(decay: float) -> float:
        losses = []
        for part in parts:
            scores = _logistic(values[~part], labels[~part], decay)(values[part])
            losses.append(_cross_entropy(scores, labels[part]))
        return float(np.mean(losses))

    decay = min(DECAYS, key=loss)
    return _logistic(values, labels, decay)(wanted), decay


def _logistic(values: Array, labels: Array, decay: float) -> Callable[[Array], Scores]:
    """Fit on standardised features: mean cross-entropy, and half the decay times the squared weights."""
    values = values.astype(np.float64)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation[deviation == 0] = 1.0
    # So that the decay means the same for 4 features and for 2048.
    deviation *= values.shape[1] ** 0.5

    def standardised(raw: Array) -> Scores:
        return np.asarray((raw.astype(np.float64) - mean) / deviation)

    x = standardised(values)

    def loss(weights: Scores) -> tuple[float, Scores]:
        scores = x @ weights[1:] + weights[0]
        error = (expit(scores) - labels) / len(labels)
        value = _cross_entropy(scores, labels) + decay / 2 * float(weights[1:] @ weights[1:])
        return value, np.concatenate([[error.sum()], x.T @ error + decay * weights[1:]])

    fitted = minimize(
        loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 1000}
    )
    return lambda raw: np.asarray(standardised(raw) @ fitted.x[1:] + fitted.x[0])


def _cross_entropy(scores: Array, labels: Array) -> float:
    return float(np.mean(softplus(scores) - labels * scores))


@dataclass(frozen=True)
class Tuning:
    """How the last stage is trained.

    Parameters
    ----------
    steps
        Batches, half of each class.
    rate
        Of the stage; that of the head is `NEW_RATE`. Both fall to 0 as a cosine.
    seed
        Of the head and of the order.
    """

    steps: int
    rate: float
    seed: int


def tune(network: torch.nn.Module, values: Array, labels: Array, wanted: Array, how: Tuning) -> Scores:
    """Train the last stage and a new head on cached outputs of the stage before; return scores of `wanted`.

    Parameters
    ----------
    network
        A copy of whose last stage is trained.
    values, labels
        ``(n, 1024, x, y, z)`` and ``(n,)``: of the training.
    wanted
        ``(m, 1024, x, y, z)``: of others.
    """
    with seeded(how.seed):
        head = torch.nn.Linear(network.get_submodule("fc").in_features, 1)
    parts = {"layer4": deepcopy(network.get_submodule("layer4")), "pool": torch.nn.AdaptiveAvgPool3d(1)}
    last = torch.nn.Sequential(OrderedDict(parts | {"flat": torch.nn.Flatten(), "head": head}))
    last.to(memory_format=torch.channels_last_3d)
    stage = [name for name, _ in last.named_parameters() if name.startswith("layer4.")]
    groups = parameter_groups(last, stage, NEW_RATE, how.rate / NEW_RATE, WEIGHT_DECAY)
    optimizer = torch.optim.AdamW(groups, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, how.steps)
    generator = np.random.default_rng(how.seed)
    kinds = [np.flatnonzero(labels == kind) for kind in (0, 1)]
    last.train()
    for _ in range(how.steps):
        rows = np.concatenate([generator.choice(kind, TUNING_BATCH // 2, replace=False) for kind in kinds])
        # In float32: on the CPU torch 2.13's bfloat16 gradient of a 3 x 3 x 3 kernel on 2 x 2 x 2 voxels is
        # wrong, now and then infinite (here: 88 % off, or up to 7e35).
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            last(_maps(values[rows]))[:, 0], torch.from_numpy(labels[rows]).float()
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(last.parameters(), CLIP_NORM)
        optimizer.step()
        schedule.step()
    if not all(bool(parameter.isfinite().all()) for parameter in last.parameters()):
        message = f"The tuning with seed {how.seed} has diverged: a weight is no number."
        raise SystemExit(message)
    settle(last, _maps(values))
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        scores = [last(part)[:, 0].float() for part in _maps(wanted).split(TUNING_BATCH)]
    return torch.cat(scores).double().numpy()


def _maps(values: Array) -> torch.Tensor:
    return torch.from_numpy(values).float().contiguous(memory_format=torch.channels_last_3d)
