"""Several processes that train one network: started by torchrun (under SLURM too), joined here."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from lepton_monai.core.errors import ConfigError

PATIENCE = timedelta(hours=24)
"""The other ranks wait while the first one prepares the cases."""


@dataclass(frozen=True)
class Rank:
    """Which of the processes this one is; the first does all that is done once."""

    number: int
    count: int

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run."""
        return self.number == 0


def this_rank() -> Rank:
    """Read what torchrun says of this process; without it there is one."""
    try:
        return Rank(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    except ValueError as error:
        message = "RANK and WORLD_SIZE are set and are no numbers: start by torchrun, or unset them."
        raise ConfigError(message) from error


def local_device(device: torch.device) -> torch.device:
    """Return the GPU of this process on its node, where none was named."""
    if str(device) == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


@contextmanager
def joined(rank: Rank, device: torch.device) -> Iterator[None]:
    """Join the group of all ranks, and leave it; alone there is nothing to join."""
    if rank.count == 1:
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
        distributed.barrier()  # who leaves first would cut off who is still listening
    finally:
        distributed.destroy_process_group()


def shared_by_first(content: Any) -> Any:
    """Return what the first rank gives; alone it is one's own."""
    if not distributed.is_initialized():
        return content
    boxes = [content]
    distributed.broadcast_object_list(boxes, src=0)
    return boxes[0]


def any_rank(flag: bool, device: torch.device) -> bool:
    """Tell whether the flag is set anywhere: all ranks have to stop at one step."""
    if not distributed.is_initialized():
        return flag
    total = torch.tensor([float(flag)], device=device)
    distributed.all_reduce(total)
    return bool(total.item() > 0)


def mean_over_ranks(value: torch.Tensor) -> float:
    """Return the mean of a number over all ranks: what one process with all their patches has."""
    if distributed.is_initialized():
        value = value.clone()
        distributed.all_reduce(value)
        value /= distributed.get_world_size()
    return float(value)
