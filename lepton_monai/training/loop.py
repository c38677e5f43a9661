"""The training loop, in reading order."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from lepton_monai.core.errors import InputError, StoppedError
from lepton_monai.data.batch import Inputs, changed
from lepton_monai.data.sampler import Share
from lepton_monai.training.ranks import any_rank, shared_by_first
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


class Samples(Protocol):
    """The samples of all steps that are left, in order: image (perhaps with values) and label each."""

    def __len__(self) -> int:
        """Return their number."""
        ...

    def __getitem__(self, at: int) -> tuple[Inputs, torch.Tensor]:
        """Make one."""
        ...

    def case_number(self, at: int) -> int:
        """Return the place of the case that one is made of."""
        ...


@runtime_checkable
class DividedSamples(Samples, Protocol):
    """Samples whose last part is mere arithmetic, which a GPU does faster than the workers."""

    def drawn(self, at: int) -> Sequence[torch.Tensor]:
        """Make one as far as the arithmetic."""
        ...

    def finished(self, drawn: Sequence[torch.Tensor], device: torch.device) -> tuple[Inputs, torch.Tensor]:
        """Do the rest of it on a device: the same sample."""
        ...


@dataclass(frozen=True, eq=False)
class Source:
    """What a training is fed with.

    Parameters
    ----------
    names
        Of the cases, in the order of their numbers.
    samples
        Makes those of a share; it goes into other processes.
    batch_size
        Of a rank.
    """

    names: tuple[str, ...]
    samples: Callable[[Share], Samples]
    batch_size: int


@dataclass(frozen=True)
class Looking:
    """A look at the validation side now and then, for a training that may end early.

    Parameters
    ----------
    loss
        On the validation samples, of a network in evaluation mode.
    every
        So many steps, and after the last.
    patience
        Looks without a better loss after which the training ends.
    """

    loss: Callable[[torch.nn.Module], float]
    every: int
    patience: int

    def is_over(self, looks: Sequence[tuple[int, float]]) -> bool:
        """Tell whether the least loss is as many looks ago as the patience lasts."""
        losses = [loss for _, loss in looks]
        return bool(losses) and len(losses) - 1 - losses.index(min(losses)) >= self.patience


def run_training(
    training: Training,
    source: Source,
    feeding: Feeding,
    *,
    on_log: Callable[[Training], None],
    on_checkpoint: Callable[[Training], None],
    looking: Looking | None = None,
) -> None:
    """Train from where a training is to its last step, or until its validation loss has long been rising.

    Parameters
    ----------
    training
        At any step.
    source
        Of the training cases; nothing else is seen.
    feeding
        Device and processes.
    on_log
        Told every `LOG_EVERY` steps, after the last, and after a look.
    on_checkpoint
        Told every `CHECKPOINT_SECONDS`, and before it is stopped.
    looking
        At the validation side; the best average is then the model. None: the last one is.

    Raises
    ------
    InputError
        The loss became NaN or infinite; the checkpoint holds the state before that step. Or that of the
        validation samples did.
    StoppedError
        SIGTERM, SIGINT or SIGUSR1 came; the checkpoint holds the state after the last step.
    """
    total = training.plan.training.steps
    kept_at = time.monotonic()
    with _told_to_stop() as stop:
        # 1. Samples, in an order that the seed alone decides.
        for inputs, label in batches(source, feeding, training.step):
            if looking is not None and looking.is_over(training.looks):
                break
            # 2. One step.
            loss = training.advance(inputs, label)
            if not np.isfinite(loss):
                on_checkpoint(training)
                raise InputError(_not_finite(training, source, feeding, loss))
            training.losses.append(loss)
            # 3. A look at the validation side.
            looked = _look(training, looking)
            # 4. Word of it.
            if looked or training.step % LOG_EVERY == 0 or training.step == total:
                rate = learning_rate(training.plan.training, training.step - 1)
                training.log.append((training.step, float(np.mean(training.losses)), rate))
                training.losses.clear()
                on_log(training)
            # 5. What a kill can't take.
            if any_rank(bool(stop), feeding.device):
                on_checkpoint(training)
                message = f"Stopped at step {training.step} of {total}; --resume goes on from there."
                raise StoppedError(message, stop[0] if stop else signal.SIGTERM)
            if time.monotonic() - kept_at > CHECKPOINT_SECONDS and training.step < total:
                on_checkpoint(training)
                kept_at = time.monotonic()
    # 6. The model.
    training.take_best()


def _look(training: Training, looking: Looking | None) -> bool:
    """Take the validation loss where it is due, and tell whether it was."""
    is_last = training.step == training.plan.training.steps
    if looking is None or (training.step % looking.every and not is_last):
        return False
    # The norms' figures are each rank's own: the first one's loss says for all when it is enough.
    loss = shared_by_first(looking.loss(training.average))
    if not np.isfinite(loss):
        message = f"The loss on the validation samples is {loss} after step {training.step}."
        raise InputError(message)
    training.look(loss)
    return True


def batches(source: Source, feeding: Feeding, first_step: int = 0) -> Iterator[tuple[Inputs, torch.Tensor]]:
    """Yield inputs and label ``(n, ...)`` of every step that is left, on the device."""
    samples = source.samples(Share(first_step, feeding.rank, feeding.ranks))
    if feeding.device.type == "cuda" and isinstance(samples, DividedSamples):
        yield from finished_on_device(samples, source.batch_size, feeding)
    else:
        yield from made_by_workers(samples, source.batch_size, feeding)


def made_by_workers(
    samples: Samples, batch_size: int, feeding: Feeding
) -> Iterator[tuple[Inputs, torch.Tensor]]:
    """Yield batches of samples that are whole before they come to the device."""
    on_gpu = feeding.device.type == "cuda"

    def on_device(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(feeding.device, non_blocking=on_gpu)

    for inputs, label in _loader(samples, batch_size, feeding):
        yield changed(inputs, on_device), on_device(label)


def finished_on_device(
    samples: DividedSamples, batch_size: int, feeding: Feeding
) -> Iterator[tuple[Inputs, torch.Tensor]]:
    """Yield batches of the same samples, each finished on the device, after its copy."""
    for drawn in _loader(_Drawn(samples), batch_size, feeding):
        finished = [samples.finished(one, feeding.device) for one in zip(*drawn, strict=True)]
        inputs, label = default_collate(finished)
        yield inputs, label


class _Drawn(Dataset[Sequence[torch.Tensor]]):
    """Samples as far as the arithmetic."""

    def __init__(self, samples: DividedSamples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, at: int) -> Sequence[torch.Tensor]:
        return self._samples.drawn(at)


def _loader(samples: Samples | _Drawn, batch_size: int, feeding: Feeding) -> DataLoader[Any]:
    return DataLoader(
        samples,  # type: ignore[arg-type] # a protocol
        batch_size=batch_size,
        num_workers=feeding.workers,
        pin_memory=feeding.device.type == "cuda",
        persistent_workers=feeding.workers > 0,
        # Its own, or it would draw from the generator that a resumed training wants as it was.
        generator=torch.Generator(),
        worker_init_fn=_deaf_to_signals,
    )


def _not_finite(training: Training, source: Source, feeding: Feeding, loss: float) -> str:
    samples = source.samples(Share(training.step, feeding.rank, feeding.ranks))
    numbers = {samples.case_number(place) for place in range(source.batch_size)}
    names = [name for number, name in enumerate(source.names) if number in numbers]
    return (
        f"The loss is {loss} at step {training.step + 1}, on samples of {', '.join(names)}. The state "
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
