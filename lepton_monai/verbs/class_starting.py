"""Where a classifier starts: at random, known or given weights, or at its own checkpoint."""

from dataclasses import replace
from pathlib import Path

import torch

from lepton_monai.config.classification import ELSEWHERE, SLICES, ClassifierSection
from lepton_monai.core.errors import ConfigError
from lepton_monai.core.files import digest_of
from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.networks.known import find_known, known_weights
from lepton_monai.networks.transfer import LoadReport, load_weights, turn_kernels
from lepton_monai.networks.weights import read_weights, weights_file
from lepton_monai.plans.classification import ClassificationPlan, ClassifierPlan
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.run import CLASSIFICATION, Run
from lepton_monai.training.checkpoint import newest_checkpoint, restore
from lepton_monai.training.classification import classification_training
from lepton_monai.training.training import Training

PICTURE_AXES = "ji"
"""Of the kernels of timm and torchvision: rows and columns; a run of ours has them turned already."""


def weights_path(section: ClassifierSection) -> Path | None:
    """Return the file or folder of the weights to start from; None: random ones.

    Raises
    ------
    WeightsError
        Known weights aren't on this machine: what to fetch, and where to put it.
    """
    if section.weights is None:
        return None
    if section.weights in known_weights():
        return find_known(section.weights, section.weights_dir)
    return Path(section.weights)


def with_start(options: PlanOptions, section: ClassifierSection) -> PlanOptions:
    """Let the plan have the network, and the scale of values, that the weights were trained with.

    Raises
    ------
    InputError
        There are no weights.
    ConfigError
        They are those of a segmentation that no classifier has a part of.
    """
    path = weights_path(section)
    if path is None or section.weights is None:
        return options
    found = {"network.weights_sha256": digest_of(weights_file(path))}
    known = known_weights().get(section.weights)
    # Where a file lies is no part of a plan: its digest says which it is.
    start: dict[str, object] = {"network.weights": known.name if known else "a file"}
    if known is not None:
        arguments = {name: value for name, value in known.arguments.items() if name != "spatial_dims"}
        start |= {"network.name": known.network, "network.arguments": arguments}
        start |= {f"input.scale.{name}": value for name, value in known.intensity.scale.items()}
    elif Run(path).plan_path.is_file():
        network = _network_of(Run(path))
        start |= {"network.weights": "a run", "network.name": network.name}
        start["network.arguments"] = dict(network.arguments)
    if section.name.removeprefix(SLICES) not in {"", start.get("network.name")}:
        start.pop("network.arguments", None)  # they are another network's
    given = found | start | dict(options.given)
    origins = dict.fromkeys(set(given) - set(options.given), "of the weights that it starts from")
    return replace(options, given=given, origins=origins)


def _network_of(run: Run) -> ClassifierPlan:
    """Return the classifier of a run, or that of the encoder of a segmentation."""
    if run.task == CLASSIFICATION:
        return run.classification_plan().network
    network = run.plan().network
    if network.name != "dynunet":
        message = f"{run.folder} segments by `{network.name}`; a classifier can start from `dynunet` alone."
        raise ConfigError(message)
    levels = {
        "channels": list(network.channels),
        "kernels": [list(kernel) for kernel in network.kernels],
        "strides": [list(stride) for stride in network.strides],
    }
    return ClassifierPlan("dynunet-encoder", levels)


def started(
    plan: ClassificationPlan, device: torch.device, section: ClassifierSection
) -> tuple[Training, LoadReport | None]:
    """Return a training at its first step, and what became of the weights that were given.

    Raises
    ------
    ConfigError
        The plan was made for other weights, or for none.
    WeightsError
        They can't be read, or fit nothing in the network.
    """
    path = weights_path(section)
    digest = digest_of(weights_file(path)) if path is not None else ""
    if digest != plan.network.weights_sha256:
        message = (
            f"The plan starts from weights with the SHA-256 {plan.network.weights_sha256 or '(none)'}, "
            f"given are {digest or '(none)'}: --from, or network.weights."
        )
        raise ConfigError(message)
    if path is None:
        return classification_training(plan, device), None
    network = build_classifier(plan.network, plan.input, len(plan.classes))
    weights = read_weights(path)
    known = known_weights().get(section.weights or "")
    if known is not None:
        weights = turn_kernels(weights, known.axes)
    elif plan.network.name.removeprefix(SLICES).startswith(ELSEWHERE) and not Run(path).plan_path.is_file():
        weights = turn_kernels(weights, PICTURE_AXES)
    report = load_weights(network, weights, source=known.name if known else path.name)
    return classification_training(plan, device, network, report.pretrained), report


def resumed(plan: ClassificationPlan, device: torch.device, run: Run) -> Training:
    """Return a training at its newest whole checkpoint.

    Raises
    ------
    InputError
        There is none, or the training is finished.
    """
    checkpoint = newest_checkpoint(run)
    training = classification_training(plan, device, pretrained=checkpoint.record["pretrained"])
    restore(training, checkpoint)
    return training
