"""The training loop, in reading order."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader

from lepton_monai.core.errors import InputError
from lepton_monai.data.sampler import PatchDataset
from lepton_monai.data.transforms import Prepared
from lepton_monai.networks.build import build_network
from lepton_monai.plans.plan import Plan, Precision, TrainingPlan
from lepton_monai.training.losses import dice_cross_entropy
from lepton_monai.training.seeds import deterministic, seeded

LOG_EVERY = 50
"""Steps over which the loss in the log is averaged."""

PRECISIONS: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True)
class Progressed:
    """Where a training is.

    Parameters
    ----------
    step
        Steps done.
    loss
        Mean over the last `LOG_EVERY` steps.
    learning_rate
        Of the last step.
    """

    step: int
    loss: float
    learning_rate: float


def train_network(
    cases: Sequence[Prepared],
    plan: Plan,
    device: torch.device,
    workers: int,
    on_progress: Callable[[Progressed, torch.nn.Module], None],
) -> torch.nn.Module:
    """Train a network by a plan from random weights.

    Parameters
    ----------
    cases
        The training cases; nothing else is seen.
    plan
        Every number.
    device
        Where to compute.
    workers
        Processes that make patches; they change the speed, never the result.
    on_progress
        Told after every `LOG_EVERY` steps and after the last, with the averaged network.

    Returns
    -------
    network
        With the running average of the weights, which is the model.

    Raises
    ------
    InputError
        The loss became NaN or infinite.
    """
    training = plan.training
    with deterministic(training.threads), seeded(training.seed):
        # 1. The network, and its running average.
        network = build_network(plan.network, len(plan.classes)).to(device).train()
        average = copy.deepcopy(network).eval()
        # 2. What moves it.
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        stepper = Stepper(network, optimizer, training.precision, device)
        losses: list[float] = []
        # 3. Patches, in an order that the seed alone decides.
        for step, (image, label) in enumerate(batches(cases, training, device, workers)):
            rate = learning_rate(training, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            # 4. One step.
            losses.append(stepper.step(image, label))
            if not np.isfinite(losses[-1]):
                message = f"The loss is {losses[-1]} at step {step + 1}: a smaller learning rate?"
                raise InputError(message)
            _move_average(average, network, min(training.average_decay, (step + 1) / (step + 10)))
            # 5. Word of it.
            if (step + 1) % LOG_EVERY == 0 or step + 1 == training.steps:
                mean = float(np.mean(losses[-LOG_EVERY:]))
                on_progress(Progressed(step + 1, mean, rate), average)
    return average


def batches(
    cases: Sequence[Prepared], training: TrainingPlan, device: torch.device, workers: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield image and label ``(n, 1, x, y, z)`` of every step, on the device."""
    on_gpu = device.type == "cuda"
    loader = DataLoader(
        PatchDataset(cases, training),
        batch_size=training.batch_size,
        num_workers=workers,
        pin_memory=on_gpu,
        persistent_workers=workers > 0,
    )
    for image, label in loader:
        yield image.to(device, non_blocking=on_gpu), label.to(device, non_blocking=on_gpu)


def learning_rate(training: TrainingPlan, step: int) -> float:
    """Return the rate of a step: a linear warm-up, then a polynomial fall to zero (power 0.9)."""
    if step < training.warm_up_steps:
        return training.learning_rate * (step + 1) / training.warm_up_steps
    left = 1.0 - step / training.steps
    return float(training.learning_rate * left**0.9)


class Stepper:
    """One optimizer step in the plan's precision.

    Parameters
    ----------
    network, optimizer
        What is trained, and how.
    precision
        Of the forward pass; float16 scales the loss against underflow.
    device
        Of all tensors.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self._network = network
        self._optimizer = optimizer
        self._loss = dice_cross_entropy()
        self._autocast = torch.autocast(
            device.type, dtype=PRECISIONS[precision], enabled=precision != "float32"
        )
        self._scaler = torch.GradScaler(device.type, enabled=precision == "float16")

    def step(self, image: torch.Tensor, label: torch.Tensor) -> float:
        """Move the network by one batch and return the loss."""
        self._optimizer.zero_grad(set_to_none=True)
        with self._autocast:
            logits = self._network(image)
        loss = self._loss(logits.float(), label)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), max_norm=12.0)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        return float(loss.detach())


def _move_average(average: torch.nn.Module, network: torch.nn.Module, decay: float) -> None:
    """Move the running average of the weights a little towards the network."""
    with torch.no_grad():
        for kept, new in zip(average.parameters(), network.parameters(), strict=True):
            kept.lerp_(new, 1.0 - decay)
        for held, current in zip(average.buffers(), network.buffers(), strict=True):
            held.copy_(current)
