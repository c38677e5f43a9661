"""Where a training starts: at random weights, at those of another run or file, or at its own checkpoint."""

from dataclasses import replace
from pathlib import Path

import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.files import digest_of
from lepton_monai.networks.build import build_network
from lepton_monai.networks.transfer import LoadReport, load_weights
from lepton_monai.networks.weights import read_weights, weights_file
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import Plan
from lepton_monai.plans.run import Run
from lepton_monai.training.checkpoint import newest_checkpoint, restore
from lepton_monai.training.segmentation import segmentation_training
from lepton_monai.training.training import Training

SHAPE = ("name", "channels", "kernels", "strides", "supervised", "arguments")
"""What a network has to have in common with the weights that it starts from."""


def with_weights(options: PlanOptions, weights: Path | None) -> PlanOptions:
    """Let the plan have the network of the run that it starts from, unless the user gave another.

    Raises
    ------
    InputError
        There are no weights.
    """
    if weights is None:
        return options
    given = {"network.weights_sha256": digest_of(weights_file(weights))}
    if Run(weights).plan_path.is_file():
        network = Run(weights).plan().network
        given |= {f"network.{name}": getattr(network, name) for name in SHAPE}
    origins = dict.fromkeys(set(given) - set(options.given), "of the weights that it starts from")
    return replace(options, given=given | dict(options.given), origins=origins)


def started(plan: Plan, device: torch.device, weights: Path | None) -> tuple[Training, LoadReport | None]:
    """Return a training at its first step, and what became of the weights that were given.

    Raises
    ------
    ConfigError
        The plan was made for other weights, or for none.
    WeightsError
        They can't be read, or fit nothing in the network.
    """
    digest = digest_of(weights_file(weights)) if weights is not None else ""
    if digest != plan.network.weights_sha256:
        message = (
            f"The plan starts from weights with the SHA-256 {plan.network.weights_sha256 or '(none)'}, "
            f"given are {digest or '(none)'}: --from, or network.weights."
        )
        raise ConfigError(message)
    if weights is None:
        return segmentation_training(plan, device), None
    network = build_network(plan.network, len(plan.classes), plan.training.patch_size)
    report = load_weights(network, read_weights(weights), source=weights.name)
    return segmentation_training(plan, device, network, report.pretrained), report


def resumed(plan: Plan, device: torch.device, run: Run) -> Training:
    """Return a training at its newest whole checkpoint.

    Raises
    ------
    InputError
        There is none, or the training is finished.
    """
    checkpoint = newest_checkpoint(run)
    training = segmentation_training(plan, device, pretrained=checkpoint.record["pretrained"])
    restore(training, checkpoint)
    return training
