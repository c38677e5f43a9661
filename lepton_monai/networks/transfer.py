"""Weights of one network into another: matched by name, adapted where the shape allows it, and reported."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product

import torch

from lepton_monai.core.errors import WeightsError
from lepton_monai.networks.weights import first_names, listed, shown

Shape = tuple[int, ...]

SHARED_BY = 0.1
"""A prefix is tried when at least this share of the names has it: an encoder beside a large decoder."""

DEEPEST_PREFIX = 5
"""Parts that a prefix may have."""


@dataclass(frozen=True)
class Change:
    """One tensor of the network that didn't come as it is.

    Parameters
    ----------
    name
        In the network.
    found, wanted
        Its shape in the file, None where it isn't there, and in the network.
    how
        What was done.
    """

    name: str
    found: Shape | None
    wanted: Shape
    how: str

    def __str__(self) -> str:
        """Return one line, fit for a terminal."""
        shapes = f"{self.wanted}" if self.found is None else f"{self.found} -> {self.wanted}"
        return f"{shown(self.name)} {shapes}: {self.how}"


@dataclass(frozen=True)
class LoadReport:
    """What became of the tensors of a file, and of those of a network.

    Parameters
    ----------
    source
        Where the weights come from, for a person.
    matched
        Taken as they are; names in the network.
    adapted
        Taken after a change.
    new
        Of the network, left as initialised: not in the file, or of a shape that nothing leads to.
    unused
        Of the file, without a place in the network; names in the file.
    removed_prefix, added_prefix
        What was taken from, and put before, the file's names.
    """

    source: str
    matched: tuple[str, ...]
    adapted: tuple[Change, ...]
    new: tuple[Change, ...]
    unused: tuple[str, ...]
    removed_prefix: str = ""
    added_prefix: str = ""

    @property
    def pretrained(self) -> frozenset[str]:
        """Names in the network of what came from the file."""
        return frozenset(self.matched) | {change.name for change in self.adapted}

    def text(self, most: int = 8) -> str:
        """Return lines for a terminal: the counts, then at most so many names of a kind."""
        reshaped = [change for change in (*self.adapted, *self.new) if change.found is not None]
        held = len(self.matched) + len(reshaped) + len(self.unused)
        lines = [
            f"{self.source}: {len(self.matched)} of {held} tensors as they are, "
            f"{len(self.adapted)} adapted, {len(self.new)} new, {len(self.unused)} not used"
        ]
        if self.removed_prefix or self.added_prefix:
            lines.append(
                f"  prefix: `{shown(self.removed_prefix)}` of the file is `{self.added_prefix}` here"
            )
        for word, changes in (("adapted", self.adapted), ("new", self.new)):
            lines += [f"  {word}: {change}" for change in changes[:most]]
            if len(changes) > most:
                lines.append(f"  {word}: and {len(changes) - most} more")
        if self.unused:
            lines.append(f"  not used: {listed(map(shown, self.unused), most)}")
        return "\n".join(lines)


def load_weights(
    network: torch.nn.Module, weights: Mapping[str, torch.Tensor], *, source: str
) -> LoadReport:
    """Put weights into a network, as far as they fit, and say what was done.

    A tensor fits by its name, after a prefix that many names share (``module.``, ``encoder.``) is taken
    from the file's names or from the network's, where more fit then. Where its shape differs, `adapt` may
    lead to it. A bias that the file's layer doesn't have is zero. All else is left as initialised.

    Parameters
    ----------
    network
        Changed in place, or not at all.
    weights
        From `read_weights`.
    source
        Names the weights in the report and in messages.

    Raises
    ------
    WeightsError
        No tensor fits.
    """
    # An extra state may be no tensor.
    wanted = {name: here for name, here in network.state_dict().items() if isinstance(here, torch.Tensor)}
    removed, added = _prefixes(weights, wanted)
    names = {added + name.removeprefix(removed): name for name in weights if name.startswith(removed)}
    found = {name: weights[names[name]] for name in wanted if name in names}
    channels = _image_channels(found, wanted)
    taken: dict[str, torch.Tensor] = {}
    changes: list[Change] = []
    for name, here in wanted.items():
        tensor, change = _fitted(name, here, found, channels)
        if tensor is not None:
            taken[name] = tensor
        if change is not None:
            changes.append(change)
    if not any(name in found and tensor.ndim for name, tensor in taken.items()):
        message = (
            f"Nothing of {source} fits the network. The file has {first_names(weights)}; the network wants "
            f"{first_names(wanted)}. Are they of the same network, and of as many dimensions?"
        )
        raise WeightsError(message)
    network.load_state_dict(taken, strict=False)
    changed = {change.name for change in changes}
    used = {names[name] for name in found}
    return LoadReport(
        source,
        matched=tuple(name for name in taken if name not in changed),
        adapted=tuple(change for change in changes if change.name in taken),
        new=tuple(change for change in changes if change.name not in taken),
        unused=tuple(name for name in weights if name not in used),
        removed_prefix=removed,
        added_prefix=added,
    )


def adapt(
    tensor: torch.Tensor, shape: Shape, channels: tuple[int, int] | None
) -> tuple[torch.Tensor, str] | None:
    """Lead a convolution's kernel to another shape, with the same response where one can be defined.

    Parameters
    ----------
    tensor
        ``(out, in, ...)`` with two or three axes of a kernel.
    shape
        That is wanted.
    channels
        Of the image, in the file and in the network; None: unknown.

    Returns
    -------
    changed
        The kernel, and how it was made. None: no way leads there.

    Notes
    -----
    An axis more: repeated along it and divided by its length, so that a stack of equal slices gives the
    response of one. A longer axis: zeros on both sides, which changes no response. Other channels of the
    image: the sum of the kernels, divided by the new number, so that equal channels give the old response.
    """
    if tensor.ndim < 4 or len(shape) < tensor.ndim or tensor.shape[0] != shape[0]:
        return None
    kernel, how = tensor.float(), []
    if len(shape) == tensor.ndim + 1:
        axis = _new_axis(tensor.shape, shape)
        kernel = kernel.unsqueeze(axis).repeat_interleave(shape[axis], axis) / shape[axis]
        how.append(f"inflated: repeated {shape[axis]} times along axis {axis}, divided by {shape[axis]}")
    elif len(shape) != tensor.ndim:
        return None
    if kernel.shape[1] != shape[1]:
        if channels != (kernel.shape[1], shape[1]):
            return None
        kernel, said = _other_channels(kernel, shape[1])
        how.append(said)
    if tuple(kernel.shape) != shape:
        lengths = list(zip(kernel.shape, shape, strict=True))
        if any(to < of or (to - of) % 2 for of, to in lengths):
            return None
        how += [
            f"axis {n} padded from {of} to {to} with zeros on both sides"
            for n, (of, to) in enumerate(lengths)
            if of != to
        ]
        sides = [(to - of) // 2 for of, to in reversed(lengths) for _ in range(2)]
        kernel = torch.nn.functional.pad(kernel, sides)
    return kernel, "; ".join(how)


def turn_kernels(weights: Mapping[str, torch.Tensor], axes: str) -> dict[str, torch.Tensor]:
    """Turn the kernels of a network that was trained on images with other axes to ours, ``[i, j, k]``.

    Parameters
    ----------
    weights
        By name; what has no kernel of so many axes stays.
    axes
        What the network's image axes are, in ours: ``kij`` for slices first, ``ji`` for rows of a picture.

    Returns
    -------
    turned
        On ``[i, j, k]`` they give what the old ones give on the turned image.
    """
    order = [2 + axes.index(axis) for axis in "ijk"[: len(axes)]]
    return {
        name: tensor.permute(0, 1, *order) if tensor.ndim == 2 + len(axes) else tensor
        for name, tensor in weights.items()
    }


def _fitted(
    name: str,
    here: torch.Tensor,
    found: Mapping[str, torch.Tensor],
    channels: tuple[int, int] | None,
) -> tuple[torch.Tensor | None, Change | None]:
    """Return what to take for a tensor of the network, if anything, and how it differs from the file's."""
    shape = tuple(here.shape)
    if name not in found:
        if name.endswith(".bias") and name.removesuffix("bias") + "weight" in found:
            return torch.zeros_like(here), Change(name, None, shape, "zero, the file's layer has no bias")
        return None, Change(name, None, shape, "not in the file")
    tensor = found[name]
    if tensor.shape == here.shape:
        return tensor, None
    changed = adapt(tensor, shape, channels)
    if changed is None:
        return None, Change(name, tuple(tensor.shape), shape, "another shape, left as initialised")
    return changed[0], Change(name, tuple(tensor.shape), shape, changed[1])


