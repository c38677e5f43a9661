"""Where a training starts: at random, known or given weights, or at its own checkpoint."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from lepton_monai.config.classification import ELSEWHERE, SLICES
from lepton_monai.config.schema import WeightsSection
from lepton_monai.core.errors import ConfigError
from lepton_monai.core.files import digest_of
from lepton_monai.networks.known import find_known, known_weights
from lepton_monai.networks.transfer import LoadReport, load_weights, turn_kernels
from lepton_monai.networks.weights import read_weights, weights_file
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.run import Run
from lepton_monai.training.checkpoint import newest_checkpoint, restore
from lepton_monai.training.training import Training
from lepton_monai.verbs.training_task import TrainingTask

PICTURE_AXES = "ji"
"""Of the kernels of timm and torchvision: rows and columns; a run of ours has them turned already."""


def weights_path(section: WeightsSection) -> Path | None:
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


def with_weights(options: PlanOptions, path: Path, network: dict[str, Any]) -> PlanOptions:
    """Let the plan have the digest of the weights that it starts from, and what their network asks for.

    Parameters
    ----------
    options
        Of the user, which win.
    path
        Of the weights.
    network
        Values of the plan that follow from the weights, by dotted names.
    """
    found = {"network.weights_sha256": digest_of(weights_file(path)), **network}
    origins = dict.fromkeys(set(found) - set(options.given), "of the weights that it starts from")
    return replace(options, given=found | dict(options.given), origins=origins)


def started(
    task: TrainingTask[Any, Any, Any], plan: Any, device: torch.device
) -> tuple[Training, LoadReport | None]:
    """Return a training at its first step, and what became of the weights that were given.

    Raises
    ------
    ConfigError
        The plan was made for other weights, or for none.
    WeightsError
        They can't be read, or fit nothing in the network.
    """
    section = task.config.network
    path = weights_path(section)
    digest = digest_of(weights_file(path)) if path is not None else ""
    if digest != plan.network.weights_sha256:
        message = (
            f"The plan starts from weights with the SHA-256 {plan.network.weights_sha256 or '(none)'}, "
            f"given are {digest or '(none)'}: --from, or network.weights."
        )
        raise ConfigError(message)
    network = task.network(plan)
    if path is None:
        return task.training(plan, device, network), None
    weights = read_weights(path)
    known = known_weights().get(section.weights or "")
    if known is not None:
        weights = turn_kernels(weights, known.axes)
    elif plan.network.name.removeprefix(SLICES).startswith(ELSEWHERE) and not Run(path).plan_path.is_file():
        weights = turn_kernels(weights, PICTURE_AXES)
    report = load_weights(network, weights, source=known.name if known else path.name)
    return task.training(plan, device, network, report.pretrained), report


def resumed(task: TrainingTask[Any, Any, Any], plan: Any, device: torch.device, run: Run) -> Training:
    """Return a training at its newest whole checkpoint.

    Raises
    ------
    InputError
        There is none, or the training is finished.
    """
    checkpoint = newest_checkpoint(run)
    training = task.training(plan, device, task.network(plan), checkpoint.record["pretrained"])
    restore(training, checkpoint)
    return training
