"""Devices by name, what they can bear, and who makes patches for them."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from lepton_monai.core.errors import ConfigError, DeviceError

_CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")


MachineKind = Literal["cpu", "gpu"]


@dataclass(frozen=True)
class Machine:
    """What a plan has to fit.

    Parameters
    ----------
    kind
        What computes.
    memory_gb
        Of the GPU; of the machine where the CPU computes.
    """

    kind: MachineKind
    memory_gb: float


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` into a device that is there.

    Raises
    ------
    ConfigError
        The name is none of these.
    DeviceError
        The device is absent.
    """
    kind, _, number = name.partition(":")
    if kind not in {"auto", "cpu", "cuda", "mps"} or (number and not number.isdigit()):
        message = f"Unknown device `{name}`: give auto, cpu, cuda, cuda:N or mps."
        raise ConfigError(message)
    if kind == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        message = f"There is no device `{name}`: {torch.cuda.device_count()} CUDA devices are here."
        raise DeviceError(message)
    if kind == "mps" and not torch.backends.mps.is_available():
        message = "There is no device `mps` here."
        raise DeviceError(message)
    return torch.device(name)


def machine_of(device: torch.device) -> Machine:
    """Measure the memory that a training may use."""
    if device.type == "cuda":
        return Machine("gpu", torch.cuda.get_device_properties(device).total_memory / 1e9)
    kind: MachineKind = "cpu" if device.type == "cpu" else "gpu"
    return Machine(kind, _main_memory_gb())


def _main_memory_gb() -> float:
    """Return the memory of the machine, or of the part of it that a container may use."""
    if not hasattr(os, "sysconf"):  # Windows
        return 8.0
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # no cgroup, or no limit
        most = min(most, int(_CGROUP_MEMORY.read_text(encoding="ascii")))
    return most / 1e9


def usual_workers(device: torch.device) -> int:
    """Return how many processes make patches: none beside a CPU that is busy itself."""
    return min(8, (os.cpu_count() or 2) - 1) if device.type == "cuda" else 0
