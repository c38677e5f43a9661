"""What any model has of its runs: trained weights, a digest of them all, one task."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence

import torch
from safetensors.torch import load_file

from lepton_monai.core.errors import InputError
from lepton_monai.core.files import digest_of
from lepton_monai.plans.run import Run


def with_weights_of(run: Run, network: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """Return the network with the weights of the newest whole checkpoint, in evaluation mode on a device.

    Raises
    ------
    InputError
        There is none, it is damaged, or its weights don't fit the network.
    """
    path = run.weights_path()
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, ValueError) as error:
        message = f"The weights of {run.folder} don't fit the network of its plan."
        raise InputError(message) from error
    return network.eval().to(device)


def weights_digest(runs: Sequence[Run]) -> str:
    """Return the SHA-256 of the weights; of several runs that of their digests."""
    digests = [digest_of(run.weights_path()) for run in runs]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def require_one_task(runs: Sequence[Run], tasks: Iterable[Hashable]) -> None:
    """Refuse runs whose tasks differ.

    Raises
    ------
    InputError
        They do.
    """
    count = len(set(tasks))
    if count > 1:
        message = f"The folds of {runs[0].folder.parent} are of {count} tasks: they can't predict together."
        raise InputError(message)
