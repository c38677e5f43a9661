"""The log of a training as TensorBoard shows it: the extra `tensorboard`."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Self

from lepton_monai.core.errors import ConfigError
from lepton_monai.training.training import Training


class EventLog:
    """The lines of a log as events; a context that ends with the training.

    Parameters
    ----------
    opened
        Opens torch's writer; given a `purge_step`, what earlier starts wrote of it and later ones counts no
        more.
    """

    def __init__(self, opened: Callable[..., Any]) -> None:
        self._opened = opened
        self._writer: Any = None

    def __enter__(self) -> Self:
        """Begin, without a file yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, where there was a line to write."""
        if self._writer is not None:
            self._writer.close()

    def write(self, training: Training) -> None:
        """Write the newest line of a training's log, by the names of log.csv."""
        step, loss, rate = training.log[-1]
        # A training that goes on from a checkpoint writes again what was written after it.
        self._writer = self._writer or self._opened(purge_step=step)
        self._writer.add_scalar("loss", loss, step)
        self._writer.add_scalar("learning_rate", rate, step)
        looks = dict(training.looks)
        if step in looks:
            self._writer.add_scalar("validation_loss", looks[step], step)
        self._writer.flush()  # or a kill would take the last two minutes


def event_log(folder: Path) -> EventLog:
    """Return what writes the events of a run into a folder.

    Raises
    ------
    ConfigError
        TensorBoard can't be imported.
    """
    try:
        tensorboard = import_module("torch.utils.tensorboard")
    except ImportError as error:
        message = (
            f"--tensorboard needs TensorBoard, which can't be imported ({error}): "
            'pip install "lepton_monai[tensorboard]", or leave out --tensorboard.'
        )
        raise ConfigError(message) from error
    return EventLog(partial(tensorboard.SummaryWriter, str(folder)))
