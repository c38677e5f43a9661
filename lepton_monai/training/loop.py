"""The training loop, in reading order."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader

from lepton_monai.core.errors import InputError, StoppedError
from lepton_monai.data.cache import CachedCase
from lepton_monai.data.sampler import PatchDataset, Share
from lepton_monai.plans.plan import Plan
from lepton_monai.training.ranks import any_rank
from lepton_monai.training.training import Training, learning_rate

LOG_EVERY = 50
"""Steps over which the loss in the log is averaged."""

CHECKPOINT_SECONDS = 300.0
"""What a kill may cost."""


@dataclass(frozen=True)
class Feeding:
    """Where patches are computed on, and who makes them.

    Parameters
    ----------
    device
        Of the network.
    workers
        Processes that make patches; they change the speed, never the result.
    rank, ranks
        Of this process among those that train one network.
    """

    device: torch.device
    workers: int = 0
    rank: int = 0
    ranks: int = 1


def run_training(
    training: Training,
    cases: Mapping[str, CachedCase],
    feeding: Feeding,
    *,
    on_log: Callable[[Training], None],
    on_checkpoint: Callable[[Training], None],
) -> None:
    """Train from where a training is to its last step.

    Parameters
    ----------
    training
        At any step.
    cases
        The training cases by their names; nothing else is seen.
    feeding
        Device and processes.
    on_log
        Told every `LOG_EVERY` steps and after the last.
    on_checkpoint
        Told every `CHECKPOINT_SECONDS`, and before an early end.

    Raises
    ------
    InputError
        The loss became NaN or infinite; the checkpoint holds the state before that step.
    StoppedError
        SIGTERM, SIGINT or SIGUSR1 came; the checkpoint holds the state after the last step.
    """
    total = training.plan.training.steps
    kept_at = time.monotonic()
    with _told_to_stop() as stop:
        # 1. Patches, in an order that the seed alone decides.
        for image, label in batches(list(cases.values()), training.plan, feeding, training.step):
            # 2. One step.
            loss = training.advance(image, label)
            if not np.isfinite(loss):
                on_checkpoint(training)
                raise InputError(_not_finite(training, cases, feeding, loss))
            # 3. Word of it.
            training.losses.append(loss)
            if training.step % LOG_EVERY == 0 or training.step == total:
                rate = learning_rate(training.plan.training, training.step - 1)
                training.log.append((training.step, float(np.mean(training.losses)), rate))
                training.losses.clear()
                on_log(training)
            # 4. What a kill can't take.
            if any_rank(bool(stop), feeding.device):
                on_checkpoint(training)
                message = f"Stopped at step {training.step} of {total}; --resume goes on from there."
                raise StoppedError(message, stop[0] if stop else signal.SIGTERM)
            if time.monotonic() - kept_at > CHECKPOINT_SECONDS and training.step < total:
                on_checkpoint(training)
                kept_at = time.monotonic()


def batches(
    cases: Sequence[CachedCase], plan: Plan, feeding: Feeding, first_step: int = 0
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield image and label ``(n, 1, x, y, z)`` of every step that is left, on the device."""
    on_gpu = feeding.device.type == "cuda"
    loader = DataLoader(
        PatchDataset(cases, plan, Share(first_step, feeding.rank, feeding.ranks)),
        batch_size=plan.training.batch_size,
        num_workers=feeding.workers,
        pin_memory=on_gpu,
        persistent_workers=feeding.workers > 0,
        # Its own, or it would draw from the generator that a resumed training wants as it was.
        generator=torch.Generator(),
        worker_init_fn=_deaf_to_signals,
    )
    for image, label in loader:
        yield (
            image.to(feeding.device, non_blocking=on_gpu),
            label.to(feeding.device, non_blocking=on_gpu),
        )


def _not_finite(training: Training, cases: Mapping[str, CachedCase], feeding: Feeding, loss: float) -> str:
    share = Share(training.step, feeding.rank, feeding.ranks)
    dataset = PatchDataset(list(cases.values()), training.plan, share)
    numbers = {dataset.case_number(place) for place in range(training.plan.training.batch_size)}
    names = [name for number, name in enumerate(cases) if number in numbers]
    return (
        f"The loss is {loss} at step {training.step + 1}, on patches of {', '.join(names)}. The state "
        "before it is kept. A smaller learning rate (plan.training.learning_rate)?"
    )


_SIGNALS = [signal.SIGTERM, signal.SIGINT]
if hasattr(signal, "SIGUSR1"):  # SLURM sends it before the time is up; Windows has none
    _SIGNALS.append(signal.SIGUSR1)


def _deaf_to_signals(_: int) -> None:
    """Let a worker live on when its whole group is told to stop: the training ends it after its step."""
    for one in _SIGNALS:
        signal.signal(one, signal.SIG_IGN)


@contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Note a signal instead of dying of it, so that the step in hand is finished and kept."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {one: signal.signal(one, lambda number, _: asked.append(number)) for one in _SIGNALS}
    try:
        yield asked
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
