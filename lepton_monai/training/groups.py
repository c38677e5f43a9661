"""What moves how fast: parameter groups for fine-tuning, and parts that stay as they are."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.patterns import matches
from lepton_monai.core.wording import nearest

NORMS = (
    torch.nn.modules.batchnorm._NormBase,  # the one name for all batch and instance norms
    torch.nn.GroupNorm,
    torch.nn.LayerNorm,
)


def parameter_groups(
    network: torch.nn.Module, factors: Mapping[str, float], learning_rate: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Sort the parameters into groups of an optimizer.

    Norms and biases, and all that has one axis, don't decay. Frozen parameters are sorted in too, so that
    they move once they are unfrozen: without a gradient an optimizer leaves them alone.

    Parameters
    ----------
    network
        Whose parameters.
    factors
        Of the rate, by the name of a parameter; 1 where none is given.
    learning_rate
        That they are multiplied with.
    weight_decay
        Of what decays.

    Returns
    -------
    groups
        Two for each factor, none empty, each with its ``factor``: a schedule multiplies its rate by it.
    """
    sorted_in: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    for name, parameter, decays in _parameters(network):
        sorted_in.setdefault((factors.get(name, 1.0), decays), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * factor,
            "factor": factor,
            "weight_decay": weight_decay if decays else 0.0,
        }
        for (factor, decays), parameters in sorted(sorted_in.items(), reverse=True)
    ]


def fitting(network: torch.nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the names of the parameters that fit one of the patterns.

    Parameters
    ----------
    network
        Whose parameters.
    patterns
        Of parameter names, with ``*`` and ``?``: ``layer1.*``.

    Raises
    ------
    ConfigError
        A pattern fits none.
    """
    names = [name for name, _ in network.named_parameters()]
    for pattern in patterns:
        if not any(matches(name, pattern) for name in names):
            near = nearest(pattern, names)
            message = f"No parameter fits the pattern `{pattern}`; the nearest name is `{near}`."
            raise ConfigError(message)
    return [name for name in names if any(matches(name, pattern) for pattern in patterns)]


def let_learn(network: torch.nn.Module, names: Collection[str]) -> None:
    """Let these parameters have gradients and no others: what has none costs no time and doesn't move.

    Norms among the others keep their running figures under `train_mode`.
    """
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in names)


def train_mode(network: torch.nn.Module) -> torch.nn.Module:
    """Put a network into training mode, but for frozen norms.

    A norm in training mode would normalise by the batch and move its running mean and variance, though its
    parameters are frozen: the frozen part would then be another network.
    """
    network.train()
    for module in network.modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, NORMS) and own and not any(parameter.requires_grad for parameter in own):
            module.eval()
    return network


def _parameters(network: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter, bool]]:
    """Yield name, parameter and whether it decays; a shared parameter once, as torch does."""
    within_norms = {
        id(parameter)
        for module in network.modules()
        if isinstance(module, NORMS)
        for parameter in module.parameters(recurse=False)
    }
    for name, parameter in network.named_parameters():
        is_weight = parameter.ndim > 1 and not name.endswith("bias")
        yield name, parameter, is_weight and id(parameter) not in within_norms
