"""Where a classifier starts: at random, known or given weights, or at its own checkpoint."""

from dataclasses import replace
from pathlib import Path

import torch

from lepton_monai.config.classification import ClassifierSection
from lepton_monai.core.errors import ConfigError
from lepton_monai.core.files import digest_of
from lepton_monai.networks.classifiers import CLASSIFIERS
from lepton_monai.networks.fusion import build_planned
from lepton_monai.networks.known import find_known, known_weights
from lepton_monai.networks.transfer import LoadReport, load_weights, turn_kernels
from lepton_monai.networks.weights import read_weights, weights_file
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.run import CLASSIFICATION, Run
from lepton_monai.training.checkpoint import newest_checkpoint, restore
from lepton_monai.training.classification import classification_training
from lepton_monai.training.training import Training


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
    """
    path = weights_path(section)
    if path is None or section.weights is None:
        return options
    found = {"network.weights_sha256": digest_of(weights_file(path))}
    known = known_weights().get(section.weights)
    # Where a file lies is no part of a plan: its digest says which it is.
    start: dict[str, object] = {"network.weights": known.name if known else "a file"}
    if known is not None and known.network in CLASSIFIERS:
        arguments = {name: value for name, value in known.arguments.items() if name != "spatial_dims"}
        start |= {"network.name": known.network, "network.arguments": arguments}
        if known.intensity.mean:
            start["input.scale.mean"] = list(known.intensity.mean)
            start["input.scale.deviation"] = list(known.intensity.deviation)
    elif Run(path).plan_path.is_file() and Run(path).task == CLASSIFICATION:
        network = Run(path).classification_plan().network
        start |= {"network.weights": "a run", "network.name": network.name}
        start["network.arguments"] = dict(network.arguments)
    given = found | start | dict(options.given)
    origins = dict.fromkeys(set(given) - set(options.given), "of the weights that it starts from")
    return replace(options, given=given, origins=origins)


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
    network = build_planned(plan)
    weights = read_weights(path)
    known = known_weights().get(section.weights or "")
    if known is not None:
        weights = turn_kernels(weights, known.axes)
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
