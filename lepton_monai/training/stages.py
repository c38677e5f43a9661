"""The stages of a network: in which order its parts learn, and how fast."""

import re
from collections.abc import Collection, Sequence
from itertools import groupby

import torch

from lepton_monai.core.errors import ConfigError
from lepton_monai.networks.fusion import HEADS, FusedClassifier
from lepton_monai.plans.recipe import Recipe

NUMBERED = re.compile(r"(?:[^.\d]*\.)*?[^.]*\d[^.]*")
"""The beginning of a name up to its first part with a number: ``layer1``, ``_blocks.3``."""

Stages = Sequence[Sequence[str]]
"""Names of parameters, from the first stage to the last."""


def stages_of(network: torch.nn.Module, names: Collection[str]) -> list[list[str]]:
    """Sort parameters into the stages of their network.

    A stage is a numbered part of several layers, such as ``layer1`` of a ResNet, ``_blocks.3`` of an
    EfficientNet, ``features.denseblock2`` of a DenseNet, ``blocks.11`` of a ViT or ``downsamples.0`` of a
    DynUNet. Single layers belong to the stage before them; those before the first are a stage, the stem.
    Where all numbered parts are single layers, as in a VGG, each of them is a stage.

    Parameters
    ----------
    network
        Whose parameters; their order in it is the order of the stages.
    names
        Which of them; others, and names of buffers, are left out.

    Returns
    -------
    stages
        From the first to the last, none empty.
    """
    every = [name for name, _ in network.named_parameters()]
    layers: dict[str, set[str]] = {}
    for name in every:
        layers.setdefault(_part(name), set()).add(name.rpartition(".")[0])
    begins = {part for part, held in layers.items() if part and len(held) > 1} or set(layers) - {""}
    stage, placed = "", []
    for name in every:
        stage = _part(name) if _part(name) in begins else stage
        placed.append((stage, name))
    stages = [[name for _, name in held] for _, held in groupby(placed, key=lambda one: one[0])]
    kept = ([name for name in stage if name in names] for stage in stages)
    return [stage for stage in kept if stage]


def all_but_last(network: torch.nn.Module, names: Collection[str] | None = None) -> frozenset[str]:
    """Return the names of parameters, of all or of those given, without those of the last layer.

    Of a fused classifier these are its heads.
    """
    every = [name for name, _ in network.named_parameters()]
    last = HEADS if isinstance(network, FusedClassifier) else (every[-1].rpartition(".")[0],)
    prefixes = tuple(f"{layer}." for layer in last)
    return frozenset(name for name in (every if names is None else names) if not name.startswith(prefixes))


def rate_factors(stages: Stages, recipe: Recipe) -> dict[str, float]:
    """Return what the rate of each pretrained parameter is multiplied by.

    The last stage learns with `pretrained_rate`, each one before it with `layer_decay` times the rate of
    the next.

    Notes
    -----
    Discriminative fine-tuning: Howard and Ruder, Universal Language Model Fine-tuning for Text
    Classification, ACL 2018, section 3.2.
    """
    return {
        name: recipe.pretrained_rate * recipe.layer_decay**before
        for before, stage in enumerate(reversed(stages))
        for name in stage
    }


def first_steps(names: Sequence[str], stages: Stages, recipe: Recipe) -> dict[str, int]:
    """Return the step from which on each parameter learns; one that never does is left out.

    Parameters
    ----------
    names
        Of all parameters that aren't frozen for good.
    stages
        Of what came from other weights.
    recipe
        Under `gradual` new parameters learn at once, then one stage after the other from the last to the
        first, which learns after the share `thawing` of the steps. Under `probe` new ones learn alone.

    Raises
    ------
    ConfigError
        Nothing came from other weights, and the recipe is about that.

    Notes
    -----
    Gradual unfreezing: Howard and Ruder, ACL 2018, section 3.3.
    """
    if recipe.fine_tuning == "all":
        return dict.fromkeys(names, 0)
    if not stages:
        message = (
            f"plan.training.fine_tuning is `{recipe.fine_tuning}`, but nothing came from other weights: "
            "give some (--from, or network.weights), or write `all`."
        )
        raise ConfigError(message)
    pretrained = {name for stage in stages for name in stage}
    new = [name for name in names if name not in pretrained]
    if recipe.fine_tuning == "probe":
        return dict.fromkeys(new, 0)
    able = set(names)
    thawed = [[name for name in part if name in able] for part in (new, *reversed(stages))]
    parts = [part for part in thawed if part]
    last = recipe.thawing * recipe.steps / max(1, len(parts) - 1)
    # What thaws with the end of the steps still learns in the last one.
    starts = [min(round(number * last), recipe.steps - 1) for number in range(len(parts))]
    return {name: start for start, part in zip(starts, parts, strict=True) for name in part}


def _part(name: str) -> str:
    """Return the numbered part of a network that a parameter lies in; none: empty."""
    found = NUMBERED.match(name.rpartition(".")[0])
    return found[0] if found else ""