def _other_channels(kernel: torch.Tensor, number: int) -> tuple[torch.Tensor, str]:
    before = kernel.shape[1]
    kernel = kernel.sum(dim=1, keepdim=True)
    if number == 1:
        return kernel, f"sum over the {before} channels"
    said = f"sum over the {before} channels, divided by {number}" if before > 1 else f"divided by {number}"
    return kernel.repeat_interleave(number, dim=1) / number, said


def _new_axis(found: Iterable[int], wanted: Shape) -> int:
    """Return the axis that is new: the last (the slices), unless only another leaves the old ones."""
    kernel = tuple(found)[2:]
    for axis in reversed(range(2, len(wanted))):
        if wanted[2:axis] + wanted[axis + 1 :] == kernel:
            return axis
    return len(wanted) - 1


def _image_channels(
    found: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]
) -> tuple[int, int] | None:
    """Return the channels of the image in file and network: those of the first convolution of both."""
    for name, here in wanted.items():
        if name in found and here.ndim >= 4 and found[name].ndim >= 4:
            return found[name].shape[1], here.shape[1]
    return None


def _prefixes(found: Iterable[str], wanted: Iterable[str]) -> tuple[str, str]:
    """Return what to take from the file's names, and to put before them, to match most; least of it."""
    found, wanted = list(found), set(wanted)

    def misses(pair: tuple[str, str]) -> tuple[int, int]:
        removed, added = pair
        hits = sum(
            name.startswith(removed) and added + name.removeprefix(removed) in wanted for name in found
        )
        return -hits, len(removed) + len(added)

    return min(product(_shared_prefixes(found), _shared_prefixes(wanted)), key=misses)


def _shared_prefixes(names: Iterable[str]) -> list[str]:
    names = list(names)
    counts = Counter(
        ".".join(parts[:depth]) + "."
        for parts in (name.split(".", DEEPEST_PREFIX) for name in names)
        for depth in range(1, len(parts))
    )
    least = math.ceil(SHARED_BY * len(names))
    return ["", *sorted(prefix for prefix, count in counts.items() if count >= least)]
