"""Devices by name, and who makes patches for them."""

import os

import torch

from lepton_monai.core.errors import ConfigError, DeviceError


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


def usual_workers(device: torch.device) -> int:
    """Return how many processes make patches: none beside a CPU that is busy itself."""
    return min(8, (os.cpu_count() or 2) - 1) if device.type == "cuda" else 0
