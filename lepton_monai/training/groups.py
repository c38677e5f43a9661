"""What moves how fast: parameter groups for fine-tuning, and parts that stay as they are."""

from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.patterns import matches

NORMS = (
    torch.nn.modules.batchnorm._NormBase,  # the one name for all batch and instance norms
    torch.nn.GroupNorm,
    torch.nn.LayerNorm,
)


def parameter_groups(
    network: torch.nn.Module,
    names_pretrained: Collection[str],
    learning_rate: float,
    pretrained_factor: float,
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Sort the parameters into groups of an optimizer.

    Pretrained parameters learn more slowly; norms and biases, and all that has one axis, don't decay.
    Frozen parameters are sorted in too, so that they move once they are unfrozen: without a gradient an
    optimizer leaves them alone.

    Parameters
    ----------
    network
        Whose parameters.
    names_pretrained
        `LoadReport.pretrained`; names of buffers among them say nothing.
    learning_rate
        Of new parameters.
    pretrained_factor
        Of the rate of pretrained ones, 0 to 1.
    weight_decay
        Of what decays.

    Returns
    -------
    groups
        Up to four, none empty, each with ``name``, and ``factor``: a schedule multiplies its rate by it.
    """
    sorted_in: dict[tuple[str, str], list[torch.nn.Parameter]] = {}
    for name, parameter, decays in _parameters(network):
        origin = "pretrained" if name in names_pretrained else "new"
        sorted_in.setdefault((origin, "decay" if decays else "no decay"), []).append(parameter)
    groups = []
    for (origin, decay), parameters in sorted(sorted_in.items()):
        factor = pretrained_factor if origin == "pretrained" else 1.0
        groups.append(
            {
                "name": f"{origin}, {decay}",
                "params": parameters,
                "lr": learning_rate * factor,
                "factor": factor,
                "weight_decay": weight_decay if decay == "decay" else 0.0,
            }
        )
    return groups


def freeze(network: torch.nn.Module, patterns: Sequence[str]) -> list[str]:
    """Keep parameters as they are; norms among them keep their running figures under `train_mode`.

    Parameters
    ----------
    network
        Whose parameters.
    patterns
        Of parameter names, with ``*`` and ``?``: ``layer1.*``.

    Returns
    -------
    names
        Of the parameters that fit.

    Raises
    ------
    ConfigError
        A pattern fits none.
    """
    return _set_learning(network, patterns, learns=False)


def unfreeze(network: torch.nn.Module, patterns: Sequence[str]) -> list[str]:
    """Let parameters learn again; otherwise like `freeze`."""
    return _set_learning(network, patterns, learns=True)


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


def _set_learning(network: torch.nn.Module, patterns: Sequence[str], *, learns: bool) -> list[str]:
    parameters = dict(network.named_parameters())
    for pattern in patterns:
        if not any(matches(name, pattern) for name in parameters):
            near = get_close_matches(pattern, parameters, n=1, cutoff=0.0)
            message = f"No parameter fits the pattern `{pattern}`; the nearest name is `{', '.join(near)}`."
            raise ConfigError(message)
    names = [name for name in parameters if any(matches(name, pattern) for pattern in patterns)]
    for name in names:
        parameters[name].requires_grad_(learns)
    return names


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
