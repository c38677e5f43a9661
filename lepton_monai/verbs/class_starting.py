"""What a classifier takes over from the weights that it starts from: its network and its scale."""

from lepton_monai.config.classification import SLICES, ClassifierSection
from lepton_monai.core.errors import ConfigError
from lepton_monai.networks.known import known_weights
from lepton_monai.plans.classification import ClassifierPlan
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.run import CLASSIFICATION, Run
from lepton_monai.verbs.starting import weights_path, with_weights


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
    return with_weights(options, path, start)


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
