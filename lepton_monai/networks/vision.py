"""Flat networks of timm and torchvision by their names there; both are extras, and nothing is fetched."""

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.wording import nearest
from lepton_monai.plans.classification import InputPlan

COLOURS = 3

MAIN_OUTPUT: dict[str, dict[str, Any]] = {
    name: {"aux_logits": False, "init_weights": True} for name in ("googlenet", "inception_v3")
}
"""Without the second classifier of a training; and initialised as in their papers, which is asked for."""

_FETCHING = ("pretrained", "weights", "checkpoint", "cache_dir")
"""How arguments begin that fetch weights, or open a file past our border for them."""


def from_timm(name: str, plan: InputPlan, classes: int, arguments: dict[str, Any]) -> torch.nn.Module:
    """Build a network of timm with random weights.

    Raises
    ------
    ConfigError
        timm isn't there.
    ValueError
        It has no such network, the input has three axes, or an argument would fetch weights.
    """
    timm = _extra("timm", "timm")
    _require_plain(plan, arguments)
    if not timm.is_model(name):  # a name on a hub would be looked up there
        message = f"timm has no network {name}; the nearest is {nearest(name, timm.list_models())}"
        raise ValueError(message)
    network: torch.nn.Module = timm.create_model(
        name, pretrained=False, in_chans=plan.channels, num_classes=classes, **arguments
    )
    return network


def from_torchvision(
    name: str, plan: InputPlan, classes: int, arguments: dict[str, Any]
) -> torch.nn.Module:
    """Build a classifier of torchvision with random weights; a grey image is its three colours.

    Raises
    ------
    ConfigError
        torchvision isn't there.
    ValueError
        It has no such classifier, the input has three axes, or an argument would fetch weights.
    """
    models = _extra("torchvision.models", "torchvision")
    _require_plain(plan, arguments)
    known = models.list_models(module=models)
    if name not in known:
        message = f"torchvision has no classifier {name}; the nearest is {nearest(name, known)}"
        raise ValueError(message)
    network: torch.nn.Module = models.get_model(
        name, weights=None, num_classes=classes, **(arguments | MAIN_OUTPUT.get(name, {}))
    )
    if plan.channels == 1:
        network.register_forward_pre_hook(_as_colours)
    return network


def _as_colours(_: torch.nn.Module, images: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (images[0].expand(-1, COLOURS, -1, -1),)


def _require_plain(plan: InputPlan, arguments: Mapping[str, Any]) -> None:
    if not plan.is_flat:
        message = "it sees two axes, the input has three: put `slices:` before its name"
        raise ValueError(message)
    fetching = [name for name in arguments if name.startswith(_FETCHING)]
    if fetching:
        message = f"`{fetching[0]}` would fetch or open weights: give their file as network.weights"
        raise ValueError(message)


def _extra(module: str, package: str) -> ModuleType:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        why = "isn't installed"
        cause: Exception = error
    except (ImportError, RuntimeError) as error:  # its binary parts are of another build of torch
        why = f"doesn't fit torch {torch.__version__}"
        cause = error
    message = (
        f"`{package}:NAME` needs {package}, which {why}: "
        f'pip install -c constraints-vision.txt "lepton_monai[{package}]"'
    )
    raise ConfigError(message) from cause
